"""What a split images table says: counts by label, notes for people, a sample of it, its digest."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .splitting import SPLITS

_SMALL_LABEL = 20  # retrain.py warns below this many images a label


def notes(images: pd.DataFrame, named: int = 3) -> list[str]:
    """Say in sentences what a person should know of a split images table before trusting figures made from it.

    Args:
        named: how many of the files that are left out to name, each with its problem.
    """
    good = images[images["problem"].isna()]
    counts = counts_by_label(images)
    said = []
    bad = images[images["problem"].notna()]
    if len(bad):
        why = [f" {row.path}: {row.problem}." for row in bad[:named].itertuples()]
        more = f" And {len(bad) - named} more." if 0 < named < len(bad) else ""
        said.append(f"{len(bad)} of {len(images)} files are left out.{''.join(why)}{more}")
    small = list(counts.index[counts["total"] < _SMALL_LABEL])
    if small:
        said.append(f"{_have(small)} fewer than {_SMALL_LABEL} images: too few to learn or to measure reliably.")
    for name in SPLITS:
        without = list(counts.index[counts[name] == 0])
        if without:
            said.append(f"{_have(without)} no {name} image: {name} accuracy says nothing of that.")
    copies = good["sha256"].duplicated(keep=False)
    if copies.any():
        apart = good[copies].groupby("sha256")["split"].nunique().max() > 1
        together = "splits.csv puts some into different splits" if apart else "copies share a split"
        said.append(f"{copies.sum()} files are byte-identical copies of one another; {together}.")
        if good[copies].groupby("sha256")["label"].agg(set).str.len().max() > 1:
            said.append("Some copies carry different labels; at least one of each such pair is labelled wrongly.")
    return said


def sample(labels: pd.Series, most: int, seed: int = 0) -> np.ndarray:
    """Draw at most `most` rows, as evenly over the labels as they allow: int positions, ascending."""
    shuffled = labels.reset_index(drop=True).sample(frac=1, random_state=seed)
    turn = shuffled.groupby(shuffled).cumcount()  # the first of each label, then the second of each, ...
    return np.sort(turn.sort_values(kind="stable").index[:most])


def examples(images: pd.DataFrame, most_labels: int = 12, seed: int = 0) -> pd.DataFrame:
    """Draw a few images of each label to look at, by `seed`; of the most common labels where there are many."""
    good = images[images["problem"].isna()]
    labels = good["label"].value_counts().index[:most_labels]
    each = -(-12 // len(labels))
    drawn = good[good["label"].isin(labels)].sample(frac=1, random_state=seed).groupby("label").head(each)
    return drawn.sort_values("label", kind="stable")


def digest(images: pd.DataFrame) -> str:
    """Identify what a run was made from, names, contents and split: 64 hex digits."""
    good = images[images["problem"].isna()]
    lines = [" ".join(row) for row in zip(good["sha256"], good["split"], good["path"], strict=True)]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _have(labels: Sequence[str]) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:3]) + (", ..." if len(labels) > 3 else "")
    return f"{len(labels)} labels ({shown}) have" if len(labels) > 1 else f"The label {shown} has"


def counts_by_label(images: pd.DataFrame) -> pd.DataFrame:
    """Count the usable images: one row a label, columns train, validation, test, total."""
    good = images[images["problem"].isna()]
    counts = pd.crosstab(good["label"], good["split"]).reindex(columns=list(SPLITS), fill_value=0)
    counts.columns.name = None
    return counts.assign(total=counts.sum(axis=1))
