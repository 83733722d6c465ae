"""Near-duplicates across splits, found by the similarity of bottlenecks: pure functions on arrays and tables.

How a threshold comes out of the data: in a cloud of unrelated points the expected number of points within distance d
of one of them grows as a power of d, and the power is the cloud's intrinsic dimension (Levina & Bickel 2005; Facco et
al. 2017, doi.org/10.1038/s41598-017-11873-y). So an image's tenth to twentieth neighbour, which nobody doubts to be
other pictures, say how many unrelated images to expect within any smaller distance. A pair is called near-duplicate
when it is so close that the whole data set would hold about one such pair by chance, seen from either of its images.

Limits. Where a handful of images lies apart from all others (photos of one animal, slices of one crystal) they are
called near-duplicates too; for a leak that is right. More than about ten copies of one picture look like a crowd of
their own and hide one another, unless their bottlenecks are equal. In few intrinsic dimensions (below about 5)
unrelated images come as close as duplicates do, and then little is found. What moves a bottleneck as far as another
picture would, such as strong cropping, is not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_CHANCE = 1.0  # unrelated pairs that may be taken for near-duplicates, in the whole data set
_EQUAL = 1e-5  # distances below it are rounding
_ALIKE = 0.9995  # a limit beyond it leaves out even copies that differ by 3% of what images differ by


@dataclass(frozen=True)
class Duplicates:
    """What `find` found.

    Attributes:
        pairs: columns first, second (rows, first < second), similarity (cosine, -1 to 1); the most similar first.
        limit: float [n], the similarity from which on a neighbour is too close for chance; both images must agree.
        dimension: intrinsic dimension of the bottlenecks; NaN where it cannot be told.
    """

    pairs: pd.DataFrame
    limit: np.ndarray
    dimension: float


def find(index: np.ndarray, distance: np.ndarray, labels: Sequence[str] | np.ndarray) -> Duplicates:
    """Tell near-duplicates from images that are merely alike. The method stands at the top of this module.

    Args:
        index, distance: [n, count], of `neighbours.nearest`.
        labels: [n]. The scale of an image must come from within its own label, else a label of a few images, far from
            the others, would look like copies of one another. A pair may have two labels.
    """
    n, count = distance.shape
    if count == 0:
        return Duplicates(_pairs_table([], [], []), np.full(n, np.nan), float("nan"))
    rank = _ranks(index, np.asarray(labels, dtype=object).astype(str))
    scale = np.take_along_axis(distance, rank[:, None] - 1, 1)[:, 0]
    dimension = _dimension(distance, rank, scale)
    tiny = pd.Series(labels).groupby(labels).transform("size").to_numpy() < 4  # no scale of their own
    scale = np.where(tiny, np.minimum(scale, np.median(distance[:, 0])), scale)
    limit = np.zeros(n)
    if np.isfinite(dimension):  # expected unrelated images within d: rank * (d / scale) ** dimension
        limit = scale * (_CHANCE / n / rank) ** (1 / dimension)
    limit = np.maximum(limit, _EQUAL)
    first, place = np.nonzero(distance <= np.minimum(limit[:, None], limit[index]))
    second = index[first, place]
    pairs = _pairs_table(np.minimum(first, second), np.maximum(first, second), distance[first, place])
    return Duplicates(pairs, 1 - limit**2 / 2, dimension)


def groups(pairs: pd.DataFrame, given: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Number the groups that must stay together in a split: int [n], from 0 up.

    Args:
        pairs: columns first, second: rows that belong together, and so does what they belong to.
        given: [n], groups known before; images that share one stay together as well.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, names = len(given), pd.factorize(np.asarray(given, dtype=object), use_na_sentinel=False)[0]
    # a graph of n images and, behind them, n names: an image is tied to its name, and to its near-duplicates
    first, second = np.r_[pairs["first"], np.arange(n)], np.r_[pairs["second"], n + names]
    ties = coo_array((np.ones(len(first)), (first.astype(int), second.astype(int))), shape=(2 * n, 2 * n))
    return connected_components(ties, directed=False)[1][:n].astype(np.int64)


def crossing(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """List the pairs whose images stand in different splits, the most similar first.

    Args:
        pairs: of `find`.
        table: columns path, label, split; its rows are those that the pairs name.

    Returns:
        path, other, label, other label, split, other split, similarity; `path` is the image that is measured
        (validation or test), `other` the one that it resembles, in training where one of them is.
    """
    order = table["split"].map({"test": 0, "validation": 1, "train": 2}).to_numpy()
    ends = pairs[["first", "second"]].to_numpy(np.int64)
    apart = order[ends[:, 0]] != order[ends[:, 1]]
    ends = ends[apart]
    ends = np.take_along_axis(ends, np.argsort(order[ends], axis=1), 1)  # the measured image first
    columns: dict[str, np.ndarray] = {}
    for name, other in (("path", "other"), ("label", "other label"), ("split", "other split")):
        columns |= {column: table[name].to_numpy()[rows] for column, rows in zip((name, other), ends.T, strict=True)}
    return pd.DataFrame(columns | {"similarity": pairs["similarity"].to_numpy()[apart]})


def share(across: pd.DataFrame, table: pd.DataFrame) -> float:
    """Share of the validation images that have a near-duplicate in training, 0 to 1; 0 without validation images.

    `across`: of `crossing`; `table`: column split.
    """
    leaked = across[(across["split"] == "validation") & (across["other split"] == "train")]["path"].nunique()
    return leaked / max(1, int((table["split"] == "validation").sum()))


def describe(found: Duplicates, table: pd.DataFrame) -> str:
    """Say in plain words how many near-duplicates `find` found, and which figures they flatter.

    Args:
        found: of `find`.
        table: columns path, label, split; its rows are those that were compared.
    """
    pairs, across = found.pairs, crossing(found.pairs, table)
    limit = float(np.median(found.limit)) if len(found.limit) else float("nan")
    scale = f"Similarity {limit:.3f} and more counts, for the typical image; chance would bring about one pair."
    if blind := not limit < _ALIKE:
        scale = "Only equal images can be told: these bottlenecks vary in too few ways."
    if pairs.empty:
        nothing = f"No near-duplicates among {len(table):,} images: no two are more alike than chance explains."
        return f"{nothing} {scale}" if blind else nothing
    said = [f"{_count(len(pairs))} of near-duplicates among {len(table):,} images{_where(across, table)}"]
    label = table["label"].to_numpy()
    differ = int((label[pairs["first"]] != label[pairs["second"]]).sum())
    if differ:
        said.append(f"{_count(differ)} {'carries' if differ == 1 else 'carry'} two labels.")
    return " ".join([*said, scale])


def _where(across: pd.DataFrame, table: pd.DataFrame) -> str:
    if across.empty:
        return "; none lies across two splits."
    kinds = (across["split"] + " and " + across["other split"]).value_counts()
    where = ", ".join(f"{number:,} between {kind}" for kind, number in kinds.items())
    leaked = across[across["other split"] == "train"].drop_duplicates("path")["split"].value_counts()
    sizes = table["split"].value_counts()
    told = [f"{leaked.get(n, 0):,} of {sizes[n]:,} {n} images" for n in ("validation", "test") if n in sizes]
    said = f"{' and '.join(told)} have a near-duplicate in training."
    return f", {len(across):,} of them across splits ({where}): {said}"


def _count(pairs: int) -> str:
    return f"{pairs:,} pair{'' if pairs == 1 else 's'}"


def _ranks(index: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Say which neighbour sets each image's scale: int [n], 2 up to the number of neighbours.

    The last one; in a small label the one by which half of the label has been met.
    """
    count = index.shape[1]
    codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    half = np.maximum(sizes[codes] // 2, 1)
    met = np.cumsum(codes[index] == codes[:, None], axis=1) >= half[:, None]
    return np.minimum(np.where(met[:, -1], np.maximum(met.argmax(axis=1) + 1, 2), count), count)


def _dimension(distance: np.ndarray, rank: np.ndarray, scale: np.ndarray) -> float:
    """Estimate the intrinsic dimension from the farther half of the neighbours; NaN where it cannot be told.

    In m dimensions, m log(d[r] / d[h]) is a sum of independent exponentials of mean 1 / j, j = h ... r - 1. Each image
    gives an estimate of 1 / m, corrected from median to mean as for a gamma distribution (Wilson & Hilferty 1931); the
    median of all does not mind duplicates.
    """
    half = (rank + 1) // 2
    inner = np.take_along_axis(distance, half[:, None] - 1, 1)[:, 0]
    able = (rank > half) & (inner > _EQUAL)
    if not able.any():
        return float("nan")
    steps = np.arange(1, distance.shape[1] + 1)
    mean, variance = (np.r_[0, np.cumsum(1.0 / steps**power)] for power in (1, 2))
    mean, variance = (sums[rank[able] - 1] - sums[half[able] - 1] for sums in (mean, variance))
    middle = mean * (1 - variance / mean**2 / 9) ** 3
    inverse = np.median(np.log(scale[able] / inner[able]) / middle)
    return float(1 / max(inverse, 1e-3))


def _pairs_table(first: Any, second: Any, distance: Any) -> pd.DataFrame:
    similarity = 1 - np.asarray(distance, dtype=float) ** 2 / 2
    columns = {"first": np.asarray(first, np.int64), "second": np.asarray(second, np.int64), "similarity": similarity}
    table = pd.DataFrame(columns).drop_duplicates(["first", "second"])
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)
