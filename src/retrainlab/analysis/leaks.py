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

from ..evaluation.intervals import clustered_mean

_COUNT = 20  # neighbours of each image that are looked at; the farther half of them sets the scale
_CHANCE = 1.0  # unrelated pairs that may be taken for near-duplicates, in the whole data set
_FAR = 5.0  # deviations: a feature that hardly any image has would else decide alone what is alike
_EQUAL = 1e-5  # distances below it are rounding
_EXACT = 4096  # up to so many images, candidates are sought among all dimensions; beyond, among the principal ones
_PRINCIPAL = 128
_CANDIDATES = 2  # times as many as are wanted, because the principal dimensions order them only roughly
_ALIKE = 0.9995  # a limit beyond it leaves out even copies that differ by 3% of what images differ by
_MEASURED = ("validation", "test")
_BLOCK = 2**24  # numbers of one block of similarities or differences: 64 MiB


@dataclass(frozen=True)
class Neighbours:
    """The most similar other images of each image, nearest first.

    Attributes:
        index: int [n, count], their rows.
        distance: float32 [n, count], 0 to 2: between standardised bottlenecks of length 1, so that the cosine
            similarity is 1 - distance**2 / 2.
    """

    index: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Duplicates:
    """What `find` found.

    Attributes:
        pairs: columns first, second (rows, first < second), similarity (cosine, -1 to 1); the most similar first.
        nearest: float [n], the similarity of each image's most similar other image.
        limit: float [n], the similarity from which on a neighbour is too close for chance; both images must agree.
        dimension: intrinsic dimension of the bottlenecks; NaN where it cannot be told.
    """

    pairs: pd.DataFrame
    nearest: np.ndarray
    limit: np.ndarray
    dimension: float


