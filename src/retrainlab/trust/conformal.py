"""Sets of labels that hold the right one in a stated share of cases: split conformal prediction.

A label belongs to the set of an image where its probability is at least as high as that which all but a tenth of the
held-out images of that label get for it (Sadinle, Lei & Wasserman 2019, doi.org/10.1080/01621459.2017.1395341; with a
threshold a label, after Vovk 2012, arxiv.org/abs/1209.2673). No assumption is made but that new images come from where
the held-out ones came from.
"""

from collections.abc import Sequence

import numpy as np

COVERAGE = 0.9
_ENOUGH = 30  # held-out images of a label for a threshold of its own; with fewer it shares that of all


def thresholds(probabilities: np.ndarray, classes: np.ndarray, coverage: float = COVERAGE) -> np.ndarray:
    """Find the least probability with which each label belongs to a set.

    Args:
        probabilities: float [n, labels], of held-out images, which took no part in training.
        classes: int [n], their own labels.
        coverage: the share of images whose set is to hold the right label, above 0 and below 1.

    Returns:
        float [labels], 0 to 1; 0, which lets every label in, where there are too few images to promise anything.
    """
    own = probabilities[np.arange(len(classes)), classes]
    shared = _least(own, coverage)
    found = np.full(probabilities.shape[1], shared)
    for label in range(len(found)):
        if (mine := classes == label).sum() >= _ENOUGH:
            found[label] = _least(own[mine], coverage)
    return found


def _least(own: np.ndarray, coverage: float) -> float:
    """The probability that all but the right share of images reach; n + 1 in the place of n makes it exact."""
    allowed = int((1 - coverage) * (len(own) + 1) + 1e-9)  # so many of n + 1 may stay below
    return float(np.sort(own)[allowed - 1]) if allowed else 0.0


def sets(probabilities: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Tell which labels belong to the set of each image, bool [n, labels]; the most probable one always does.

    With that, sets of a classifier that is right more often than `coverage` hold the right label more often, too.
    """
    found = probabilities >= least
    found[np.arange(len(found)), probabilities.argmax(axis=1)] = True
    return found


def say(labels: Sequence[str], chances: np.ndarray, held: np.ndarray) -> str:
    """Say a set for people: "heron", "heron or egret", or "unsure" for more than three labels, or for all of them.

    chances: float [labels]; held: bool [labels], of `sets`.
    """
    names = [labels[place] for place in np.argsort(-chances, kind="stable") if held[place]]
    if len(names) > 3 or (len(names) == len(labels) and len(labels) > 1):
        return "unsure"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
