"""Images whose label is probably wrong, and what a person decided about them.

Suspects come from probabilities of heads that never saw the image, by confident learning (Northcutt, Jiang & Chuang
2021, doi.org/10.1613/jair.1.12125). What a person decides about them is kept by `relabeling`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import writing
from ..escaping import cell
from ..files import replacing

_PRIOR = 5  # images' worth of the overall self-confidence that a label's own is mixed with: one image is no mean


def find(probabilities: np.ndarray, table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Find the images that a head, trained without them, confidently takes for another label.

    How many: a head is confident of a label when it gives it at least the mean probability that images of that label
    get (their self-confidence), so that labels which are hard throughout are not suspected throughout. Among the images
    of which it is confident, the share that it takes for another label than theirs (the confident joint off its
    diagonal) is the estimated share of wrong labels. Which: so many images, of those that it takes for another label,
    where it prefers that one most.

    Args:
        probabilities: float [n, labels], out of fold, 0 to 1; rows with NaN were never out of fold and are passed over.
        table: [n] rows of the images table: path, sha256, label, given.
        names: the labels in the order of the columns. Images of other labels are passed over.

    Returns:
        path, sha256, label, given, suggested, probability (of its own label), suggested probability, margin (their
        difference), by row of `table`; the most suspicious, of the largest margin, first.
    """
    own = pd.Index(names).get_indexer(table["label"])
    rows = np.flatnonzero((own >= 0) & ~np.isnan(probabilities).any(axis=1))
    given, chances = own[rows], probabilities[rows]
    confidence = chances[np.arange(len(rows)), given]
    counts, sums = np.bincount(given, minlength=len(names)), np.bincount(given, confidence, minlength=len(names))
    overall = confidence.mean() if len(rows) else 1.0
    thresholds = (sums + _PRIOR * overall) / (counts + _PRIOR)
    confident = np.where(chances >= thresholds, chances, 0.0)
    sure = confident.max(axis=1, initial=0.0) > 0
    share = (confident.argmax(axis=1) != given)[sure].mean() if sure.any() else 0.0
    suggested, most = chances.argmax(axis=1), chances.max(axis=1, initial=0.0)
    wrong = np.argsort(confidence - most, kind="stable")[: round(share * len(rows))]
    wrong = wrong[suggested[wrong] != given[wrong]]
    return table.iloc[rows[wrong]][["path", "sha256", "label", "given"]].assign(
        suggested=np.asarray(names, dtype=object)[suggested[wrong]],
        probability=confidence[wrong],
        **{"suggested probability": most[wrong], "margin": most[wrong] - confidence[wrong]},
    )


def write(folder: Path | str, table: pd.DataFrame) -> Path:
    """Write what `find` returned as `suspects.csv`, the most suspicious first."""
    file = Path(folder, "suspects.csv")
    with writing(f"{file}", "Choose a reports_dir that can be written."), replacing(file) as aside:
        shown = table.drop(columns=["sha256", "given"]).round(4)
        names = shown.columns.intersection(["path", "label", "suggested"])
        shown.assign(**{name: shown[name].map(cell) for name in names}).to_csv(aside, index=False)
    return file