def neighbours(features: np.ndarray, count: int = _COUNT) -> Neighbours:
    """Find the most similar other images of each image, by cosine similarity of standardised bottlenecks.

    Similarities are computed block by block, never as a whole table. Beyond 4,096 images, candidates are sought among
    128 principal components, and their distances computed from all features.

    Args:
        features: float32 [n, dim].
        count: how many neighbours, at most n - 1.
    """
    n = len(features)
    count = min(count, n - 1)
    if count < 1:
        return Neighbours(np.zeros((n, 0), np.int64), np.zeros((n, 0), np.float32))
    points = _directions(features)
    sought = points if n <= _EXACT else _principal(points)
    halves = np.einsum("nd,nd->n", sought, sought) / 2  # products less these fall as distances grow
    candidates = min(count * _CANDIDATES, n - 1)
    index = np.empty((n, count), np.int64)
    distance = np.empty((n, count), np.float32)
    rows = max(1, _BLOCK // max(n, candidates * points.shape[1]))
    width = max(1, int(np.sqrt(n / candidates)))
    block = np.full((rows, -(-n // width) * width), -np.inf, np.float32)  # what pads the last stretch stays -inf
    for start in range(0, n, rows):
        here = np.arange(start, min(start + rows, n))
        similar = block[: len(here)]
        np.subtract(sought[here] @ sought.T, halves, out=similar[:, :n])
        similar[np.arange(len(here)), here] = -np.inf
        near = _largest(similar, candidates, width)
        # From differences, not from products: those of equal images are exactly 0.
        away = np.linalg.norm(points[near] - points[here][:, None], axis=2)
        order = np.argsort(away, axis=1, kind="stable")[:, :count]
        index[here] = np.take_along_axis(near, order, 1)
        distance[here] = np.take_along_axis(away, order, 1)
    return Neighbours(index, distance)


def find(near: Neighbours, labels: Sequence[str] | np.ndarray) -> Duplicates:
    """Tell near-duplicates from images that are merely alike. The method stands at the top of this module.

    Args:
        near: of `neighbours`.
        labels: [n]. The scale of an image must come from within its own label, else a label of a few images, far from
            the others, would look like copies of one another. A pair may have two labels.
    """
    n, count = near.distance.shape
    if count == 0:
        return Duplicates(_pairs_table([], [], []), np.full(n, np.nan), np.full(n, np.nan), float("nan"))
    rank = _ranks(near.index, np.asarray(labels, dtype=object).astype(str))
    scale = np.take_along_axis(near.distance, rank[:, None] - 1, 1)[:, 0]
    dimension = _dimension(near.distance, rank, scale)
    tiny = pd.Series(labels).groupby(labels).transform("size").to_numpy() < 4  # no scale of their own
    scale = np.where(tiny, np.minimum(scale, np.median(near.distance[:, 0])), scale)
    limit = np.zeros(n)
    if np.isfinite(dimension):  # expected unrelated images within d: rank * (d / scale) ** dimension
        limit = scale * (_CHANCE / n / rank) ** (1 / dimension)
    limit = np.maximum(limit, _EQUAL)
    close = near.distance <= np.minimum(limit[:, None], limit[near.index])
    first, place = np.nonzero(close)
    second = near.index[first, place]
    pairs = _pairs_table(np.minimum(first, second), np.maximum(first, second), near.distance[first, place])
    return Duplicates(pairs, 1 - near.distance[:, 0] ** 2 / 2, 1 - limit**2 / 2, dimension)


def groups(n: int, pairs: pd.DataFrame, given: Sequence[Any] | np.ndarray | None = None) -> np.ndarray:
    """Number the groups that must stay together in a split: int [n], from 0 up.

    Args:
        n: how many images.
        pairs: columns first, second: rows that belong together, and so does what they belong to.
        given: [n], groups known before; images that share one stay together as well.
    """
    first, second = pairs["first"].to_numpy(np.int64), pairs["second"].to_numpy(np.int64)
    if given is not None:
        codes, _ = pd.factorize(np.asarray(given, dtype=object), use_na_sentinel=False)
        chain = np.argsort(codes, kind="stable")
        same = codes[chain[1:]] == codes[chain[:-1]]
        first, second = np.r_[first, chain[:-1][same]], np.r_[second, chain[1:][same]]
    number = np.arange(n)
    while True:  # everybody takes the smallest number among those it is tied to, and that one's number, until settled
        before = number.copy()
        lowest = np.minimum(number[first], number[second])
        np.minimum.at(number, number[first], lowest)
        np.minimum.at(number, number[second], lowest)
        number = number[number]
        if np.array_equal(before, number):
            return pd.factorize(number)[0].astype(np.int64)


def price(apart: np.ndarray, together: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """What near-duplicates across splits flatter accuracy by: {"accuracy", "interval"} of `clustered_mean`.

    Args:
        apart, together: float [n], the share of re-splits, as they are and with groups kept together, that got an
            image right without having trained on it; NaN for none.
        groups: [n].
    """
    return clustered_mean(apart - together, groups)


def crossing(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """List the pairs whose images stand in different splits, the most similar first.

    Args:
        pairs: of `find`.
        table: columns path, label, split; its rows are those that the pairs name.

    Returns:
        path, other, label, other label, split, other split, similarity; `path` is the image that is measured
        (validation or test), `other` the one that it resembles, in training where one of them is.
    """
    split = table["split"].to_numpy()
    first, second = pairs["first"].to_numpy(np.int64), pairs["second"].to_numpy(np.int64)
    apart = split[first] != split[second]
    first, second = first[apart], second[apart]
    swap = (split[first] == "train") | ((split[first] == "validation") & (split[second] == "test"))
    mine, other = table.iloc[np.where(swap, second, first)], table.iloc[np.where(swap, first, second)]
    columns: dict[str, np.ndarray] = {}
    for name in ("path", "label", "split"):
        columns |= {name: mine[name].to_numpy(), "other" if name == "path" else f"other {name}": other[name].to_numpy()}
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
    blind = "" if limit < _ALIKE else " Only equal images can be told: these bottlenecks vary in too few ways."
    if pairs.empty:
        return f"No near-duplicates among {len(table):,} images: no two are more alike than chance explains.{blind}"
    said = f"{_count(len(pairs), 'pair')} of near-duplicates among {len(table):,} images"
    if across.empty:
        said += "; none lies across two splits."
    else:
        kinds = (across["split"] + " and " + across["other split"]).value_counts()
        where = ", ".join(f"{number:,} between {kind}" for kind, number in kinds.items())
        leaked = across[across["other split"] == "train"].drop_duplicates("path")["split"].value_counts()
        sizes = table["split"].value_counts()
        told = " and ".join(
            f"{leaked.get(name, 0):,} of {sizes[name]:,} {name} images" for name in _MEASURED if name in sizes
        )
        said += f", {len(across):,} of them across splits ({where}): {told} have a near-duplicate in training."
    label = table["label"].to_numpy()
    differ = int((label[pairs["first"]] != label[pairs["second"]]).sum())
    if differ:
        said += f" {_count(differ, 'pair')} {'carries' if differ == 1 else 'carry'} two labels."
    if blind:
        return said + blind
    return f"{said} Similarity {limit:.3f} and more counts, for the typical image; chance would bring about one pair."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _directions(features: np.ndarray) -> np.ndarray:
    """Standardise every feature and give every image length 1, so that no feature and no image outweighs the rest.

    Without it all images would be alike: features after a ReLU have a large part in common.
    """
    points = (features - features.mean(axis=0)).astype(np.float32, copy=False)
    deviation = np.sqrt(np.einsum("nd,nd->d", points, points) / len(points))  # without a temporary of that size
    points /= np.where(deviation > 1e-6, deviation, 1)
    np.clip(points, -_FAR, _FAR, out=points)
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, length, out=points, where=length > 1e-6)


def _principal(points: np.ndarray) -> np.ndarray:
    """Project onto the principal components of a sample: float32 [n, 128]. Subspace iteration (Halko et al. 2011)."""
    if points.shape[1] <= _PRINCIPAL:
        return points
    random = np.random.default_rng(0)
    sample = points[np.sort(random.choice(len(points), _EXACT, replace=False))]
    base = random.standard_normal((points.shape[1], _PRINCIPAL)).astype(np.float32)
    for _ in range(4):
        base = np.linalg.qr(sample.T @ (sample @ base))[0]
    return points @ base


def _largest(values: np.ndarray, count: int, width: int) -> np.ndarray:
    """Find the columns of each row's largest values, in any order: int [rows, count].

    They lie in the `count` stretches of `width` columns with the largest maxima, so only those are searched: five
    times quicker than partitioning whole rows.
    """
    stretches = values.reshape(len(values), -1, width)
    best = stretches.max(axis=2)
    keep = min(count, best.shape[1])
    chosen = np.argpartition(best, -keep, axis=1)[:, -keep:]
    columns = (chosen[:, :, None] * width + np.arange(width)).reshape(len(values), -1)
    top = np.argpartition(np.take_along_axis(values, columns, 1), -count, axis=1)[:, -count:]
    return np.take_along_axis(columns, top, 1)


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
