"""The split evened out: each label gets its share of validation and test, by as few moves as that takes.

A hash deals images like dice: of 14 images, 10% are none at all for 23 labels in 100. So those images move whose hash
lies nearest to another split, on a ring on which each split borders on both others, until the counts of their label are
within bounds; where they were, nothing moves. Only names, labels and counts decide, so the same images always come to
the same split, and as others come and go, an image moves only where a count leaves its bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..evaluation.scores import SPLITS

_TOLERANCE = 0.1  # of a label's share; one image is always tolerated
_ENOUGH = 3  # units from which on a label can have all three splits


@dataclass(frozen=True)
class _Bounds:
    """How many images of each label each split should have, [labels, 3]: what is missed, costs."""

    lowest: np.ndarray
    highest: np.ndarray
    empty: np.ndarray  # what having none at all costs besides: more than all images

    def cost(self, label: int, counts: np.ndarray) -> np.ndarray:
        """How far counts, [..., 3], of a label lie outside: [...]."""
        short, over = self.lowest[label] - counts, counts - self.highest[label]
        return (np.maximum(np.maximum(short, over), 0) + self.empty[label] * (counts == 0)).sum(axis=-1)


def even(rows: pd.DataFrame, may: pd.DataFrame, percentages: Mapping[str, float]) -> pd.Series:
    """Even out a split, label by label; returns the new split of each row.

    The count of a split should lie within one image or 10% of its share, whichever is more, of the images that may go
    there; where a label has three units or more, none of its splits should be empty, and train never is where that can
    be. A unit moves if that brings its label nearer to this and takes no other label farther from it.

    Args:
        rows: label; unit, what must stay together; hash, 0 to 100, the same throughout a unit; split. One row an image.
        may: bool, a column a split, aligned with `rows`: where an image may be; all of a unit may do the same.
        percentages: of validation and test.
    """
    label, names = pd.factorize(rows["label"], sort=True)
    place = pd.Index(SPLITS).get_indexer(rows["split"])
    unit = pd.factorize(rows["unit"])[0]
    allowed = may[list(SPLITS)].to_numpy()
    free = allowed.sum(axis=1) > 1
    counts = _counts(label, place, len(names))
    bounds = _bounds(label, len(names), unit, place, allowed, percentages)
    cost = np.array([bounds.cost(number, counts[number]) for number in range(len(names))])
    touched = np.zeros(unit.max(initial=-1) + 1, bool)
    touched[unit[(cost > 0)[label]]] = True  # all else stays as it is
    some = np.flatnonzero(touched[unit])
    table = _Table(rows.iloc[some], label[some], place[some], allowed[some], percentages, counts, bounds)
    table.even(np.flatnonzero(cost > 0))
    place[some] = np.where(free[some], table.place[table.unit], place[some])
    return pd.Series(np.array(SPLITS, dtype=object)[place], rows.index)


def _counts(label: np.ndarray, place: np.ndarray, labels: int) -> np.ndarray:
    return np.bincount(label * 3 + place, minlength=labels * 3).reshape(-1, 3)


def _bounds(
    label: np.ndarray,
    labels: int,
    unit: np.ndarray,
    place: np.ndarray,
    allowed: np.ndarray,
    percentages: Mapping[str, float],
) -> _Bounds:
    free = allowed.sum(axis=1) > 1
    stay = _counts(label[~free], place[~free], labels)
    could = np.stack([np.bincount(label[free & to], minlength=labels) for to in allowed.T], axis=1)
    percentage = np.array([percentages.get(name, np.nan) for name in SPLITS])  # train: whatever is left
    share = could * percentage / 100
    slack = np.maximum(1, _TOLERANCE * share) + 1e-9  # free of rounding
    units = pd.DataFrame({"label": label, "unit": unit}).drop_duplicates()["label"].value_counts(sort=False)
    enough = (units.sort_index().to_numpy() >= _ENOUGH)[:, None] & (percentage > 0)
    lowest = np.where(enough, np.maximum(stay + np.ceil(share - slack), 1), 0)
    highest = np.where(enough, stay + np.floor(share + slack), np.inf)
    every = len(label) + 1.0
    return _Bounds(lowest, highest, np.where(np.array(SPLITS) == "train", 3 * every, every * enough))


class _Table:
    """The units that may have to move, and where they are."""

    def __init__(
        self,
        rows: pd.DataFrame,
        label: np.ndarray,
        place: np.ndarray,
        allowed: np.ndarray,
        percentages: Mapping[str, float],
        counts: np.ndarray,
        bounds: _Bounds,
    ) -> None:
        self.counts, self.bounds = counts, bounds
        self.unit = pd.factorize(rows["unit"], sort=True)[0]  # by name: the order of rows does not matter
        first = np.unique(self.unit, return_index=True)[1]
        self.place, self.allowed = place[first], allowed[first]
        self.distance = _distances(rows["hash"].to_numpy()[first], percentages)
        pairs = pd.DataFrame({"unit": self.unit, "label": label}).value_counts(sort=False).reset_index(name="images")
        self.labels_of = {
            number: own[["label", "images"]].to_numpy()
            for number, own in pairs[pairs["unit"].duplicated(keep=False)].groupby("unit")
        }
        self.units_of = dict(tuple(pairs.groupby("label")))

    def even(self, labels: np.ndarray) -> None:
        """Move units until no move betters one of these labels; each lowers the cost of all, so that it ends."""
        moved = True
        while moved:
            moved = False
            for label in labels:
                while self._better(label):
                    moved = True

    def _better(self, label: int) -> bool:
        """Make the best move for a label: what leaves least outside the bounds, then the nearest hash."""
        now = self.bounds.cost(label, self.counts[label])
        if now == 0:
            return False
        unit, images = (self.units_of[label][name].to_numpy() for name in ("unit", "images"))
        each, to = np.nonzero(self.allowed[unit])
        each, to = (index[to != self.place[unit[each]]] for index in (each, to))
        unit, images, row = unit[each], images[each], np.arange(len(each))
        after = np.tile(self.counts[label], (len(each), 1))
        after[row, self.place[unit]] -= images
        after[row, to] += images
        cost = self.bounds.cost(label, after)
        good = np.flatnonzero(cost < now)
        for best in good[np.lexsort((to[good], unit[good], self.distance[unit[good], to[good]], cost[good]))]:
            if self._move(unit[best], to[best], label, images[best]):
                return True
        return False

    def _move(self, unit: int, to: int, label: int, images: int) -> bool:
        """Move a unit, unless that takes another of its labels farther from its bounds."""
        after = {}
        for other, count in self.labels_of.get(unit, [(label, images)]):
            after[other] = self.counts[other].copy()
            after[other][[self.place[unit], to]] += (-count, count)
            worse = self.bounds.cost(other, after[other]) > self.bounds.cost(other, self.counts[other])
            if other != label and worse:
                return False
        for other, counts in after.items():
            self.counts[other] = counts
        self.place[unit] = to
        return True


def _distances(hashed: np.ndarray, percentages: Mapping[str, float]) -> np.ndarray:
    """How far hashes lie from the part of the ring that is each split's: [n, 3], 0 within."""
    first = percentages["validation"]
    second = first + percentages["test"]
    parts = {"train": (second, 100), "validation": (0, first), "test": (first, second)}
    edges = [parts[name] for name in SPLITS]
    return np.stack(
        [
            np.where((low <= hashed) & (hashed < high), 0, np.minimum((low - hashed) % 100, (hashed - high) % 100))
            for low, high in edges
        ],
        axis=1,
    )
