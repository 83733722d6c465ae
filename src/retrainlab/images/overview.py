"""What a split images table says: Findings and notes for people, a sample of it, its digest."""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.finding import Finding
from ..evaluation.scores import SPLITS
from ..pixels.levels import Levels, in_the_dark

_SMALL_LABEL = 20  # retrain.py warns below this many images a label


def usable(images: pd.DataFrame) -> Finding:
    """Count the images of a split table that can be used, by label and split."""
    from .. import plots

    counts = counts_by_label(images)
    said = f"{counts['total'].sum():,} images of {len(counts):,} labels can be used."
    numbers, draw = {"images": int(counts["total"].sum()), "labels": len(counts)}, partial(plots.image_counts, counts)
    return Finding("How many images there are", said, numbers=numbers, draw=draw)


def left_out(images: pd.DataFrame, most: int = 50) -> Finding:
    """List the files that take no part in anything, and why."""
    bad = _bad(images)[["path", "problem"]]
    said = f"{len(bad)} of {len(images)} files are left out" if len(bad) else ""
    said += (f"; the first {most}:" if len(bad) > most else ".") * bool(said)
    return Finding("What is left out", said, table=_listed(bad, most))


def copies(images: pd.DataFrame) -> Finding:
    """List the files that are byte-identical copies of one another."""
    same = _copies(images).sort_values("sha256")[["path", "label", "split", "sha256"]]
    said = "\n".join(_of_copies(same))
    return Finding("Which files are copies", said, table=_listed(same.drop(columns="sha256"), 30))


def found(images: pd.DataFrame, *notes: str) -> Finding:
    """Sum up an images table: how much there is, and the accuracy that any classifier must beat.

    `notes`: how it was understood, and what must be mended.
    """
    total, left, same = counts_by_label(images)["total"], images["problem"].notna().sum(), len(_copies(images))
    said = f"{total.sum():,} images of {len(total):,} labels, {left:,} files left out, {same:,} copies.\n"
    said += f"Always answering '{total.idxmax()}' would be right for {total.max() / total.sum():.1%} of the images: "
    said += "\n".join(["beat that.", *filter(None, notes)])
    numbers = {"images": int(total.sum()), "left_out": int(left), "copies": same}
    return Finding("What there is to learn from", said, numbers=numbers)


def notes(images: pd.DataFrame, named: int = 3) -> list[str]:
    """Say in sentences what a person should know of a split images table before trusting figures made from it.

    `named`: how many of the files that are left out to name, each with its problem.
    """
    counts, bad, said = counts_by_label(images), _bad(images), []
    if len(bad):
        why = [f" {row.path}: {row.problem}." for row in bad[:named].itertuples()]
        more = f" And {len(bad) - named} more." if 0 < named < len(bad) else ""
        said.append(f"{left_out(images, len(bad))}{''.join(why)}{more}")
    said += _twins(list(counts.index))
    if small := list(counts.index[counts["total"] < _SMALL_LABEL]):
        said.append(f"{_have(small)} fewer than {_SMALL_LABEL} images: too few to learn or to measure reliably.")
    if lost := sorted(set(bad["label"].dropna()) - set(counts.index)):
        said.append(f"{_have(lost)} no image that can be used: left out of the labels.")
    said += _of_numbers(list(counts.index))
    for name in SPLITS:
        if without := list(counts.index[counts[name] == 0]):
            said.append(f"{_have(without)} no {name} image: {name} accuracy says nothing of that.")
    if levels := str(Levels.of(images)):
        deep = images["problem"].isna() & images["dtype"].notna()
        many = "1 image is" if deep.sum() == 1 else f"{deep.sum():,} images are"
        said += [f"{many} not of 8 bits: {levels}.", *in_the_dark(images)]
    windows = images["problem"].isna() & (images["format"] == "DICOM") & images["dtype"].isna()
    if windows.any():
        said.append(
            f"{windows.sum():,} DICOM images are seen through the window that each declares, or are of 8 bits: their "
            "brightness cannot be compared."
        )
    return said + _of_groups(images) + _of_copies(_copies(images))


def _of_groups(images: pd.DataFrame) -> list[str]:
    """Say so where what a person says of splits parts what a person says belongs together."""
    splits = images[images["problem"].isna()].groupby("group")["split"].nunique()
    parted = splits.index[splits > 1]
    if parted.empty:
        return []
    return [
        f"{len(parted):,} of {len(splits):,} groups lie in several splits ('{parted[0]}' is one), by what folders or "
        "tables say: the test accuracy may be too good."
    ]


def _bad(images: pd.DataFrame) -> pd.DataFrame:
    """The files that are left out, of the rarest problem first: one damaged file is lost among many unlabelled."""
    bad = images[images["problem"].notna()]
    return bad.iloc[bad.groupby("problem")["problem"].transform("size").argsort(kind="stable")]


def _twins(labels: Sequence[str]) -> list[str]:
    """Say which labels are written almost alike, as nobody does on purpose."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(" ".join(label.casefold().split()), []).append(label)
    return [
        f"The labels {' and '.join(map(repr, twins))} differ in capitals or spaces alone: likely a mistake; rename one "
        "of them."
        for twins in alike.values()
        if len(twins) > 1
    ]


def _have(labels: Sequence[str]) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:3]) + (", ..." if len(labels) > 3 else "")
    return f"{len(labels)} labels ({shown}) have" if len(labels) > 1 else f"The label {shown} has"


def _of_numbers(labels: Sequence[str]) -> list[str]:
    """Say so where labels are numbers and stand in another order than a person counts: sorted as text, as ever."""
    counted = sorted(labels, key=int) if all(label.isdecimal() for label in labels) else labels
    place = next((place for place, label in enumerate(labels) if label != counted[place]), None)
    if place is None:
        return []
    return [
        f"The labels are numbers and sorted as text: {', '.join(labels[: place + 2])}, ... So output {place} of the "
        f"model, counted from 0, is '{labels[place]}', not '{counted[place]}'; output_labels.txt has this order."
    ]


def _copies(images: pd.DataFrame) -> pd.DataFrame:
    return images[images["problem"].isna() & images["sha256"].duplicated(keep=False)]


def _of_copies(same: pd.DataFrame) -> list[str]:
    if same.empty:
        return []
    kinds = same.groupby("sha256")[["split", "label"]].nunique().max()
    together = (
        "some are in different splits, by what folders or tables say" if kinds["split"] > 1 else "copies share a split"
    )
    said = [f"{len(same)} files are byte-identical copies of one another; {together}."]
    if kinds["label"] > 1:
        said.append("Some copies carry different labels; at least one of each such pair is labelled wrongly.")
    return said


def _listed(table: pd.DataFrame, most: int) -> Any:
    return table.head(most).style.format(escape="html").hide() if len(table) else None


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


def counts_by_label(images: pd.DataFrame) -> pd.DataFrame:
    """Count the usable images: one row a label, columns train, validation, test, total."""
    good = images[images["problem"].isna()]
    counts = pd.crosstab(good["label"], good["split"]).reindex(columns=list(SPLITS), fill_value=0)
    counts.columns.name = None
    return counts.assign(total=counts.sum(axis=1))
