"""The most similar other images of each image, by the cosine similarity of standardised bottlenecks."""

from collections.abc import Iterator

import numpy as np

from ..files import blocks, room

_FAR = 5.0  # deviations: a feature that hardly any image has would else decide alone what is alike
_EXACT = 4096  # up to so many images, neighbours are sought among all dimensions; beyond, among the principal ones
_PRINCIPAL = 128
_CANDIDATES = 2  # times as many as are wanted, because the principal dimensions order them only roughly
_BLOCK = 2**22  # numbers of one block of differences: 16 MiB
_ALL = 50_000  # up to so many images, all are candidates of each; beyond, those of the cells around it
_A_CELL, _CELLS = 1000, 8  # images of a cell, about; cells that are searched


def nearest(features: np.ndarray, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Find the `count` most similar other images of each image; n - 1 where there are fewer.

    Beyond 4,096 images, candidates are sought among 128 principal components, and their distances computed from all
    features: of 20,580 images with 2,048 features, that takes 9 seconds instead of 32. Beyond 50,000, only in cells of
    about 1,000 images around the image (an inverted file, Sivic & Zisserman 2003, doi.org/10.1109/ICCV.2003.1238663):
    time grows with the images and not with their square. What is nearly equal shares a cell, for each image is in two.

    Args:
        features: float32 [n, dim].

    Returns:
        (rows, distances), int and float32 [n, count], nearest first. A distance is that between standardised
        bottlenecks of length 1, 0 to 2: the cosine similarity is 1 - distance**2 / 2.
    """
    from sklearn.decomposition import PCA

    n = len(features)
    count = min(count, n - 1)
    if count < 1:
        return np.zeros((n, 0), np.int64), np.zeros((n, 0), np.float32)
    points = _directions(features)
    if n <= _EXACT or points.shape[1] <= _PRINCIPAL:
        return _search(points, count)
    sample = points[np.random.default_rng(0).choice(n, _EXACT, replace=False)]
    principal = PCA(_PRINCIPAL, svd_solver="randomized", random_state=0).fit(sample)
    low = np.empty((n, _PRINCIPAL), np.float32)
    for part in blocks(*points.shape):
        low[part] = principal.transform(points[part])
    wanted = min(count * _CANDIDATES, n - 1)
    found, distance = np.empty((n, count), np.int64), np.empty((n, count), np.float32)
    for rows, near in [(np.arange(n), _search(low, wanted)[0])] if n <= _ALL else _in_cells(low, wanted):
        for part in blocks(len(rows), near.shape[1] * points.shape[1]):
            mine, other = rows[part], near[part]
            away = np.linalg.norm(points[other] - points[mine][:, None], axis=2)
            order = np.argsort(away, axis=1, kind="stable")[:, :count]
            found[mine] = np.take_along_axis(other, order, 1)
            distance[mine] = np.take_along_axis(away, order, 1)
    return found, distance


def _search(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points).kneighbors()
    return index, distance.astype(np.float32)


def _in_cells(points: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find the nearest others of the images of each cell in turn: (rows [m], neighbours [m, count], unordered)."""
    from sklearn.cluster import MiniBatchKMeans

    n, cells = len(points), max(1, len(points) // _A_CELL)
    sample = points[np.random.default_rng(0).choice(n, min(n, 32 * cells), replace=False)]
    centres = MiniBatchKMeans(cells, init="random", n_init=1, max_iter=10, batch_size=4096, random_state=0)
    centres = centres.fit(sample).cluster_centers_.astype(np.float32)
    both = np.empty((n, min(2, cells)), np.int32)  # the nearest cell of each image, and the second
    for part in blocks(n, cells):
        both[part] = _closest(points[part], centres, both.shape[1])
    around = _closest(centres, centres, min(_CELLS, cells))
    order = np.argsort(both, axis=None, kind="stable")
    inside = np.split(order // both.shape[1], np.cumsum(np.bincount(both.ravel(), minlength=cells))[:-1])
    own = np.argsort(both[:, 0], kind="stable")
    for cell, rows in enumerate(np.split(own, np.cumsum(np.bincount(both[:, 0], minlength=cells))[:-1])):
        near = np.unique(np.concatenate([inside[other] for other in around[cell]]))
        if len(near) <= count:  # cells that lie apart from all others
            near = np.arange(n)
        squares = np.einsum("nd,nd->n", points[near], points[near])
        for part in blocks(len(rows), len(near)):
            mine = rows[part]
            away = squares - 2 * points[mine] @ points[near].T
            away[np.arange(len(mine)), np.searchsorted(near, mine)] = np.inf  # itself
            yield mine, near[np.argpartition(away, count - 1, axis=1)[:, :count]]


def _closest(points: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """Name the nearest centres of each point, nearest first: int [n, count]."""
    away = np.einsum("nd,nd->n", centres, centres) - 2 * points @ centres.T
    near = np.argpartition(away, count - 1, axis=1)[:, :count]
    return np.take_along_axis(near, np.argsort(np.take_along_axis(away, near, 1), axis=1), 1)


def _directions(features: np.ndarray) -> np.ndarray:
    """Standardise every feature and give every image length 1, so that no feature and no image outweighs the rest.

    Without it all images would be alike: features after a ReLU have a large part in common.
    """
    mean, square = np.zeros((2, features.shape[1]))
    for part in blocks(*features.shape):
        mean += features[part].sum(axis=0, dtype=np.float64)
    mean = (mean / len(features)).astype(np.float32)
    points = room(features.shape)
    for part in blocks(*features.shape):
        np.subtract(features[part], mean, out=points[part])
        square += np.einsum("nd,nd->d", points[part], points[part])
    deviation = np.sqrt(square / len(points)).astype(np.float32)
    deviation = np.where(deviation > 1e-6, deviation, np.float32(1))
    for part in blocks(*points.shape):
        of_length_one(points[part], deviation)
    return points


def of_length_one(points: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Standardise centred bottlenecks, float32 [n, dim], and give each length 1; in place, and returned."""
    points /= deviation
    np.clip(points, -_FAR, _FAR, out=points)
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, length, out=points, where=length > 1e-6)
