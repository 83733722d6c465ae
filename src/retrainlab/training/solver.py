"""The end of training without its way: the weights that gradient descent comes to when it is left long enough.

A softmax layer with weight decay is a convex problem with one solution. Where only that counts, and not the curves by
step, all heads of a stack are solved at once by L-BFGS (Liu & Nocedal 1989, doi.org/10.1007/BF01589116) on whole passes
over the images, in some tens of passes where gradient descent takes thousands of steps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..files import taken
from .heads import Head, HeadSettings
from .problem import Problem, pose

_LOGITS_AT_ONCE = 2**24  # of a stack: 64 MiB, and some times as much on the way
_MEMORY = 6  # earlier steps that a step is made of
_PASSES = 200  # at most
_USUAL = 50  # of them
_SMALL = 3e-3  # of a gradient's norm at the start: there the answers no longer change
_MANY = 100_000  # images
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
        self.truth = truth * (1 - smoothing) + smoothing / self.labels  # [pool, labels, stack]
        self.counts = (data.weights[:, data.pool] * data.chances).T.astype(np.float32)  # [pool, stack], each sums to 1
        self.decays = np.array([settings.weight_decay for settings in stack], np.float32)

    def solved(self) -> list[Head]:
        heads = np.zeros((self.dim + 1, self.labels, self.size), np.float32)  # the bias is the last row
        logits = self.logits(heads)
        loss, slope = self.loss(logits, heads), self.slope(logits, heads)
        first, memory = _norm(slope), list[tuple[np.ndarray, np.ndarray]]()
        for _ in range(_PASSES):
            step = -_direction(slope, memory)
            if not memory:
                step /= np.maximum(1, _norm(slope))
            along, moved = self.logits(step), np.ones(self.size, np.float32)
            promised = _ARMIJO * _product(step, slope)
            for _ in range(20):  # logits are linear in the length of a step: trying one costs no pass
                tried = self.loss(logits + moved * along, heads + moved * step)
                far = tried > loss + moved * promised + 1e-7
                if not far.any():
                    break
                moved = np.where(far, moved / 2, moved)
            moved = np.where(far, 0, moved).astype(np.float32)
            heads, logits = heads + moved * step, logits + moved * along
            before, loss = slope, self.loss(logits, heads)
            slope = self.slope(logits, heads)
            memory = [*memory, (moved * step, slope - before)][-_MEMORY:]
            if (_norm(slope) <= _SMALL * first).all() or not moved.any():
                break
        return [self.head(heads, member) for member in range(self.size)]

    def logits(self, heads: np.ndarray) -> np.ndarray:
        """Of the images of the pool: [pool, labels, stack]; linear in `heads`."""
        kernel, bias = heads[:-1], heads[-1]
        if self.data.scaling.own:
            shift, factor = self.data.scaling.own
            kernel = kernel * factor[:, None]
            bias = bias - np.einsum("ds,dls->ls", shift, kernel)
        return (self.matrix @ kernel.reshape(self.dim, -1)).reshape(-1, self.labels, self.size) + bias

    def loss(self, logits: np.ndarray, heads: np.ndarray) -> np.ndarray:
        """Penalised cross-entropy of each head: [stack]."""
        largest = logits.max(axis=1)
        whole = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
        losses = whole - np.einsum("nls,nls->ns", self.truth, logits)
        penalty = self.decays / 2 * _product(heads[:-1], heads[:-1])
        return (self.counts * losses).sum(axis=0, dtype=np.float64) + penalty

    def slope(self, logits: np.ndarray, heads: np.ndarray) -> np.ndarray:
        """Gradient of `loss`, shaped as `heads`."""
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        errors = (chances - self.truth) * self.counts[:, None]
        bias = errors.sum(axis=0)
        kernel = (self.matrix.T @ errors.reshape(len(errors), -1)).reshape(self.dim, self.labels, self.size)
        if self.data.scaling.own:
            shift, factor = self.data.scaling.own
            kernel = (kernel - shift[:, None] * bias) * factor[:, None]
        return np.concatenate([kernel + self.decays * heads[:-1], bias[None]])

    def head(self, heads: np.ndarray, member: int) -> Head:
        kernel, bias = self.data.scaling.plain(heads[:-1, :, member], heads[-1, :, member], member)
        return Head(self.data.names, self.stack[member], kernel, bias)


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Inner product of what belongs to each head, [..., stack]: [stack]."""
    return np.einsum("dls,dls->s", one, other)


def _norm(values: np.ndarray) -> np.ndarray:
    return np.sqrt(_product(values, values))


def _direction(slope: np.ndarray, memory: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Multiply the slope of each head by what its last steps tell of the inverse of the second derivatives."""
    direction, kept = slope.copy(), []
    for step, change in reversed(memory):
        curved = _product(step, change)
        rate = np.where(curved > 1e-10, 1 / np.maximum(curved, 1e-10), 0).astype(np.float32)  # 0: it has stood still
        share = rate * _product(step, direction)
        direction -= share * change
        kept.append((step, change, rate, share))
    if memory:
        step, change = memory[-1]
        scale = _product(step, change) / np.maximum(_product(change, change), 1e-20)
        direction *= np.where(scale > 0, scale, 1).astype(np.float32)
    for step, change, rate, share in reversed(kept):
        direction += (share - rate * _product(change, direction)) * step
    return direction
