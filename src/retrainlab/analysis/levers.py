"""What reading more of the backbone would win: its other depths, or an image's mirror image as well.

Every reading is trained on the same re-splits with the weight decay that suits it, and judged with one that other folds
chose (Cawley & Talbot 2010), so that what is compared is each at its best; differences are paired image by image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..errors import RetrainLabError
from ..evaluation import scores
from ..evaluation.calibration import cross_entropies
from ..evaluation.finding import Finding
from ..evaluation.intervals import clustered_mean, points
from ..training import solver
from ..training.heads import HeadSettings
from .resampling import first_repeat

_DECAYS = (0.01, 0.03, 0.1, 0.3, 1.0)  # of features that are standardised; one of 0 has no solution


def compare(
    own: np.ndarray,
    others: Mapping[str, np.ndarray],
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    groups: np.ndarray,
) -> Finding:
    """Compare readings of the same images with the one in use, as softmax layers on them.

    Args:
        own: float32 [n, dim], what the run learns from.
        others: by what they are called, float32 [n, their dim].
        labels, splits: as of `resampling.cross_validate`; only the first complete repeat is used.
        settings: of the run; what gradient descent does on its way, hidden layers and dropout are left out.
        groups: [n], images that depend on one another, for the intervals.

    Returns:
        Numbers: readings, by name the change of validation accuracy {"accuracy", "interval"}.

    Raises:
        RetrainLabError: fewer than two folds.
    """
    splits = one_repeat(splits)
    was = right(own, labels, splits, settings)
    gains = {
        name: clustered_mean(right(matrix, labels, splits, settings) - was, groups) for name, matrix in others.items()
    }
    said = [f"{name}: validation accuracy {points(gain)}." for name, gain in gains.items()]
    return Finding("What reading more would win", "\n".join(said), numbers={"readings": gains})


def one_repeat(splits: np.ndarray) -> np.ndarray:
    """Keep the first complete repeat of re-splits, in which no image validates twice.

    Raises:
        RetrainLabError: fewer than two folds.
    """
    splits = first_repeat(splits)
    if len(splits) < 2:
        raise RetrainLabError(f"There is {len(splits)} re-split to judge by. Expected at least two.")
    return splits


def right(matrix: np.ndarray, labels: np.ndarray, splits: np.ndarray, settings: HeadSettings) -> np.ndarray:
    """Say of each image whether its fold gets it right, with the decay that the other folds chose.

    Args: as of `compare`.

    Returns:
        float [n]: 0 or 1; NaN for images that do not validate.
    """
    plain = settings.plain
    given, classes = pd.Series(labels), np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)[1]
    losses = np.empty((len(splits), len(_DECAYS)))
    hits = np.zeros((len(splits), len(_DECAYS), len(matrix)))
    bar = tqdm(_DECAYS, "retrain", unit=" weight decays", leave=False, disable=None)
    for number, decay in enumerate(bar):  # one at a time: as many logits as folds are enough
        heads = solver.solve(matrix, labels, splits, [replace(plain, weight_decay=decay)] * len(splits))
        for fold, head in enumerate(heads):
            mine = splits[fold] == "validation"
            logits = head.logits(matrix[mine])
            losses[fold, number] = cross_entropies(logits, classes[mine]).mean()
            hits[fold, number, mine] = scores.correct(logits, given[mine], head.labels)
    picks = [int(np.delete(losses, fold, axis=0).mean(axis=0).argmin()) for fold in range(len(splits))]
    known = (splits == "validation").any(axis=0)
    return np.where(known, hits[np.arange(len(splits)), picks].sum(axis=0), np.nan)


def worth_reading(depth: str, average_views: bool) -> dict[str, dict[str, Any]]:
    """List what is not read yet, by what it is called: what to set, by the names that parameters have."""
    deeper, both = "Features from every depth", "the mean over each image and its mirror image"
    found: dict[str, dict[str, Any]] = {}
    if depth == "last":
        found[f"{deeper} (depth all)"] = {"depth": "all"}
    if not average_views:
        found[f"{both[0].upper()}{both[1:]} (average_views)"] = {"average_views": True}
    if len(found) == 2:
        found[f"{deeper}, and {both} (depth all, average_views)"] = {"depth": "all", "average_views": True}
    return found


def in_time(named: Sequence[str], images: int, milliseconds: float, cores: int, minutes: float) -> list[str]:
    """Keep the readings that may be computed within a tenth of the minutes that the analysis has.

    Args:
        named: as of `worth_reading`; a mirror image costs as much as the image.
        milliseconds: of the network, an image on one core.
    """
    return [n for n in named if images * milliseconds * (1 + ("mirror" in n)) / cores / 60_000 <= minutes / 10]
