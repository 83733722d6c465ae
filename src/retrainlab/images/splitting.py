"""Which images teach, which choose settings, which are kept for the final test: train, validation and test.

retrain.py's split by a hash of the file's name, made stable, and for notebooks evened out; what a person says wins.
"""

import hashlib

import numpy as np
import pandas as pd

from ..errors import RetrainLabError
from .evening import even
from .grouping import groups

# retrain.py's constant: hashes are folded onto this many buckets before they become a percentage.
_MAX_NUM_IMAGES_PER_CLASS = 2**27 - 1


def split(
    images: pd.DataFrame,
    testing_percentage: float = 10,
    validation_percentage: float = 10,
    listed: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Give every usable image its split: train, validation or test; in a copy of the images table.

    The split is retrain.py's, made stable: SHA-1 of the path relative to image_dir, cut at `_nohash_`, folded onto a
    percentage. So an image keeps its split when the folder moves, and when other images come and go. What belongs
    together, as of `grouping.groups`, shares a split, and every label keeps at least one training image.

    Args:
        testing_percentage, validation_percentage: 0 up to less than 100 together.
        listed: path and split, as a person says; wins where it names a file. If it names most images and none for
            validation, `validation_percentage` of its training images become that.

    Raises:
        RetrainLabError: a percentage is below 0, or they leave no training image.
    """
    rows = _hashed(images, testing_percentage, validation_percentage, listed)
    return _with_splits(images, rows["split"])


def even_split(
    images: pd.DataFrame,
    testing_percentage: float = 10,
    validation_percentage: float = 10,
    listed: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Split as `split` does, then even out what that leaves to chance, label by label; see `evening.even`.

    From three images up that do not belong together, a label has one of each split. What `listed` names stays where it
    is, and takes no part; but if it names most images, some for validation and none for the test, there is no test.

    Args and Raises: as of `split`.
    """
    rows = _hashed(images, testing_percentage, validation_percentage, listed)
    percentages = {"validation": validation_percentage, "test": testing_percentage}
    free = rows["listed"].isna()
    if free.mean() < 0.5 and "validation" in set(rows["listed"]) and "test" not in set(rows["listed"]):
        percentages["test"] = 0  # a few images that were forgotten are no test
        rows["split"] = rows["split"].mask(free & (rows["split"] == "test"), "train")
    lent = rows["lent"].groupby(rows["unit"]).transform("all")
    may = {"train": free | lent, "validation": (free | lent) & (validation_percentage > 0)}
    may["test"] = free & (percentages["test"] > 0)
    return _with_splits(images, even(rows, pd.DataFrame(may), percentages))


def _hashed(
    images: pd.DataFrame, testing_percentage: float, validation_percentage: float, listed: pd.DataFrame | None
) -> pd.DataFrame:
    """Split by the hash; a row a usable image: label, unit that stays together, hash (0 to 100), split, listed, lent.

    listed: the split that `listed` gives; None where it gives none. lent: whether validation may take it all the same.
    """
    _check_percentages(testing_percentage, validation_percentage)
    good = images[images["problem"].isna()]
    unit = groups(good)
    rows = pd.DataFrame({"label": good["label"], "unit": unit, "hash": unit.map(_percentage), "listed": None})
    below = [rows["hash"] < validation_percentage, rows["hash"] < validation_percentage + testing_percentage]
    rows["split"], rows["lent"] = np.select(below, ["validation", "test"], "train").astype(object), False
    if listed is not None:
        rows["listed"] = _named(images, listed, unit)
        if not (listed["split"] == "validation").any() and rows["listed"].notna().mean() > 0.5:
            rows["lent"] = rows["listed"] == "train"
        fixed = rows["listed"].mask(rows["lent"] & below[0], "validation")
        rows["split"] = fixed.where(fixed.notna(), rows["split"])
    free = rows[rows["listed"].isna()]
    for label in sorted(set(free["label"]) - set(rows["label"][rows["split"] == "train"])):
        if not (rows["split"][rows["label"] == label] == "train").any():
            # the image that the hash puts nearest to the training split, and those that must stay with it
            rows.loc[unit == unit[free["hash"][free["label"] == label].idxmax()], "split"] = "train"
    return rows


def _with_splits(images: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    return images.assign(split=chosen.reindex(images.index).astype(object).where(lambda split: split.notna(), None))


def _check_percentages(testing_percentage: float, validation_percentage: float) -> None:
    for name, value in {"testing": testing_percentage, "validation": validation_percentage}.items():
        if not value >= 0:
            raise RetrainLabError(f"{name}_percentage is {value:g}. Expected a number from 0 to less than 100.")
    if testing_percentage + validation_percentage >= 100:
        raise RetrainLabError(
            f"testing_percentage {testing_percentage:g} and validation_percentage {validation_percentage:g} leave no "
            "training image. Expected two numbers from 0 up that add up to less than 100."
        )


def _named(images: pd.DataFrame, listed: pd.DataFrame, group: pd.Series) -> pd.Series:
    """Look up the split that `listed` gives to each usable image; None where it gives none."""
    paths = images.loc[group.index, "path"].sort_values()
    named = paths.map(listed.set_index("path")["split"])
    return named.fillna(named.groupby(group).transform("first"))  # what belongs together goes along


def keep_training(images: pd.DataFrame, learnt: set[str]) -> tuple[pd.DataFrame, int]:
    """Put what a head has learnt from into training, and what belongs to it: that cannot judge it.

    Args:
        images: an images table, split.
        learnt: sha256 of the images that the head has learnt from.

    Returns:
        (the table, how many images were to validate or to test).
    """
    good = images[images["problem"].isna()]
    known = good["sha256"].isin(learnt).groupby(groups(good)).transform("any")
    moved = good.index[known & (good["split"] != "train")]
    return images.assign(split=images["split"].mask(images.index.isin(moved), "train")), len(moved)


def _percentage(name: str) -> float:
    number = int(hashlib.sha1(name.encode()).hexdigest(), 16)
    return (number % (_MAX_NUM_IMAGES_PER_CLASS + 1)) * (100.0 / _MAX_NUM_IMAGES_PER_CLASS)
