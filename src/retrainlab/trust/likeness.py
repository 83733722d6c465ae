"""What an image is like: its place among the bottlenecks that a classifier has learnt from, and its neighbours there.

Places are the principal components of standardised bottlenecks of length 1, and one number for all that lies outside of
these, so that they are few, and still tell what is unlike everything.
"""

from dataclasses import dataclass

import numpy as np

_FAR = 5.0  # deviations: a feature that hardly any image has would else decide alone what is alike
_COMPONENTS = 128
_AT_ONCE = 2**24  # distances at once: 64 MiB


@dataclass(frozen=True)
class Likeness:
    """The places of the images that were learnt from.

    Attributes:
        mean, deviation: float32 [dim], of their bottlenecks.
        directions: float32 [dim, p], their principal components.
        places: float32 [m, p + 1].
    """

    mean: np.ndarray
    deviation: np.ndarray
    directions: np.ndarray
    places: np.ndarray

    def place(self, bottlenecks: np.ndarray) -> np.ndarray:
        """Find the places of bottlenecks: float32 [n, dim] -> [n, p + 1]."""
        points = np.clip((bottlenecks - self.mean) / self.deviation, -_FAR, _FAR)
        length = np.linalg.norm(points, axis=1, keepdims=True)
        points = np.divide(points, length, out=np.zeros_like(points), where=length > 1e-6)
        inside = points @ self.directions
        outside = np.sqrt(np.maximum(0, (points**2).sum(axis=1) - (inside**2).sum(axis=1)))
        return np.concatenate([inside, outside[:, None]], axis=1).astype(np.float32)

    def nearest(self, places: np.ndarray, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest images that were learnt from: (rows, distances), int and float32 [n, count], nearest first.

        A distance is 0 for the same image, about 1.4 for one that has nothing in common, 2 at most.
        """
        count = min(count, len(self.places))
        rows = np.empty((len(places), count), np.int64)
        far = np.empty((len(places), count), np.float32)
        own, block = (self.places**2).sum(axis=1), max(1, _AT_ONCE // max(1, len(self.places)))
        for at in range(0, len(places), block):
            some = places[at : at + block]
            squares = np.maximum(0, own - 2 * some @ self.places.T + (some**2).sum(axis=1, keepdims=True))
            best = np.argpartition(squares, count - 1, axis=1)[:, :count] if count else rows[at : at + block]
            found = np.take_along_axis(squares, best, 1)
            order = np.argsort(found, axis=1, kind="stable")
            rows[at : at + block] = np.take_along_axis(best, order, 1)
            far[at : at + block] = np.sqrt(np.take_along_axis(found, order, 1))
        return rows, far


def learn(bottlenecks: np.ndarray) -> Likeness:
    """Learn from the bottlenecks of training images, float32 [m, dim], what is alike; their order stays."""
    from scipy.linalg import eigh

    mean, deviation = bottlenecks.mean(axis=0), bottlenecks.std(axis=0)
    varies = deviation > 1e-6
    deviation = np.where(varies, np.maximum(deviation, 0.2 * np.median(deviation[varies]) if varies.any() else 1), 1)
    none = np.zeros((bottlenecks.shape[1], 0), np.float32)
    bare = Likeness(mean.astype(np.float32), deviation.astype(np.float32), none, none)
    points = np.clip((bottlenecks - mean) / deviation, -_FAR, _FAR)
    length = np.linalg.norm(points, axis=1, keepdims=True)
    points = np.divide(points, length, out=np.zeros_like(points), where=length > 1e-6)
    wide = points.shape[1] > len(points)  # then the products of images with images are fewer than those of features
    scatter = points @ points.T if wide else points.T @ points
    count = min(_COMPONENTS, len(scatter))
    variances, vectors = eigh(scatter, subset_by_index=[len(scatter) - count, len(scatter) - 1])
    kept = variances > 1e-6 * max(float(variances.max(initial=0)), 1e-12)
    vectors = vectors[:, kept]
    directions = points.T @ vectors / np.sqrt(variances[kept]) if wide else vectors
    found = Likeness(bare.mean, bare.deviation, directions.astype(np.float32)[:, ::-1], none)
    return Likeness(found.mean, found.deviation, found.directions, found.place(bottlenecks))
