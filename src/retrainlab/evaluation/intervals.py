"""Accuracies and differences of accuracies with their 95% intervals: computed, and said for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


def wilson_interval(correct: float, n: float) -> tuple[float, float]:
    """95% interval of a proportion, `correct` of `n`; (0, 1) for n = 0.

    The score interval of Wilson (1927), doi.org/10.1080/01621459.1927.10502953: it keeps its promise for few images
    and near 0 and 1, where the usual plus or minus 1.96 standard errors does not.
    """
    if n == 0:
        return 0.0, 1.0
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(correct, n, method="wilson")
    return (0.0 if correct == 0 else float(low)), (1.0 if correct == n else float(high))  # free of rounding


def shares(correct: pd.Series, n: pd.Series) -> pd.DataFrame:
    """Lay out proportions with their 95% intervals: columns n, accuracy (NaN for n = 0), low, high."""
    ends = np.array([wilson_interval(*counts) for counts in zip(correct, n, strict=True)]).reshape(-1, 2)
    return pd.DataFrame({"n": n, "accuracy": correct / n, "low": ends[:, 0], "high": ends[:, 1]})


def share(values: Sequence[float]) -> str:
    """Say a proportion and the ends of its interval, such as 73.9% [67.4, 79.5]; what is not known, as such."""
    middle, low, high = values
    return "unknown" if np.isnan(middle) else f"{middle:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def difference_interval(correct_a: float, n_a: float, correct_b: float, n_b: float) -> tuple[float, float]:
    """95% interval of a difference of two independent proportions, a minus b; (-1, 1) if either has n = 0.

    Newcombe's hybrid score interval (1998, method 10), which combines the two Wilson intervals.
    """
    if n_a == 0 or n_b == 0:
        return -1.0, 1.0
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(correct_a, n_a, correct_b, n_b, method="newcomb")
    return float(low), float(high)


def paired_difference(correct_a: np.ndarray, correct_b: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Compare two classifiers on the same images: {"accuracy": a minus b, "interval": its 95% interval}.

    The interval is a percentile bootstrap over images (Efron & Tibshirani 1993), 4,000 draws by `seed`; images that
    both get right or wrong cancel out, so it is narrower than one of independent samples. In it there are two more
    images, one that only a gets right and one that only b does (Bonett & Price 2012, doi.org/10.3102/1076998611411915):
    without them, two classifiers that happen to agree on all of 20 images would differ by 0, with an interval of no
    width. None without images. `correct_a`, `correct_b`: bool [n], aligned.
    """
    difference = correct_a.astype(int) - correct_b.astype(int)
    if len(difference) == 0:
        return {"accuracy": None, "interval": None}
    n = len(difference) + 2
    # not scipy.stats.bootstrap: for 656 images it takes 46 ms where counting what was drawn takes 0.9
    known = [((difference == value).sum() + 1) / n for value in (1, -1)]
    draws = np.random.default_rng(seed).multinomial(n, [*known, max(0.0, 1 - sum(known))], 4000)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [0.025, 0.975])
    return {"accuracy": float(difference.mean()), "interval": [float(low), float(high)]}


def student(freedom: int) -> float:
    """97.5% point of Student's t."""
    from scipy.special import stdtrit  # what scipy.stats.t calls, without the 0.6 seconds that importing that takes

    return float(stdtrit(freedom, 0.975))


def clustered_mean(values: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Mean of differences, each from -1 to 1, whose images depend on one another: {"accuracy", "interval"}.

    Images of a group count as one in the 95% interval (cluster-robust variance, Liang & Zeger 1986,
    doi.org/10.1093/biomet/73.1.13, with Student's t), in which there are two more images, one that gained and one that
    lost: without them, few images that happen to agree would look certain (compare Bonett & Price 2012,
    doi.org/10.3102/1076998611411915). None where all are in one group, or there are none; NaN is passed over.
    """
    known = ~np.isnan(values)
    values, group = values[known], pd.factorize(np.asarray(groups)[known])[0]
    count = int(group.max(initial=-1)) + 1
    if count < 2:
        return {"accuracy": None, "interval": None}
    mean = float(values.mean())
    sums = np.concatenate([np.bincount(group, values - mean), [1 - mean, -1 - mean]])
    half = student(count - 1) * float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(values)
    return {"accuracy": mean, "interval": [max(-1.0, mean - half), min(1.0, mean + half)]}


def accuracy(correct: np.ndarray) -> dict[str, Any]:
    """Accuracy over images, bool [n] whether each is right: {"n", "accuracy", "interval"}; None without images."""
    n, hits = len(correct), int(np.sum(correct))
    known = {"accuracy": hits / n, "interval": list(wilson_interval(hits, n))} if n else {}
    return {"n": n, "accuracy": None, "interval": None} | known


def percent(figure: dict[str, Any]) -> str:
    """Say an accuracy for people: `85.2% [82.3, 87.7], n = 656`; or that the split has no images."""
    if figure["accuracy"] is None:
        return "no images"
    low, high = figure["interval"]
    return f"{figure['accuracy']:.1%} [{100 * low:.1f}, {100 * high:.1f}], n = {figure['n']:,}"


def points(gap: Mapping[str, Any]) -> str:
    """Say a difference of accuracies in percentage points: `+3.1 points [-0.2, 6.0]`; or that it is unknown."""
    if gap["accuracy"] is None or np.isnan(gap["accuracy"]):
        return "unknown, for want of images"
    low, high = gap["interval"] or (np.nan, np.nan)
    if np.isnan([low, high]).any():
        return f"{100 * gap['accuracy']:+.1f} points (interval unknown, for want of images)"
    return f"{100 * gap['accuracy']:+.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
