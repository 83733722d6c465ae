"""What a stack of heads learns from: features as each head sees them, which images it learns, what each counts."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import RetrainLabError
from ..files import blocks, room
from .heads import HeadSettings

_FLOOR = 0.2  # of the median deviation: no feature is divided by less
_SEEN = ("train", "distorted", "validation")  # splits that training looks at


@dataclass(frozen=True)
class Problem:
    """What a stack learns from and is judged by."""

    scaled: np.ndarray  # float32 [n, dim], by the images that any head learns from; see `Scaling` for their own
    classes: np.ndarray  # int [n], or [stack, n] where heads have labels of their own; indices into `names`
    names: list[str]  # the labels, in class order
    splits: np.ndarray  # [stack, n], names of splits
    own: np.ndarray  # bool [stack, n], what each head learns from
    pool: np.ndarray  # the rows that some head learns from
    chances: np.ndarray  # of each row of the pool to be drawn, float64, summing to 1
    weights: np.ndarray  # float32 [stack, n], what a drawn image counts for a head: on average 1
    scaling: "Scaling"


@dataclass(frozen=True)
class Scaling:
    """How features become those that a head learns from: what is fitted is fitted on its own training images.

    All heads share one matrix, scaled by `mean` and `deviation`; the head's own features are (shared - shift) x factor.
    A head with weights W on its own features is one with weights factor x W on the shared ones, so that all heads of a
    stack still are one matrix product.
    """

    mean: np.ndarray  # float32 [dim], like `deviation`
    deviation: np.ndarray
    own: tuple[np.ndarray, np.ndarray] | None = None  # (shift, factor), float32 [dim, stack]; None: they share images
    axes: np.ndarray | None = None  # float32 [dim, rows], orthonormal: what the scaled features were rotated to

    def plain(self, kernel: np.ndarray, bias: np.ndarray, head: int) -> tuple[np.ndarray, np.ndarray]:
        """Turn a layer on a head's own features, [dim or rows, width] and [width], into one on features as they are."""
        if self.own:
            shift, factor = self.own
            kernel = kernel * factor[:, head, None]
            bias = bias - shift[:, head] @ kernel
        kernel = (kernel if self.axes is None else self.axes @ kernel) / self.deviation[:, None]
        return kernel, bias - self.mean @ kernel

    def scaled(self, kernel: np.ndarray, bias: np.ndarray, head: int) -> tuple[np.ndarray, np.ndarray]:
        """Undo `plain`."""
        bias = bias + self.mean @ kernel
        kernel = kernel * self.deviation[:, None]
        kernel = kernel if self.axes is None else self.axes.T @ kernel
        if self.own:
            shift, factor = self.own
            bias = bias + shift[:, head] @ kernel
            kernel = kernel / factor[:, head, None]
        return kernel, bias


def pose(
    features: np.ndarray, labels: Any, split: Any, stack: Sequence[HeadSettings], passes: float = np.inf
) -> Problem:
    """Lay out what a stack learns; the first arguments are those of `trainer.train`.

    Args:
        passes: over the images, about: too few are not worth a rotation, see `_rotated`.

    Raises:
        RetrainLabError: a head has no training image.
    """
    given = np.asarray(labels, dtype=object).astype(str)
    names, classes = np.unique(given, return_inverse=True)
    classes = classes.reshape(given.shape)
    splits = np.broadcast_to(np.asarray(split, dtype=object), (len(stack), len(features)))
    own = splits == ("distorted" if (splits == "distorted").any() else "train")
    if not own.any(axis=1).all():
        raise RetrainLabError("There is no training image. Expected at least one; lower the other splits' percentages.")
    pool = np.flatnonzero(own.any(axis=0))
    mean, deviation = np.zeros(features.shape[1], np.float32), np.ones(features.shape[1], np.float32)
    if stack[0].standardize:
        mean, deviation = _moments(features, pool)
    scaled = room(features.shape)
    for part in blocks(*features.shape):
        np.divide(features[part] - mean, deviation, out=scaled[part])
    scaling = Scaling(mean, deviation)
    if stack[0].standardize and not own[:, pool].all():
        scaling = Scaling(mean, deviation, _own(scaled, own, deviation))
    first = stack[0]
    if scaling.own is None and first.optimizer == "sgd" and (first.hidden_units or not first.dropout):
        rows = np.flatnonzero(np.isin(splits, [*_SEEN]).any(axis=0))
        if passes * len(names) * len(stack) > len(rows):  # as many multiply-adds as the rotation takes
            scaled, scaling = _rotated(scaled, scaling, rows)
    chances, weights = _draws(classes, own, pool, stack[0].class_weight == "balanced")
    return Problem(scaled, classes, names.tolist(), splits, own, pool, chances, weights, scaling)


