"""What an image is like: its place among the bottlenecks that a classifier has learnt from, and its neighbours there.

Places are the principal components of standardised bottlenecks of length 1, and one number for all that lies outside of
these, so that they are few, and still tell what is unlike everything.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..analysis.neighbours import of_length_one
from ..bottlenecks.projection import principal_directions

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
        points = of_length_one(bottlenecks - self.mean, self.deviation)
        inside = points @ self.directions
        outside = np.sqrt(np.maximum(0, (points**2).sum(axis=1) - (inside**2).sum(axis=1)))
        return np.concatenate([inside, outside[:, None]], axis=1).astype(np.float32)

    def nearest(self, places: np.ndarray, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest images that were learnt from; see the function `nearest`."""
        return nearest(places, self.places, count)


def nearest(places: np.ndarray, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest known places: (rows, distances), int and float32 [n, count], nearest first.

    A distance is 0 for the same image, about 1.4 for one that has nothing in common, 2 at most.
    """
    count = min(count, len(known))
    rows = np.empty((len(places), count), np.int64)
    far = np.empty((len(places), count), np.float32)
    own, block = np.einsum("np,np->n", known, known), max(1, _AT_ONCE // max(1, len(known)))
    for at in range(0, len(places), block):
        some = places[at : at + block]
        squares = np.maximum(0, own - 2 * some @ known.T + (some**2).sum(axis=1, keepdims=True))
        best = np.argpartition(squares, count - 1, axis=1)[:, :count] if count else rows[at : at + block]
        found = np.take_along_axis(squares, best, 1)
        order = np.argsort(found, axis=1, kind="stable")
        rows[at : at + block] = np.take_along_axis(best, order, 1)
        far[at : at + block] = np.sqrt(np.take_along_axis(found, order, 1))
    return rows, far


def learn(bottlenecks: np.ndarray) -> Likeness:
    """Learn from the bottlenecks of training images, float32 [m, dim], what is alike; their order stays."""
    mean, deviation = bottlenecks.mean(axis=0), bottlenecks.std(axis=0)
    varies = deviation > 1e-6
    deviation = np.where(varies, np.maximum(deviation, 0.2 * np.median(deviation[varies]) if varies.any() else 1), 1)
    mean, deviation = mean.astype(np.float32), deviation.astype(np.float32)
    points = of_length_one(bottlenecks - mean, deviation)
    directions, _ = principal_directions(points, _COMPONENTS)
    nobody = np.zeros((0, directions.shape[1] + 1), np.float32)
    found = Likeness(mean, deviation, directions, nobody)
    return replace(found, places=found.place(bottlenecks))
