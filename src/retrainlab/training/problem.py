"""What a stack of heads is to learn: rows, classes and splits as arrays, scaled, and how likely each is to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RetrainLabError
from .heads import HeadSettings


@dataclass(frozen=True)
class Problem:
    """What a stack learns from and is judged by.

    Attributes:
        scaled: float32 [n, dim].
        classes: int [n], indices into `names`.
        names: the labels, in class order.
        splits: [stack, n], names of splits.
        own: bool [stack, n], what each head learns from.
        pool: the rows that some head learns from.
        chances: of each row of the pool to be drawn, float64, summing to 1.
        mean, deviation: float32 [dim], what the features were scaled by.
    """

    scaled: np.ndarray
    classes: np.ndarray
    names: list[str]
    splits: np.ndarray
    own: np.ndarray
    pool: np.ndarray
    chances: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def pose(features: np.ndarray, labels: Any, split: Any, stack: Sequence[HeadSettings]) -> Problem:
    """Lay out what a stack learns; the arguments are those of `trainer.train`.

    Raises:
        RetrainLabError: a head has no training image.
    """
    names, classes = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    splits = np.broadcast_to(np.asarray(split, dtype=object), (len(stack), len(features)))
    own = splits == ("distorted" if (splits == "distorted").any() else "train")
    if not own.any(axis=1).all():
        raise RetrainLabError("There is no training image. Expected at least one; lower the other splits' percentages.")
    pool = np.flatnonzero(own.any(axis=0))
    mean, deviation = _scaling(features[pool], stack[0].standardize)
    scaled = ((features - mean) / deviation).astype(np.float32, copy=False)
    chances = _chances(classes[pool], stack[0].class_weight)
    return Problem(scaled, classes, names.tolist(), splits, own, pool, chances, mean, deviation)


def _scaling(features: np.ndarray, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and deviation, float32 [dim] each, that features are scaled by; constant ones are left alone."""
    if not standardize:
        return np.zeros(features.shape[1], np.float32), np.ones(features.shape[1], np.float32)
    deviation = features.std(axis=0)
    return features.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)


def _chances(classes: np.ndarray, class_weight: str) -> np.ndarray:
    """Return the chance of each training image to be drawn, float64 [len(classes)], summing to 1."""
    if class_weight == "balanced":
        counts = np.bincount(classes)
        return 1.0 / counts[classes] / (counts > 0).sum()
    return np.full(len(classes), 1.0 / len(classes))
