"""What hard conditions cost: accuracy under noise, blur and the like, each in five steps, and whether training helps.

After Hendrycks & Dietterich 2019, arxiv.org/abs/1903.12261; the conditions are those of `pixels.conditions`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .. import plots
from ..evaluation import scores
from ..evaluation.finding import Finding
from ..evaluation.intervals import accuracy, clustered_mean, percent, points
from ..training.heads import Head

USUAL = 3  # the step that stands for a condition where one has to


def measure(
    head: Head,
    plain: np.ndarray,
    under: Mapping[str, Sequence[np.ndarray]],
    labels: pd.Series,
    groups: np.ndarray,
) -> Finding:
    """Judge a head on the same images under conditions.

    Args:
        head: that has not learnt from these images.
        plain: float32 [n, dim], their bottlenecks as they are.
        under: by condition, one such matrix for each step, the mildest first.
        labels, groups: [n]; images of one group depend on one another.

    Returns:
        Numbers: accuracy_as_they_are, {"n", "accuracy", "interval"}; accuracy_under_conditions, by name that of each
        step; weakest_condition, the name of that with the lowest mean; weakest_condition_changes, what its third step
        changes, paired, {"accuracy", "interval"}.
    """
    was = scores.correct(head.logits(plain), labels, head.labels)
    right = {
        name: [scores.correct(head.logits(matrix), labels, head.labels) for matrix in steps]
        for name, steps in under.items()
    }
    means = {name: [float(each.mean()) for each in steps] for name, steps in right.items()}
    weakest = min(means, key=lambda name: float(np.mean(means[name])))
    lost = right[weakest][USUAL - 1].astype(float) - was
    costs, clean = clustered_mean(lost, groups), accuracy(was)
    spot = f"Weakest spot: {weakest}" if lost_beyond_chance(costs) else f"No loss is shown; lowest is {weakest}"
    said = f"As they are: {percent(clean)}. {spot}, of which step {USUAL} of 5 changes that by "
    table = pd.DataFrame(means, index=pd.Index(range(1, 1 + len(means[weakest])), name="step")).T
    numbers = {
        "accuracy_as_they_are": clean,
        "accuracy_under_conditions": means,
        "weakest_condition": weakest,
        "weakest_condition_changes": costs,
    }
    draw = partial(plots.robustness, table, clean)
    return Finding("What hard conditions cost", f"{said}{points(costs)}.", numbers=numbers, draw=draw)


def lost_beyond_chance(change: Mapping[str, Any]) -> bool:
    """Tell whether a change of accuracy, {"accuracy", "interval"}, lies below 0 with all of its interval."""
    return change["interval"] is not None and change["interval"][1] < 0


def mending(
    weakest: str, before: Head, after: Head, hard: np.ndarray, plain: np.ndarray, labels: pd.Series, groups: np.ndarray
) -> Finding:
    """Compare a head that has learnt from a condition as well with one that has not, on images under it and without.

    Args:
        before, after: heads that have not learnt from these images.
        hard, plain: float32 [n, dim], under the condition and as they are.

    Returns:
        Numbers: learning_from_weakest_changes, for images under_it and as_they_are, paired, {"accuracy", "interval"}.
    """
    found = {}
    for name, matrix in {"under_it": hard, "as_they_are": plain}.items():
        one, other = (scores.correct(head.logits(matrix), labels, head.labels) for head in (after, before))
        found[name] = clustered_mean(one.astype(float) - other, groups)
    low = (found["under_it"]["interval"] or [0])[0]
    helps = "So it is worth learning from." if low > 0 else "That it helps is not shown."
    said = (
        f"Learning from images that are '{weakest}' (step {USUAL}) as well changes accuracy on such images by "
        f"{points(found['under_it'])}, and on images as they are by {points(found['as_they_are'])}. {helps}"
    )
    return Finding("Whether learning from it helps", said, numbers={"learning_from_weakest_changes": found})
