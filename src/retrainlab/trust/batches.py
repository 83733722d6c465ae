"""Does a new batch of images come from where the known ones came from?

The means of a batch along the principal components of bottlenecks, against those of known images, by a permutation test
(Rabanser et al. 2019, arxiv.org/abs/1810.11953, compare such tests): both are shuffled together, again and again, and
label by label, so that other shares of labels are no alarm.
"""

import numpy as np

_DRAWS = 999
LEAST = 20  # images: fewer tell little
CHANCE = 0.05


def differs(places: np.ndarray, predicted: np.ndarray, known: np.ndarray, classes: np.ndarray, seed: int = 0) -> float:
    """Find how often two batches that are one would differ as much as this one does from what is known.

    Args:
        places, predicted: float32 [n, p] and int [n], of the batch: where its images lie, and what they were taken for.
        known, classes: float32 [m, p] and int [m], the same of known images, which were not learnt from.

    Returns:
        p, above 0 up to 1: below 0.05 the batch differs. 1 where fewer than 20 images can be compared on either side:
        those with labels that images of both sides were taken for.
    """
    both = np.intersect1d(predicted, classes)
    mine, others = np.isin(predicted, both), np.isin(classes, both)
    if min(mine.sum(), others.sum()) < LEAST:
        return 1.0
    random, spread = np.random.default_rng(seed), known[others].std(axis=0)
    spread = spread + 1e-3 * max(float(spread.max()), 1e-6)  # nobody's rounding is to decide
    apart = np.zeros((1 + _DRAWS, known.shape[1]))  # of the means, first as they are, then as chance has them
    for label in both:
        count = int((predicted == label).sum())
        pool = np.concatenate([places[predicted == label], known[classes == label]]) / spread
        # which images a draw takes: those with its lowest numbers
        drawn = random.random((_DRAWS, len(pool)), np.float32).argpartition(count - 1, axis=1)[:, :count]
        chosen = np.zeros((1 + _DRAWS, len(pool)), np.float32)
        chosen[0, :count] = 1
        np.put_along_axis(chosen[1:], drawn, 1, axis=1)
        sums = chosen @ pool
        apart += (sums - count * (pool.sum(axis=0) - sums) / max(1, len(pool) - count)) / mine.sum()
    distances = (apart**2).sum(axis=1)
    return float((distances >= distances[0] * (1 - 1e-9)).sum() / len(distances))


def mixed(predicted: np.ndarray, classes: np.ndarray, seed: int = 0) -> float:
    """Find how often two batches that are one would have labels in as different a mix, by Pearson's chi-square.

    Args:
        predicted, classes: int [n] and [m], what images of both were taken for; neither is empty.

    Returns:
        p, above 0 up to 1, by permutation: so few images of a label as there may be, it holds.
    """
    _, codes = np.unique(np.concatenate([predicted, classes]), return_inverse=True)
    both, count = np.bincount(codes), len(predicted)
    mine = np.bincount(codes[:count], minlength=len(both))
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(both, count, _DRAWS, method="marginals")
    expected = both * count / len(codes)
    apart = ((np.concatenate([mine[None], drawn]) - expected) ** 2 / expected).sum(axis=1)
    return float((apart >= apart[0] * (1 - 1e-9)).sum() / len(apart))
