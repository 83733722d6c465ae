"""Accuracy with its interval, per label, confusion, calibration: pure functions on arrays and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

SPLITS = ("train", "validation", "test")

_Z = 1.959963984540054  # the normal distribution's 97.5% point: intervals hold 95%
_COLDEST = 0.05  # bound of the temperature; one over it is the other one
_PRIOR = 0.5  # standard deviation of log temperature that is expected before any image is seen; see `temperature`


def wilson_interval(correct: float, n: int) -> tuple[float, float]:
    """95% interval of a proportion, `correct` of `n`; (0, 1) for n = 0.

    The score interval of Wilson (1927), doi.org/10.1080/01621459.1927.10502953: it keeps its promise for few images
    and near 0 and 1, where the usual plus or minus 1.96 standard errors does not.
    """
    if n == 0:
        return 0.0, 1.0
    p = correct / n
    centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return (0.0 if correct == 0 else float(centre - half)), (1.0 if correct == n else float(centre + half))


def difference_interval(correct_a: float, n_a: int, correct_b: float, n_b: int) -> tuple[float, float]:
    """95% interval of a difference of two independent proportions, a minus b; (-1, 1) if either has n = 0.

    Newcombe's hybrid score interval (1998, method 10), which combines the two Wilson intervals.
    """
    if n_a == 0 or n_b == 0:
        return -1.0, 1.0
    (low_a, high_a), (low_b, high_b) = wilson_interval(correct_a, n_a), wilson_interval(correct_b, n_b)
    a, b = correct_a / n_a, correct_b / n_b
    low = a - b - np.hypot(a - low_a, high_b - b)
    high = a - b + np.hypot(high_a - a, b - low_b)
    return float(low), float(high)


def paired_difference(correct_a: np.ndarray, correct_b: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Compare two classifiers on the same images: {"accuracy": a minus b, "interval": its 95% interval}.

    The interval is a percentile bootstrap over images (Efron & Tibshirani 1993), 4,000 draws by `seed`; images that
    both get right or wrong cancel out, so it is narrower than one of independent samples. In it there are two more
    images, one that only a gets right and one that only b does (Bonett & Price 2012, doi.org/10.3102/1076998611411915):
    without them, two classifiers that happen to agree on all of 20 images would differ by 0, with an interval of no
    width. None without images.

    Args:
        correct_a, correct_b: bool [n], aligned.
    """
    difference = correct_a.astype(int) - correct_b.astype(int)
    if len(difference) == 0:
        return {"accuracy": None, "interval": None}
    n = len(difference) + 2
    shares = [((difference == value).sum() + 1) / n for value in (1, -1)]
    draws = np.random.default_rng(seed).multinomial(n, [*shares, max(0.0, 1 - sum(shares))], 4000)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [0.025, 0.975])
    return {"accuracy": float(difference.mean()), "interval": [float(low), float(high)]}


