"""What mistakes look like: beside the surest of them, the training images that lie nearest, with their labels.

A mistake whose nearest training image has the label of the wrong answer is one of two things: its own label, or that of
the training image, is wrong; or the two labels look alike there.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation.finding import Finding, finding
from ..evaluation.intervals import accuracy, percent
from ..pixels.decoding import ImageFolder
from .guard import Near

_MISTAKES, _BESIDE, _SIDE = 12, 2, 165  # how many are shown, with how many others beside each, and pixels a side


@finding("Which mistakes were made")
def mistakes(rows: pd.DataFrame, nearest: Sequence[Near], photos: ImageFolder) -> Finding:
    """Show the mistakes of the greatest confidence with what lies nearest, and count whose label that has.

    Args:
        rows: [n] of the predictions table, of images that no head has learnt from.
        nearest: [n], as of `Guard.nearest`.
        photos: where these images and those learnt from lie.

    Returns:
        Numbers: looks_like, {"mistakes", "right"}, each {"n", "accuracy", "interval"}: the share of the mistakes whose
        nearest training image has the label of the answer, and that of the right answers whose nearest one has a label
        that would be wrong.

    Raises:
        RetrainLabError: no image.
    """
    if rows.empty:
        raise RetrainLabError("There are neither test nor validation images.")
    own, said, near = (np.array(each, object) for each in (rows["label"], rows["predicted"], _labels(nearest)))
    wrong = own != said
    if not wrong.any():
        return Finding("", f"There is no mistake among these {len(rows):,} images.")
    alike = {"mistakes": accuracy(near[wrong] == said[wrong]), "right": accuracy(near[~wrong] != own[~wrong])}
    shown = np.flatnonzero(wrong)[np.argsort(-rows["probability"].to_numpy()[wrong], kind="stable")[:_MISTAKES]]
    beside = [nearest[row][:_BESIDE] for row in shown]
    groups = [
        [path, *(other for other, _, _ in some)] for path, some in zip(rows["path"].iloc[shown], beside, strict=True)
    ]

    def draw() -> np.ndarray:
        pictures = iter(photos.read_whole([path for group in groups for path in group], _SIDE))
        return plots.mistakes(rows.iloc[shown], beside, [[next(pictures) for _ in group] for group in groups])

    sentence = (
        f"The nearest training image has the label of the wrong answer for {percent(alike['mistakes'])}, of the "
        "mistakes: a label in doubt, or images that look alike. Of the right answers, "
        f"{percent(alike['right'])}, have a nearest training image of another label."
    )
    return Finding("", sentence, numbers={"looks_like": alike}, draw=draw)


def _labels(nearest: Sequence[Near]) -> list[str]:
    return [near[0][1] for near in nearest]
