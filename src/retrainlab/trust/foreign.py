"""Is an image unlike everything that was learnt from? Scores from distances, one of them chosen by leaving labels out.

No single detector wins everywhere (Yang et al. 2022, OpenOOD, arxiv.org/abs/2210.07242). So each is tried where the
truth is known: on the images of a label that it knows nothing of.
"""

from collections.abc import Callable, Mapping

import numpy as np

from .likeness import nearest

_NEIGHBOURS = 5
_SHRINKING = 0.1  # of the covariance towards a sphere: few images do not tell all directions apart
_LEFT_OUT = 60  # labels at most, drawn at random: each costs a fit of every detector
FALSE_ALARMS = 0.05
Score = Callable[[np.ndarray], np.ndarray]  # places, float32 [n, p] -> how unlike what was learnt from they are, [n]


def neighbours(known: np.ndarray, classes: np.ndarray) -> Score:
    """Distance to the fifth nearest image that was learnt from (Sun et al. 2022, arxiv.org/abs/2204.06507)."""
    return lambda places: nearest(places, known, _NEIGHBOURS)[1][:, -1]


def labels(known: np.ndarray, classes: np.ndarray) -> Score:
    """Distance to the nearest label's mean, in deviations (Lee et al. 2018, arxiv.org/abs/1807.03888)."""
    means, whitening = _label_means(known, classes)
    centres = means @ whitening
    return lambda places: _to_nearest(places @ whitening, centres)


def labels_rather_than_all(known: np.ndarray, classes: np.ndarray) -> Score:
    """The same, less the distance to the mean of all (Ren et al. 2021, arxiv.org/abs/2106.09022)."""
    mine, whole = labels(known, classes), labels(known, np.zeros(len(known), np.int64))
    return lambda places: mine(places) - whole(places)


# what was learnt from, float32 [m, p] and int [m] -> a score, which is fitted once and asked for every image
DETECTORS: dict[str, Callable[[np.ndarray, np.ndarray], Score]] = {
    "distance to the fifth nearest training image": neighbours,
    "distance to the nearest label's mean": labels,
    "distance to the nearest label's mean, less that to the mean of all": labels_rather_than_all,
}


def leave_labels_out(places: np.ndarray, classes: np.ndarray, held: np.ndarray) -> Mapping[str, list[float]]:
    """Try every detector on labels that it knows nothing of.

    Args:
        places: float32 [n, p], of training and held-out images.
        classes: int [n].
        held: bool [n], the images that judge; the others are learnt from.

    Returns:
        By detector, for each label that has held-out images, or 60 of them: the area under the ROC curve, 0 to 1, of
        telling its held-out images from those of the other labels, where those alone were learnt from.
    """
    found: dict[str, list[float]] = {name: [] for name in DETECTORS}
    for left in np.random.default_rng(0).permutation(np.unique(classes[held]))[:_LEFT_OUT]:
        known = ~held & (classes != left)
        strange, usual = held & (classes == left), held & (classes != left)
        if known.any() and usual.any():
            for name, detector in DETECTORS.items():
                score = detector(places[known], classes[known])
                found[name].append(area(score(places[strange]), score(places[usual])))
    return found


def choose(tried: Mapping[str, list[float]]) -> str:
    """Choose the detector with the largest mean area; where nothing could be tried, the first."""
    return max(tried, key=lambda name: float(np.mean(tried[name])) if tried[name] else 0.0)


def area(strange: np.ndarray, usual: np.ndarray) -> float:
    """Area under the ROC curve: how often a strange image has the higher score, ties as one half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([strange, usual]))[: len(strange)].sum()
    return float((ranks - len(strange) * (len(strange) + 1) / 2) / (len(strange) * len(usual)))


def threshold(scores: np.ndarray) -> float:
    """The score that 5% of held-out images exceed; infinite below 20 images, which cannot tell that."""
    allowed = int(FALSE_ALARMS * (len(scores) + 1) + 1e-9)
    return float(np.sort(scores)[len(scores) - allowed]) if allowed else float("inf")


def _label_means(known: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of the labels [labels, p], and what turns differences into deviations within labels [p, p]."""
    _, mine = np.unique(classes, return_inverse=True)
    counts = np.bincount(mine)
    means = np.zeros((len(counts), known.shape[1]), np.float64)
    np.add.at(means, mine, known)
    means /= counts[:, None]
    apart = known - means[mine]
    covariance = apart.T @ apart / max(1, len(known) - len(counts))
    sphere = np.trace(covariance) / len(covariance)
    covariance = (1 - _SHRINKING) * covariance + (_SHRINKING * sphere + 1e-9) * np.eye(len(covariance))
    return means, np.linalg.cholesky(np.linalg.inv(covariance))


def _to_nearest(places: np.ndarray, means: np.ndarray) -> np.ndarray:
    squares = (places**2).sum(axis=1, keepdims=True) - 2 * places @ means.T + (means**2).sum(axis=1)
    return np.sqrt(np.maximum(0, squares.min(axis=1)))
