"""The matrix of cached bottlenecks, aligned with the rows that they belong to; its audit and principal components."""

import numpy as np
import pandas as pd

from ..images.distortions import Distortion
from .caching import Cache


def load(cache: Cache, images: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Load the matrix of all usable images that the cache knows.

    Returns:
        (features, table): float32 [n, dim] and the rows of `images` they belong to, aligned, index 0 to n - 1.
    """
    known = np.array([(digest, 0) in cache for digest in images["sha256"]], dtype=bool)
    usable = images["problem"].isna() & known
    table = images[usable].reset_index(drop=True)
    return cache.load(table["sha256"]), table


def with_variants(
    cache: Cache, features: np.ndarray, table: pd.DataFrame, distortion: Distortion, variants: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Append the variants of the training images to what `load` returned, as rows of the split `distorted`.

    `training.train` then learns from those rows, and still measures on the undistorted images.
    """
    train = table[table["split"] == "train"]
    numbers = [distortion.variant(number) for number in range(1, variants + 1)]
    known = np.array([all((d, n) in cache for n in numbers) for d in train["sha256"]], dtype=bool)
    train = train[known]
    more = [cache.load(train["sha256"], number) for number in numbers]
    extra = pd.concat([train.assign(split="distorted")] * len(numbers))
    return np.concatenate([features, *more]), pd.concat([table, extra], ignore_index=True)


def audit(cache: Cache, images: pd.DataFrame) -> pd.DataFrame:
    """Describe the cache for these images: one row a quantity, column `value`.

    Dead features are those that are the same for every image: they carry nothing.
    """
    features, table = load(cache, images)
    facts: dict[str, object] = {
        "images with a bottleneck": len(table),
        "images without": int(images["problem"].isna().sum()) - len(table),
        "bottlenecks in the cache, of this and other folders": len(cache),
        "size on disk": f"{cache.bytes / 1e6:.1f} MB",
        "damaged parts set aside": len(cache.damaged),
        "numbers a bottleneck": cache.dim,
        "values that are not finite": int((~np.isfinite(features)).sum()),
    }
    if len(table):
        lengths = np.linalg.norm(features, axis=1)
        facts |= {
            "dead features": int((features.std(axis=0) == 0).sum()),
            "length of a bottleneck, median": f"{np.median(lengths):.2f}",
            "length of a bottleneck, smallest and largest": f"{lengths.min():.2f} to {lengths.max():.2f}",
        }
    return pd.DataFrame({"value": [str(value) for value in facts.values()]}, index=pd.Index(facts, name="quantity"))


def principal_components(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, float]:
    """Project bottlenecks onto the directions in which they differ most (principal component analysis).

    A direction points to where its largest weight is positive.

    Returns:
        (points, share): float32 [n, count], and the share of the whole variance that they carry, 0 to 1.
    """
    from scipy.linalg import eigh

    centred = features - features.mean(axis=0, keepdims=True)
    scatter = centred.T @ centred
    count = min(count, len(scatter))
    # at 20,580 x 2,048, scikit-learn's PCA takes 1.5 times as long (arpack), and a second more to be imported
    variances, directions = eigh(scatter, subset_by_index=[len(scatter) - count, len(scatter) - 1])
    directions = directions[:, ::-1]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, range(count)])
    return centred @ directions, float(variances.sum() / max(np.trace(scatter), 1e-12))
