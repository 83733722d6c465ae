"""How a classifier does where labels are rare: figures that count every label alike, and how well it ranks images."""

from typing import Any

import numpy as np
import pandas as pd

from .scores import confusion

_DRAWS = 1000


def rank_figures(rows: pd.DataFrame, labels: list[str], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Compute what does not let a common label hide a rare one, each {"value", "interval"}, with its 95% interval.

    balanced_accuracy: the mean of the labels' recalls, 0 to 1. macro_f1: the mean of their F1, 0 to 1. matthews: the
    coefficient of Matthews for any number of labels (Gorodkin 2004, doi.org/10.1016/j.compbiolchem.2004.09.006), -1 to
    1, 0 for guessing. area_under_roc and average_precision (the area under precision-recall): the mean over labels of
    one label against the rest, 0 to 1. Labels without images are passed over.

    Both are None where it cannot be told: without images, or with images of one label only. With about five images a
    label, F1 itself comes out too low and average precision too high (by 0.03 and 0.02 for 120 labels, generated),
    which no interval repairs.

    Args:
        rows: of the predictions table: label, predicted, logits.
        labels: in class order.
    """
    counts = confusion(rows, labels).to_numpy()
    if np.count_nonzero(counts.sum(axis=1)) < 2:
        names = ("balanced_accuracy", "macro_f1", "matthews", "area_under_roc", "average_precision")
        return {name: {"value": None, "interval": None} for name in names}
    return _of_answers(counts, seed) | _of_ranks(rows, labels)


def label_curves(rows: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Say of each label how well it is found, in label order; NaN where a figure is undefined.

    Returns:
        One row a label: n, average_precision, area_under_roc, precision, recall, f1; all but n are 0 to 1.
    """
    counts = confusion(rows, labels)
    right, n, said = pd.Series(np.diag(counts), labels), counts.sum(axis=1), counts.sum(axis=0)
    areas = np.full((len(labels), 2), np.nan)
    odds, own = _odds(rows, labels), rows["label"].to_numpy()
    for place, label in enumerate(labels):
        if 0 < n.iloc[place] < len(rows):
            areas[place] = _areas(odds[:, place], own == label)[0]
    table = pd.DataFrame({"n": n, "average_precision": areas[:, 1], "area_under_roc": areas[:, 0]}, labels)
    table = table.assign(precision=right / said.where(said > 0), recall=right / n.where(n > 0))
    return table.assign(f1=2 * right / (n + said).where(n > 0)).rename_axis("label")


def operating_points(rows: pd.DataFrame, labels: list[str], label: str) -> pd.DataFrame:
    """Say what every threshold on a label's probability would come to, strictest first; the first answers nothing.

    Needs images of the label and others. Returns columns recall, false_alarm_rate, precision (1 where nothing is
    answered, for want of another), each 0 to 1.
    """
    hits, everything = _levels(_odds(rows, labels)[:, labels.index(label)], (rows["label"] == label).to_numpy())[1:]
    found, seen = np.append(0, hits.cumsum()), np.append(0, everything.cumsum())
    precision = np.divide(found, seen, out=np.ones(len(seen)), where=seen > 0)
    alarms = (seen - found) / (seen - found)[-1]
    return pd.DataFrame({"recall": found / found[-1], "false_alarm_rate": alarms, "precision": precision})


def rank_differences(rows: pd.DataFrame, against: pd.DataFrame, labels: list[str]) -> dict[str, dict[str, Any]]:
    """Compare two classifiers on the same images by balanced_accuracy and average_precision: `rows` minus `against`.

    What both do alike with an image cancels out of the intervals (differences of the infinitesimal jackknife, see
    `_of_ranks`), so they are narrower than for different images. In them there are two more images, one that only the
    first gets right and one that only the other does (Bonett & Price 2012, doi.org/10.3102/1076998611411915), spread
    evenly over labels; and half an image more that both rank by guessing.

    Args:
        rows, against: of two predictions tables, the same images in the same order, of two labels at least.
        labels: in class order.

    Returns:
        {"accuracy" (the difference), "interval" (95%), "p" (two-sided, of no difference)} each.
    """
    own = rows["label"].to_numpy()
    change = (rows["predicted"].to_numpy() == own) * 1.0 - (against["predicted"].to_numpy() == own)
    by_label = pd.Series(change).groupby(own).agg(["sum", "size", lambda each: (each**2).sum()]).to_numpy(float).T
    (total, n, squares), count = by_label, by_label.shape[1]
    more = n + 2 / count
    variance = ((squares + 2 / count) / more - (total / more) ** 2) / more
    (areas, moved), (others, also) = _influences(rows, labels), _influences(against, labels)
    apart, away = (areas - others)[:, 1], (moved - also)[1]
    between = ((apart - apart.mean()) ** 2 / n).sum() / count**2
    images = (count - 1) ** 2 / (1 / n).sum()
    least = (apart.mean() ** 2 + 1 / 6) / (2 * images * (images + 1))
    return {
        "balanced_accuracy": _difference(float((total / n).mean()), float(np.sqrt(variance.sum()) / count)),
        "average_precision": _difference(float(apart.mean()), float(np.sqrt(max((away**2).sum() + between, least)))),
    }


def _difference(value: float, error: float) -> dict[str, Any]:
    """Say a difference with this standard error."""
    from scipy.special import ndtr

    ends = [max(-1.0, value - 1.96 * error), min(1.0, value + 1.96 * error)]
    return {"accuracy": value, "interval": ends, "p": float(2 * ndtr(-abs(value) / error))}


def _of_answers(counts: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
    """Figures of a confusion matrix, int [labels, labels], with intervals of a percentile bootstrap.

    Images are drawn as a multinomial. Each label with images has half an image more that is right and half a one that
    is wrong (the prior of Jeffreys; Brown, Cai & DasGupta 2001, doi.org/10.1214/ss/1009213286): without them, ten
    images of a rare label that are all right would be certain to stay so. With many labels of few images that pulls
    the mean of the draws away from the figure, so the interval holds the draws both as they are and moved back to it.
    """
    present = counts.sum(axis=1) > 0
    own, other = np.nonzero(counts - np.diag(np.diag(counts)))
    weights = np.concatenate([np.diag(counts) + 0.5 * present, counts[own, other], 0.5 * present])
    draws = np.random.default_rng(seed).multinomial(counts.sum(), weights / weights.sum(), _DRAWS)
    right, wrong, more = np.split(draws, [len(counts), len(counts) + len(own)], axis=1)
    missed = wrong @ np.eye(len(counts))[own] + more
    # which label the wrong half image is taken for is anybody's guess, so it is spread over all others
    alarms = wrong @ np.eye(len(counts))[other] + (more.sum(axis=1, keepdims=True) - more) / (len(counts) - 1)
    drawn = _answer_figures(right[:, present], (right + missed)[:, present], right + alarms, present)
    whole = np.diag(counts)[None]
    exact = _answer_figures(whole[:, present], counts.sum(axis=1)[None, present], counts.sum(axis=0)[None], present)
    found = {}
    for name, values in drawn.items():
        value, ends = float(exact[name][0]), np.nanquantile(values, [0.025, 0.975])
        moved = ends + value - np.nanmean(values)
        low, high = min(ends[0], moved[0], value), max(ends[1], moved[1], value)
        found[name] = {
            "value": value,
            "interval": [max(float(low), -1.0 * (name == "matthews")), min(float(high), 1.0)],
        }
    return found


def _answer_figures(right: np.ndarray, n: np.ndarray, said: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
    """Balanced accuracy, macro F1 and Matthews' coefficient of many draws, each [draws].

    `right` and `n`: [draws, labels with images]. `said`: how often each label was answered, [draws, labels].
    """
    known = n > 0
    labels = known.sum(axis=1)
    recall = np.divide(right, n, out=np.zeros(n.shape), where=known)
    f1 = np.divide(2 * right, n + said[:, present], out=np.zeros(n.shape), where=known)
    total = n.sum(axis=1)
    agreed = right.sum(axis=1) * total - (n * said[:, present]).sum(axis=1)
    spread = (total**2 - (n**2).sum(axis=1)) * (total**2 - (said**2).sum(axis=1))
    # 0 by convention where one label only is answered: that is guessing
    matthews = np.divide(agreed, np.sqrt(np.maximum(spread, 0)), out=np.zeros(len(n)), where=spread > 0)
    return {"balanced_accuracy": recall.sum(axis=1) / labels, "macro_f1": f1.sum(axis=1) / labels, "matthews": matthews}


def _of_ranks(rows: pd.DataFrame, labels: list[str]) -> dict[str, dict[str, Any]]:
    """Mean areas under ROC and precision-recall, with intervals in closed form.

    The variance is that of the infinitesimal jackknife (Efron 1981, doi.org/10.1093/biomet/68.3.589), in which the
    same image counts in the curves of all labels; for ROC and two labels it is that of DeLong et al. 1988,
    doi.org/10.2307/2531595. One image of a label does not show how much another one would differ; how labels differ
    from one another stands in for it. Few images that happen to be ranked well would look certain, so the variance is
    at least that of half an image more that is ranked by guessing. The interval is symmetric in log odds (Boyd et al.
    2013, doi.org/10.1007/978-3-642-40994-3_29).
    """
    areas, moved = _influences(rows, labels)
    per_image = 1 / rows["label"].value_counts().reindex(labels).dropna().to_numpy()[:, None]
    value, count = areas.mean(axis=0), len(areas)
    between = ((areas - value) ** 2 * per_image).sum(axis=0) / count**2
    # of k labels, k - 1 have a curve of their own: what is ranked high by one is ranked low by the rest
    images = (count - 1) ** 2 / per_image.sum()
    least = ((value - 0.5) ** 2 + 1 / 12) / (2 * images * (images + 1))
    errors = np.sqrt(np.maximum((moved**2).sum(axis=1) + between, least))
    names = ("area_under_roc", "average_precision")
    return {name: _in_log_odds(*pair) for name, *pair in zip(names, value, errors, strict=True)}


def _influences(rows: pd.DataFrame, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Areas of each label with images, [labels with images, 2], and what each image does to their mean, [2, n]."""
    odds, own = _odds(rows, labels), rows["label"].to_numpy()
    kinds = {place: own == label for place, label in enumerate(labels)}
    found = [_areas(odds[:, place], positive) for place, positive in kinds.items() if positive.any()]
    return np.array([area for area, _ in found]), np.mean([shift for _, shift in found], axis=0)


def _in_log_odds(value: float, error: float) -> dict[str, Any]:
    """95% interval of a share with this standard error; nearer than that to 0 or 1, it reaches that end."""
    from scipy.special import expit, logit

    error = min(error, 0.5)
    centre = np.clip(value, error, 1 - error)
    low, high = expit(logit(centre) + np.array([-1.96, 1.96]) * error / (centre * (1 - centre)))
    return {
        "value": float(value),
        "interval": [float(low * (value > error)), 1.0 if value > 1 - error else float(high)],
    }


def _areas(odds: np.ndarray, positive: np.ndarray) -> tuple[tuple[float, float], np.ndarray]:
    """Areas under ROC and precision-recall of one label, and what each image's weight does to them: float [2, n].

    The squares of the latter sum to the variance. Ties count half under ROC and together under precision-recall, as
    scikit-learn has it. `odds`: float [n]. `positive`: bool [n], with images of both kinds.
    """
    # not scikit-learn's functions: they do not say what an image contributes
    level, hits, everything = _levels(odds, positive)
    found, seen = hits.cumsum(), everything.cumsum()
    n, rest = found[-1], seen[-1] - found[-1]
    lower = rest - (seen - found) + (everything - hits) / 2  # images of the rest that are ranked lower
    placed = np.where(positive, lower[level] / rest, (found - hits / 2)[level] / n)
    roc = placed[positive].mean()
    by_image = (placed - roc) / np.where(positive, n, rest)
    precision = found / seen
    average = (hits * precision).sum() / n
    # an image adds to what was seen at its level and at all lower ones, and to what was found if it is positive
    taken = (hits * found / seen**2)[::-1].cumsum()[::-1][level]
    given = precision[level] + (hits / seen)[::-1].cumsum()[::-1][level] - average
    return (float(roc), float(average)), np.stack([by_image, (positive * given - taken) / n])


def _levels(odds: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank images, ties together: the level of each, int [n], highest first; positives and images of each level."""
    level = np.unique(-odds, return_inverse=True)[1]
    return level, np.bincount(level, positive), np.bincount(level)


def _odds(rows: pd.DataFrame, labels: list[str]) -> np.ndarray:
    """Log odds of every label against the rest, [n, labels]: they rank images as probabilities do, which tie at 1."""
    from scipy.special import log_softmax, logsumexp

    if rows.empty:
        return np.zeros((0, len(labels)))
    logits = np.stack(list(rows["logits"])).astype(np.float64)
    logarithms = log_softmax(logits, axis=1)
    each, top = np.arange(len(logits)), logits.argmax(axis=1)
    largest = logits[each, top]
    logits[each, top] = -np.inf
    logarithms[each, top] = -np.inf  # its odds follow, from logits: 1 - p may be 0
    odds = logarithms - np.log1p(-np.exp(logarithms))
    odds[each, top] = largest - logsumexp(logits, axis=1)
    return odds
