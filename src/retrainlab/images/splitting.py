"""Which images teach, which choose settings, which are kept for the final test: train, validation and test.

retrain.py's split by a hash of the file's name, made stable; what a `splits.csv` says wins.
"""

import hashlib

import numpy as np
import pandas as pd

from ..errors import RetrainLabError

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
    percentage. So an image keeps its split when the folder moves, and when other images come and go. Byte-identical
    files share a split, and every label keeps at least one training image.

    Args:
        testing_percentage, validation_percentage: 0 up to less than 100 together.
        listed: path and split, as a person says; wins where it names a file. If it names most images and none for
            validation, `validation_percentage` of its training images become that.

    Raises:
        RetrainLabError: a percentage is below 0, or they leave no training image.
    """
    _check_percentages(testing_percentage, validation_percentage)
    good = images[images["problem"].isna()]
    group = groups(good)
    percentage = group.map(_percentage)
    below = [percentage < validation_percentage, percentage < validation_percentage + testing_percentage]
    chosen = pd.Series(np.select(below, ["validation", "test"], "train"), good.index, dtype=object)
    fixed = pd.Series(None, good.index, dtype=object)
    if listed is not None and len(listed):
        fixed = _named(images, listed, group)
        if not (listed["split"] == "validation").any() and fixed.notna().mean() > 0.5:
            fixed = fixed.mask((fixed == "train") & below[0], "validation")
    chosen = fixed.where(fixed.notna(), chosen)
    for label, rows in good[fixed.isna()].groupby("label", sort=True):
        if not (chosen[good["label"] == label] == "train").any():
            # the image that the hash puts nearest to the training split, and those that must stay with it
            chosen[group == group[percentage[rows.index].idxmax()]] = "train"
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
    named = images.loc[group.index, "path"].map(listed.set_index("path")["split"])
    return named.fillna(named.groupby(group).transform("first"))  # copies and `_nohash_` relatives go along


def groups(images: pd.DataFrame) -> pd.Series:
    """Name, for each usable image, the group that must share a split: equal up to `_nohash_`, or equal in content.

    The shortest name of a group is its name, since copies get longer ones (`a copy.jpg`, `a (1).jpg`): so the image
    that was there first keeps its split.
    """
    own = images["path"].str.split("_nohash_").str[0]
    names = sorted(own.unique(), key=lambda name: (len(name), name))
    own = own.map({name: number for number, name in enumerate(names)})
    group = own
    while True:  # groups that touch melt together; nearly always settled after one round
        merged = group.groupby(images["sha256"]).transform("min").groupby(own).transform("min")
        if merged.equals(group):
            return group.map(dict(enumerate(names))).astype(object)
        group = merged


def check_unseen(images: pd.DataFrame, learnt: set[str], run: str) -> None:
    """Refuse to judge a head by images that it has learnt from, where training starts from the head of another `run`.

    Raises:
        RetrainLabError: some of `learnt`, the sha256 of its training images, are validation or test images here.
    """
    seen = images[images["split"].isin(["validation", "test"]) & images["sha256"].isin(learnt)]
    if len(seen):
        raise RetrainLabError(
            f"The head of '{run}' has learnt from {len(seen):,} images that are to validate or test here, the first is "
            f"{seen['path'].iloc[0]}: it would be judged by what it knows. Set testing_percentage and "
            "validation_percentage as they were there, name these images as train in splits.csv, or start from none."
        )


def _percentage(name: str) -> float:
    number = int(hashlib.sha1(name.encode()).hexdigest(), 16)
    return (number % (_MAX_NUM_IMAGES_PER_CLASS + 1)) * (100.0 / _MAX_NUM_IMAGES_PER_CLASS)


def group_by_pattern(paths: pd.Series, pattern: str) -> pd.Series:
    raise NotImplementedError
