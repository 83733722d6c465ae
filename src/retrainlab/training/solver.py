"""The end of training without its way: the weights that gradient descent comes to when it is left long enough.

A softmax layer with weight decay is a convex problem with one solution. Where only that counts, and not the curves by
step, all heads of a stack are solved at once by L-BFGS (Liu & Nocedal 1989, doi.org/10.1007/BF01589116) on whole passes
over the images: some tens of them, or a few where it is worth finding out how the loss curves, for thousands of steps.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..files import taken
from .heads import Head, HeadSettings
from .problem import Problem, pose

_LOGITS_AT_ONCE = 2**24  # of a stack: 64 MiB, and some times as much on the way
_MEMORY = 6  # earlier steps that a step is made of
_PASSES = 200  # at most
_USUAL = 50  # of them
_SMALL = 1.5e-3  # of a gradient's norm at the start: there the answers no longer change
_MANY = 100_000  # images
_SAVED = 20  # features for each column of weights, up to which the curvature takes less time than it saves
_ARMIJO = 1e-4  # of the decrease that a slope promises, what a step must keep


def converges(settings: HeadSettings, images: int = 0) -> bool:
    """Tell whether gradient descent with these settings ends at the solution, to a few percent, and not on its way.

    Its slowest direction fades as exp(-learning_rate x weight_decay x steps). Of very many `images` it sees only some,
    and then takes its steps in less time than passes over all of them: there it is not to be replaced.
    """
    faded = settings.learning_rate * settings.weight_decay * settings.how_many_training_steps
    softmax = settings.optimizer == "sgd" and not settings.hidden_units and not settings.dropout
    return softmax and faded >= 3 and images <= _MANY


def solve(features: np.ndarray, labels: Any, split: Any, stack: Sequence[HeadSettings]) -> list[Head]:
    """Find the weights that `trainer.train` comes to; features, labels, split and stack are as there.

    Raises:
        RetrainLabError: no training image.
    """
    logits = len(features) * len(np.unique(np.asarray(labels, dtype=object).astype(str)))
    parts = np.array_split(np.arange(len(stack)), -(-len(stack) // max(1, _LOGITS_AT_ONCE // logits)))

    def mine(given: Any, part: np.ndarray) -> Any:
        return np.asarray(given, dtype=object)[part] if np.ndim(given) == 2 else given

    def solved(part: np.ndarray) -> list[Head]:
        own = [stack[number] for number in part]
        return _Stack(own, pose(features, mine(labels, part), mine(split, part), own, _USUAL)).solved()

    return [head for part in parts for head in solved(part)]


class _Stack:
    """Weights on each head's own features and biases, [dim + 1, labels, stack]: NumPy is quick along the last axis."""

    def __init__(self, stack: Sequence[HeadSettings], data: Problem) -> None:
        self.stack, self.data, self.size, self.labels = stack, data, len(stack), len(data.names)
        self.matrix = taken(data.scaled, data.pool)
        self.dim = self.matrix.shape[1]
        classes = np.broadcast_to(data.classes, data.own.shape)[:, data.pool].T  # [pool, stack]
        smoothing = np.array([settings.label_smoothing for settings in stack], np.float32)
        truth = (classes[:, None] == np.arange(self.labels)[:, None]).astype(np.float32)
        truth = truth * (1 - smoothing) + smoothing / self.labels
        self.truth = self._laid(self._flat(truth))  # [pool, labels, stack]
        self.counts = (data.weights[:, data.pool] * data.chances).T.astype(np.float32)  # [pool, stack], each sums to 1
        self.decays = np.array([settings.weight_decay for settings in stack], np.float32)

    def solved(self) -> list[Head]:
        heads = np.zeros((self.dim + 1, self.labels, self.size), np.float32)  # the bias is the last row
        logits = self.logits(heads)
        loss, whole = self.loss(logits, heads)
        slope = self.slope(logits, whole, heads)
        first, memory = _norm(slope), list[tuple[np.ndarray, np.ndarray]]()
        ended = first <= 0
        for _ in range(_PASSES):
            step = -_direction(slope, memory, self.straightened)
            if not memory:
                step /= np.maximum(1, _norm(step))
            along, moved = self.logits(step), np.where(ended, 0, 1).astype(np.float32)
            promised = _ARMIJO * _product(step, slope)
            for _ in range(20):  # logits are linear in the length of a step: trying one costs no pass
                tried, theirs = self.loss(logits + moved * along, heads + moved * step)
                far = tried > loss + moved * promised + 1e-7
                if not far.any():
                    break
                moved = np.where(far, moved / 2, moved)
            moved = np.where(far, 0, moved).astype(np.float32)
            heads, logits = heads + moved * step, logits + moved * along
            loss, whole = np.where(far, loss, tried), np.where(far, whole, theirs)
            before, slope = slope, self.slope(logits, whole, heads)
            memory = [*memory, (moved * step, slope - before)][-_MEMORY:]
            ended |= _norm(slope) <= _SMALL * first
            if ended.all() or not moved.any():
                break
        return [self.head(heads, member) for member in range(self.size)]

    def logits(self, heads: np.ndarray) -> np.ndarray:
        """Of the images of the pool: [pool, labels, stack]; linear in `heads`."""
        kernel, bias = heads[:-1], heads[-1]
        if self.data.scaling.own:
            shift, factor = self.data.scaling.own
            kernel = kernel * factor[:, None]
            bias = bias - np.einsum("ds,dls->ls", shift, kernel)
        return self._laid(self.matrix @ self._flat(kernel)) + bias

    def _flat(self, values: np.ndarray) -> np.ndarray:
        """Lay [n, labels, stack] out as a matrix [n, labels x stack]; what there is more of lies last: quick to sum."""
        values = values.transpose(0, 2, 1) if self.labels > self.size else values
        return np.ascontiguousarray(values).reshape(len(values), -1)

    def _laid(self, matrix: np.ndarray) -> np.ndarray:
        """Undo `_flat`."""
        if self.labels > self.size:
            return matrix.reshape(-1, self.size, self.labels).transpose(0, 2, 1)
        return matrix.reshape(-1, self.labels, self.size)

    def loss(self, logits: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Penalised cross-entropy of each head, [stack]; and the logarithms of what its probabilities are shares of."""
        largest = logits.max(axis=1)
        whole = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest  # [pool, stack]
        losses = whole - np.einsum("nls,nls->ns", self.truth, logits)
        penalty = self.decays / 2 * _product(heads[:-1], heads[:-1])
        return (self.counts * losses).sum(axis=0, dtype=np.float64) + penalty, whole

    def slope(self, logits: np.ndarray, whole: np.ndarray, heads: np.ndarray) -> np.ndarray:
        """Gradient of `loss`, shaped as `heads`."""
        errors = (np.exp(logits - whole[:, None]) - self.truth) * self.counts[:, None]
        bias = errors.sum(axis=0)
        product = self.matrix.T @ self._flat(errors)
        kernel = self._laid(product)
        if self.data.scaling.own:
            shift, factor = self.data.scaling.own
            kernel = (kernel - shift[:, None] * bias) * factor[:, None]
        return np.concatenate([kernel + self.decays * heads[:-1], bias[None]])

    @cached_property
    def curvature(self) -> dict[float, Any]:
        """What the loss curves like along the features at the start, for each weight decay: its Cholesky factor.

        There, all labels are as probable, and second derivatives are those of least squares (Böhning 1992,
        doi.org/10.1007/BF00048682). Features that a head scales by images of its own are nearly those. Empty where
        finding it takes longer than the passes that it saves.
        """
        from scipy.linalg import cho_factor

        if self.labels < 2 or self.dim > min(len(self.matrix), _SAVED * self.labels * self.size):
            return {}
        moments = (1 - 1 / self.labels) / self.labels / len(self.matrix) * (self.matrix.T @ self.matrix)
        least, decays = 1e-4 * np.trace(moments) / self.dim, {*self.decays.tolist()}  # rounding is not to be divided by
        ridges = {decay: (decay + least) * np.eye(self.dim, dtype=np.float32) for decay in decays}
        return {decay: cho_factor(moments + ridge, overwrite_a=True) for decay, ridge in ridges.items()}

    def straightened(self, slope: np.ndarray) -> np.ndarray:
        """Divide by that curvature: a step then goes nearly to the solution."""
        if not self.curvature:
            return slope
        from scipy.linalg import cho_solve

        made = slope / ((1 - 1 / self.labels) / self.labels)  # of biases, and laid out for the rest
        for decay, factor in self.curvature.items():
            mine = self.decays == np.float32(decay)
            values = slope[:-1, :, mine]
            made[:-1, :, mine] = cho_solve(factor, values.reshape(self.dim, -1)).reshape(values.shape)
        return made

    def head(self, heads: np.ndarray, member: int) -> Head:
        kernel, bias = self.data.scaling.plain(heads[:-1, :, member], heads[-1, :, member], member)
        return Head(self.data.names, self.stack[member], kernel, bias)


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Inner product of what belongs to each head, [..., stack]: [stack]."""
    return np.einsum("dls,dls->s", one, other)


def _norm(values: np.ndarray) -> np.ndarray:
    return np.sqrt(_product(values, values))


def _direction(
    slope: np.ndarray,
    memory: Sequence[tuple[np.ndarray, np.ndarray]],
    straightened: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Multiply the slope of each head by what its last steps tell of the inverse of the second derivatives."""
    direction, kept = slope.copy(), []
    for step, change in reversed(memory):
        curved = _product(step, change)
        rate = np.where(curved > 1e-10, 1 / np.maximum(curved, 1e-10), 0).astype(np.float32)  # 0: it has stood still
        share = rate * _product(step, direction)
        direction -= share * change
        kept.append((step, change, rate, share))
    direction = straightened(direction)
    if memory:
        step, change = memory[-1]
        scale = _product(step, change) / np.maximum(_product(change, straightened(change)), 1e-20)
        direction *= np.where(scale > 0, scale, 1).astype(np.float32)
    for step, change, rate, share in reversed(kept):
        direction += (share - rate * _product(change, direction)) * step
    return direction
