"""The most similar other images of each image, by the cosine similarity of standardised bottlenecks."""

import numpy as np

_FAR = 5.0  # deviations: a feature that hardly any image has would else decide alone what is alike
_EXACT = 4096  # up to so many images, neighbours are sought among all dimensions; beyond, among the principal ones
_PRINCIPAL = 128
_CANDIDATES = 2  # times as many as are wanted, because the principal dimensions order them only roughly
_BLOCK = 2**24  # numbers of one block of differences: 64 MiB


def nearest(features: np.ndarray, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Find the `count` most similar other images of each image; n - 1 where there are fewer.

    Beyond 4,096 images, candidates are sought among 128 principal components, and their distances computed from all
    features: of 20,580 images with 2,048 features, that takes 9 seconds instead of 32.

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
    near, _ = _search(principal.transform(points), min(count * _CANDIDATES, n - 1))
    away = np.empty(near.shape, np.float32)
    for rows in np.array_split(np.arange(n), -(-near.size * points.shape[1] // _BLOCK)):
        away[rows] = np.linalg.norm(points[near[rows]] - points[rows][:, None], axis=2)
    order = np.argsort(away, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(near, order, 1), np.take_along_axis(away, order, 1)


def _search(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points).kneighbors()
    return index, distance.astype(np.float32)


def _directions(features: np.ndarray) -> np.ndarray:
    """Standardise every feature and give every image length 1, so that no feature and no image outweighs the rest.

    Without it all images would be alike: features after a ReLU have a large part in common.
    """
    points = (features - features.mean(axis=0)).astype(np.float32, copy=False)
    deviation = np.sqrt(np.einsum("nd,nd->d", points, points) / len(points))  # without a temporary of that size
    return of_length_one(points, np.where(deviation > 1e-6, deviation, 1))


def of_length_one(points: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Standardise centred bottlenecks, float32 [n, dim], and give each length 1; in place, and returned."""
    points /= deviation
    np.clip(points, -_FAR, _FAR, out=points)
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, length, out=points, where=length > 1e-6)