def student(freedom: int) -> float:
    """97.5% point of Student's t; Cornish & Fisher's expansion (Abramowitz & Stegun 26.7.5), 0.2% off at most."""
    if freedom < 3:
        return (12.706, 4.303)[freedom - 1]
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def clustered_mean(values: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Mean of differences, each from -1 to 1, whose images depend on one another: {"accuracy", "interval"}.

    Images of a group count as one in the 95% interval (cluster-robust variance, Liang & Zeger 1986,
    doi.org/10.1093/biomet/73.1.13, with Student's t), in which there are two more images, one that gained and one that
    lost: without them, few images that happen to agree would look certain (compare Bonett & Price 2012,
    doi.org/10.3102/1076998611411915). None where all are in one group, or there are none.

    Args:
        values: float [n]; NaN is passed over.
        groups: [n].
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


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits [n, labels] into probabilities, float64 [n, labels]."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=-1, keepdims=True)


def cross_entropies(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Negative log probability, in nats, of each image's own label: float64 [n].

    Args:
        logits: [n, labels].
        classes: int [n], the index of each image's label.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.log(np.exp(shifted).sum(axis=-1)) - shifted[np.arange(len(classes)), classes]


def predictions(table: pd.DataFrame, logits: np.ndarray, labels: list[str]) -> pd.DataFrame:
    """Make the predictions table: path, label, split, predicted, probability, logits (float32, in label order).

    Args:
        table: at least path, label, split; one row an image.
        logits: float32 [n, labels].
        labels: the labels in class order.
    """
    winner = logits.argmax(axis=1)
    return pd.DataFrame(
        {
            "path": table["path"].to_numpy(),
            "label": table["label"].to_numpy(),
            "split": table["split"].to_numpy(),
            "predicted": np.array(labels, dtype=object)[winner],
            "probability": softmax(logits)[np.arange(len(winner)), winner],
            "logits": list(logits.astype(np.float32)),
        }
    )


def accuracy(correct: np.ndarray) -> dict[str, Any]:
    """Accuracy over images, bool [n] whether each is right: {"n", "accuracy", "interval"}; None without images."""
    n, hits = len(correct), int(np.sum(correct))
    known = {"accuracy": hits / n, "interval": list(wilson_interval(hits, n))} if n else {}
    return {"n": n, "accuracy": None, "interval": None} | known


def summarise(predicted: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """Compute what metrics.json says of the three splits and the gap, from the predictions table and nothing else.

    Every figure is plain accuracy, or mean cross-entropy in nats, over the whole split, so they can be compared.

    Returns:
        {"train": {n, accuracy, interval, cross_entropy}, "validation": ..., "test": ..., "gap": {accuracy,
        interval}}. The gap is train minus validation accuracy. A split without images has None for its figures.
    """
    figures: dict[str, Any] = {}
    correct = {}
    for name in SPLITS:
        rows = predicted[predicted["split"] == name]
        right = (rows["label"] == rows["predicted"]).to_numpy(bool)
        correct[name] = int(right.sum()), len(right)
        classes = pd.Index(labels).get_indexer(rows["label"])
        losses = cross_entropies(np.stack(list(rows["logits"])), classes) if len(rows) else None
        figures[name] = accuracy(right) | {"cross_entropy": None if losses is None else float(losses.mean())}
    known = correct["train"][1] and correct["validation"][1]
    figures["gap"] = {
        "accuracy": figures["train"]["accuracy"] - figures["validation"]["accuracy"] if known else None,
        "interval": list(difference_interval(*correct["train"], *correct["validation"])) if known else None,
    }
    return figures


def accuracy_table(figures: dict[str, Any]) -> pd.DataFrame:
    """Lay out what `summarise` returned: one row a split, columns n, accuracy, low, high, cross_entropy."""
    rows = {}
    for name in SPLITS:
        figure = figures[name]
        low, high = figure["interval"] or (None, None)
        rows[name] = {"n": figure["n"], "accuracy": figure["accuracy"], "low": low, "high": high,
                      "cross_entropy": figure["cross_entropy"]}  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index").astype(float).astype({"n": int})
    return table.rename_axis("split")


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


def correct(logits: np.ndarray, label: pd.Series, labels: list[str]) -> np.ndarray:
    """Say of each image whether its own label has the largest logit: bool [n]."""
    return np.array(labels, dtype=object)[logits.argmax(axis=1)] == label.to_numpy()


def per_label(predicted: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Accuracy of each label (its recall) with its 95% interval: columns n, accuracy, low, high; label order."""
    rows = []
    for label in labels:
        mine = predicted[predicted["label"] == label]
        hits = int((mine["predicted"] == label).sum())
        low, high = wilson_interval(hits, len(mine))
        rows.append((len(mine), hits / len(mine) if len(mine) else np.nan, low, high))
    return pd.DataFrame(rows, index=pd.Index(labels, name="label"), columns=["n", "accuracy", "low", "high"])


def baseline(predicted: pd.DataFrame, labels: list[str]) -> str:
    """Say in two sentences what accuracy hides: what guessing would give, and which label is got wrong most often."""
    counts = predicted["label"].value_counts()
    table = per_label(predicted, labels)
    weakest = table["accuracy"].idxmin()
    n, accuracy, low, high = table.loc[weakest]
    return (
        f"Always answering '{counts.index[0]}' would be right for {counts.iloc[0] / counts.sum():.1%} of these images. "
        f"Weakest label: '{weakest}', {round(n * accuracy)} of {int(n)} right, {accuracy:.1%} "
        f"[{100 * low:.1f}, {100 * high:.1f}]."
    )


def confusion(predicted: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Count images by label (rows) and predicted label (columns), both in label order."""
    counts = pd.crosstab(predicted["label"], predicted["predicted"])
    return counts.reindex(index=labels, columns=labels, fill_value=0)


def top_k_accuracy(predicted: pd.DataFrame, labels: list[str], k: int = 5) -> float:
    """Share of images whose own label is among the k most probable ones; NaN without images."""
    if predicted.empty:
        return float("nan")
    logits = np.stack(list(predicted["logits"]))
    classes = pd.Index(labels).get_indexer(predicted["label"])
    own = logits[np.arange(len(classes)), classes][:, None]
    return float(((logits > own).sum(axis=1) < k).mean())


def reliability(predicted: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Compare stated probability with accuracy, in `bins` bins of equal width that hold images.

    Returns:
        One row a bin: n, probability (mean), accuracy, low, high (its 95% interval).
    """
    number = np.minimum((predicted["probability"] * bins).astype(int), bins - 1)
    rows = []
    for _, mine in predicted.groupby(number):
        hits = int((mine["label"] == mine["predicted"]).sum())
        rows.append((len(mine), mine["probability"].mean(), hits / len(mine), *wilson_interval(hits, len(mine))))
    return pd.DataFrame(rows, columns=["n", "probability", "accuracy", "low", "high"])


def expected_calibration_error(predicted: pd.DataFrame, bins: int = 10) -> float:
    """Mean distance between stated probability and accuracy, 0 to 1 (Naeini et al. 2015; Guo et al. 2017)."""
    table = reliability(predicted, bins)
    return float(np.average((table["probability"] - table["accuracy"]).abs(), weights=table["n"]))


def temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Find the number that logits are to be divided by so that their probabilities fit best, from 0.05 to 20.

    Temperature scaling (Guo et al. 2017, arxiv.org/abs/1706.04599), held near 1 where images are few: T minimises the
    summed cross-entropy of logits / T, plus log(T)^2 / (2 x 0.5^2). That is the most probable T if log T is taken to be
    normal with mean 0 and deviation 0.5 (95% between 0.4 and 2.7) before any image is seen. Without it, ten images that
    are all right are taken to show that the classifier is never wrong. On generated logits of two labels that were best
    as they are (T = 1), scaling by ten images turned the cross-entropy of new ones from 0.39 into 0.86 without the
    prior, and into 0.39 with it. Of deviations from 0.25 to 1, 0.5 cost least over true T from 0.25 to 4, and 0.35 and
    0.5 did on heads trained on 30 to 1,600 solar cells. A few hundred images outweigh it.

    Answers and accuracy stay the same. Above 1, the classifier was too sure of itself; below, not sure enough. 1
    without images, or where logits say nothing.

    Args:
        logits: [n, labels], of images that neither trained the head nor test it: validation.
        classes: int [n], the index of each image's label.
    """
    if len(logits) == 0:
        return 1.0
    logits = logits.astype(np.float64)
    own = logits[np.arange(len(classes)), classes]

    def cost(log_scale: float) -> float:
        return float(cross_entropies(logits * np.exp(log_scale), classes).sum() + log_scale**2 / (2 * _PRIOR**2))

    def slope(log_scale: float) -> float:
        scale = np.exp(log_scale)
        expected = (softmax(logits * scale) * logits).sum(axis=1)
        return float(scale * (expected - own).sum() + log_scale / _PRIOR**2)

    # by the logarithm of the scale, 1 / T, there may be more than one valley: look at all, then halve the lowest one
    looks = np.linspace(np.log(_COLDEST), -np.log(_COLDEST), 25)
    lowest = int(np.argmin([cost(look) for look in looks]))
    low, high = looks[max(lowest - 1, 0)], looks[min(lowest + 1, len(looks) - 1)]
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def memorised(train_hits: np.ndarray, hits: np.ndarray, labels: Sequence[str] | np.ndarray) -> pd.DataFrame:
    """Count, label by label, the images that are right in training and wrong out of fold: remembered, not understood.

    An image counts if heads that trained on it mostly get it right, and heads that did not mostly get it wrong (after
    Feldman & Zhang 2020, arxiv.org/abs/2008.03703).

    Args:
        train_hits: float [n], the share of re-splits with the image in training that got it right; NaN for none.
        hits: float [n], the same of those with the image out of training.
        labels: [n].

    Returns:
        One row a label: n (images known both ways), memorised (their share), low, high (its 95% interval); worst first,
        by `low`, so that a label of one image does not lead. Labels without such images have NaN and come last.
    """
    known = ~(np.isnan(train_hits) | np.isnan(hits))
    table = pd.DataFrame({"label": labels, "known": known, "both": known & (train_hits > 0.5) & (hits < 0.5)})
    counts = table.groupby("label")[["known", "both"]].sum().astype(int)
    rows = [
        (n, number / n if n else np.nan, *wilson_interval(number, n))
        for n, number in counts.itertuples(index=False, name=None)
    ]
    found = pd.DataFrame(rows, index=counts.index, columns=["n", "memorised", "low", "high"])
    return found.sort_values(["low", "memorised"], ascending=False, kind="stable", na_position="last")
