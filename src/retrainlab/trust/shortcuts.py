"""Does it go by the object, or by what is around it? Layers on masked images tell what is left of what they know."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .. import plots
from ..analysis import levers, resampling
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..evaluation.intervals import accuracy, clustered_mean, percent, points
from ..training.heads import HeadSettings

BORDER = "only the border"  # with that, no classifier should tell labels apart where the object is in the middle


def compare(
    whole: np.ndarray,
    masked: Mapping[str, np.ndarray],
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    groups: np.ndarray,
) -> Finding:
    """Train layers on masked images, and say how much of what they know is left.

    Every image is judged by a layer that has not seen it; all are compared with always answering the most common label
    of what was learnt from. A difference counts where its 95% interval lies above 0.

    Args:
        whole: float32 [n, dim], bottlenecks of the images as they are.
        masked: by what is left of them, float32 [n, dim].
        labels, splits, settings: as of `resampling.cross_validate`; the first complete repeat is used.
        groups: [n], images that depend on one another, for the intervals.

    Returns:
        Numbers: accuracy_of_masked, by name {"n", "accuracy", "interval"} and, as "over_guessing", the
        difference to guessing; border_tells_labels, whether the border alone tells them apart.

    Raises:
        RetrainLabError: fewer than two folds, or whole images are not shown to tell labels apart either.
    """
    splits = levers.one_repeat(splits)
    guessed = _guessing(labels, splits)
    found, rows = {}, {}
    images = {"the whole image": whole, **masked}
    for name, matrix in tqdm(images.items(), "retrain", unit=" masks", leave=False, disable=None):
        right = resampling.cross_validate(matrix, labels, splits, settings).hits
        known = ~np.isnan(right)
        found[name] = accuracy(right[known] > 0.5) | {"over_guessing": clustered_mean(right - guessed, groups)}
        rows[name] = {"accuracy": percent(found[name]), "more than guessing": points(found[name]["over_guessing"])}
    whole_images = found["the whole image"]["over_guessing"]
    if whole_images["interval"] is None or whole_images["interval"][0] <= 0:
        raise RetrainLabError(
            f"Of these {found['the whole image']['n']:,} images, layers on the whole image are not shown to know more "
            f"than guessing ({points(whole_images)}), so masked ones tell nothing. Take more images, or budget_minutes."
        )
    border = found.get(BORDER, {}).get("over_guessing", {"interval": None})
    shortcut = border["interval"] is not None and border["interval"][0] > 0
    said = []
    if BORDER in found:
        left = f"With the middle hidden, layers are right for {percent(found[BORDER])}: {points(border)} over guessing."
        said.append(
            f"{left} So what surrounds the object gives labels away, at least in part."
            if shortcut
            else f"{left} No sign that they go by what surrounds the object."
        )
    draw = partial(plots.masked, pd.DataFrame(found).T, float(np.nanmean(guessed)))
    table = pd.DataFrame.from_dict(rows, orient="index")
    numbers = {"accuracy_of_masked": found, "border_tells_labels": bool(shortcut)}
    return Finding("What it goes by", "\n".join(said), numbers=numbers, table=table, draw=draw)


def _guessing(labels: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Say of each image whether the most common label of its fold's training images is its own; NaN if never judged."""
    right = np.full(len(labels), np.nan)
    for split in splits:
        mine = split == "validation"
        right[mine] = labels[mine] == pd.Series(labels[split == "train"]).mode().iloc[0]
    return right
