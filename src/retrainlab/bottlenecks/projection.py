"""The few directions in which bottlenecks differ most."""

import numpy as np

_MANY = 20  # eigenvectors for each one that is wanted, from which on Lanczos' method is quicker


def principal_components(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, float]:
    """Project bottlenecks onto the directions in which they differ most (principal component analysis).

    A direction points to where its largest weight is positive.

    Returns:
        (points, share): float32 [n, count], and the share of the whole variance that they carry, 0 to 1.
    """
    centred = features - features.mean(axis=0, keepdims=True)
    directions, variances = principal_directions(centred, count)
    largest = np.abs(directions).argmax(axis=0)
    points = centred @ (directions * np.sign(directions[largest, range(len(variances))]))
    share = variances.sum() / max(float((centred**2).sum(dtype=np.float64)), 1e-12)
    return np.pad(points, ((0, 0), (0, max(0, min(count, features.shape[1]) - len(variances))))), float(share)


def principal_directions(centred: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the directions in which rows around 0 differ most, largest first; those without differences are left out.

    Args:
        centred: float32 [n, dim].
        count: directions at most.

    Returns:
        (directions, variances): float32 [dim, found], orthonormal, and [found], times n.
    """
    wide = centred.shape[1] > len(centred)  # then products of images with images are fewer than those of features
    scatter = centred @ centred.T if wide else centred.T @ centred
    variances, vectors = _largest(scatter, min(count, len(scatter)))
    kept = variances > 1e-6 * max(float(variances.max(initial=0)), 1e-12)
    variances, vectors = variances[kept], vectors[:, kept]
    directions = centred.T @ vectors / np.sqrt(variances) if wide else vectors
    return directions.astype(np.float32)[:, ::-1], variances[::-1]


def _largest(symmetric: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the largest eigenvalues, ascending, and their vectors: few of many by Lanczos' method, which is quicker."""
    from scipy.linalg import eigh

    size = len(symmetric)
    if _MANY * count > size or not symmetric.any():  # Lanczos' method finds nothing in zeros
        return eigh(symmetric, subset_by_index=[size - count, size - 1])
    from scipy.sparse.linalg import eigsh

    values, vectors = eigsh(symmetric, count, v0=np.random.default_rng(0).standard_normal(size).astype(symmetric.dtype))
    order = np.argsort(values)
    return values[order], vectors[:, order]