def _moments(features: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and floored deviation of these rows, float32 [dim] each, a block at a time."""
    mean, square = np.zeros((2, features.shape[1]))
    for rows in blocks(len(pool), features.shape[1]):
        mean += features[pool[rows]].sum(axis=0, dtype=np.float64)
    mean /= len(pool)
    for rows in blocks(len(pool), features.shape[1]):
        away = features[pool[rows]] - mean.astype(np.float32)
        square += np.einsum("nd,nd->d", away, away)
    return mean.astype(np.float32), _floored(np.sqrt(square / len(pool)))


def _floored(deviation: np.ndarray) -> np.ndarray:
    """Raise deviations, [..., dim], to a floor: what hardly varies among a few images may vary by far more in others.

    Divided by its tiny deviation, such a feature would then outweigh all the others.
    """
    varying = np.where(deviation > 0, deviation, np.nan)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing varies at all
        floor = _FLOOR * np.nan_to_num(np.nanmedian(varying, axis=-1, keepdims=True))
    raised = np.maximum(deviation, floor)
    return np.where(raised > 0, raised, 1.0).astype(np.float32)


def _own(scaled: np.ndarray, own: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Work out shift and factor of each head, float32 [dim, stack], from the images that it learns from."""
    sets, member = np.unique(own, axis=0, return_inverse=True)  # heads of one fold share theirs
    mean, square = np.zeros((2, len(sets), scaled.shape[1]))
    for rows in blocks(*scaled.shape):
        part, mine = scaled[rows].astype(np.float64), sets[:, rows].astype(np.float64)
        mean += mine @ part
        square += mine @ np.square(part, out=part)
    mean, square = (sums / sets.sum(axis=1, keepdims=True) for sums in (mean, square))
    spread = np.sqrt(np.maximum(square - mean**2, 0)) * deviation
    factor = deviation / _floored(np.where(spread > 1e-6 * deviation, spread, 0))  # below is rounding
    return mean[member.ravel()].T.astype(np.float32), factor[member.ravel()].T.astype(np.float32)


def _rotated(scaled: np.ndarray, scaling: Scaling, rows: np.ndarray) -> tuple[np.ndarray, Scaling]:
    """Rotate features onto the span of the rows that are looked at, where those are fewer: [n, rows].

    Distances stay what they are, so gradient descent takes the same steps in fewer numbers; of the first weights, which
    are next to nothing, the part outside of the span is left out. The rows' triangular factor is what they are there.
    """
    from scipy.linalg import cholesky, solve_triangular

    if scaled.shape[1] <= len(rows):
        return scaled, scaling
    seen = scaled[rows].astype(np.float64)  # in float32, rounding alone could make the product of no matrix of it
    gram = seen @ seen.T
    gram[np.diag_indices(len(gram))] += 1e-5 * max(np.trace(gram) / len(gram), 1e-12)  # copies would make it singular
    lower = cholesky(gram, lower=True, check_finite=False)
    axes = solve_triangular(lower, seen, lower=True, check_finite=False).T.astype(np.float32)
    turned = np.zeros((len(scaled), len(rows)), np.float32)
    turned[rows] = lower
    return turned, replace(scaling, axes=axes)


def _draws(classes: np.ndarray, own: np.ndarray, pool: np.ndarray, balanced: bool) -> tuple[np.ndarray, np.ndarray]:
    """Say with which chances images of the pool are drawn, and what each counts for each head that they are drawn for.

    Heads share their batches. Where they have labels of their own, chances cannot be balanced for all of them, so the
    weights are.
    """
    chances = np.full(len(pool), 1.0 / len(pool))
    wanted = own.astype(np.float64)
    if balanced:
        for head, its in enumerate(np.broadcast_to(classes, own.shape)):
            wanted[head] /= np.maximum(np.bincount(its[pool], minlength=its.max() + 1), 1)[its]
        if classes.ndim == 1:
            chances = 1.0 / np.bincount(classes[pool])[classes[pool]]
            chances /= chances.sum()
    weights = np.zeros(own.shape, np.float32)
    weights[:, pool] = wanted[:, pool] / wanted[:, pool].sum(axis=1, keepdims=True) / chances
    return chances, weights
