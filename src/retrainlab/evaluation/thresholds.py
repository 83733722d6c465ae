"""From which probability on one of two labels is answered: chosen on validation images, judged on test images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RetrainLabError
from .calibration import softmax
from .finding import Finding, finding
from .intervals import accuracy, clustered_mean, percent, wilson_interval

_IMAGES, _OF_A_KIND = 50, 10  # below, chance chooses the threshold


@dataclass(frozen=True)
class Threshold:
    """Answer `positive_label` where its probability is at least `threshold`, 0 to 1; else the other label.

    Of what it was chosen by, the other is 0.
    """

    positive_label: str
    threshold: float
    cost_of_a_miss: float = 0.0  # in false alarms, which cost 1 each
    wanted_recall: float = 0.0

    def answer(self, labels: Sequence[str], chances: np.ndarray) -> str:
        """Answer one of two labels, by their probabilities, float [2]."""
        positive = list(labels).index(self.positive_label)
        return labels[positive if chances[positive] >= self.threshold else 1 - positive]


def of_label(rows: pd.DataFrame, labels: list[str], label: str) -> tuple[np.ndarray, np.ndarray]:
    """Take a label's probability, float64 [n], and which images are of it, bool [n], from a predictions table."""
    logits = np.stack(list(rows["logits"])) if len(rows) else np.zeros((0, len(labels)))
    return softmax(logits)[:, labels.index(label)], (rows["label"] == label).to_numpy(bool)


def cheapest(probability: np.ndarray, positive: np.ndarray, cost_of_a_miss: float) -> float:
    """Find the threshold with the least misses * cost_of_a_miss + false alarms; of equal ones, the widest's middle.

    Args:
        probability: of the positive label, 0 to 1, float [n], of validation images.
        positive: bool [n].
        cost_of_a_miss: above 0, in false alarms.

    Raises:
        RetrainLabError: fewer than 50 images, fewer than 10 of a kind, or a cost that is not above 0.
    """
    _enough(positive)
    if not 0 < cost_of_a_miss < np.inf:
        raise RetrainLabError(f"A miss costs {cost_of_a_miss:g} false alarms. Give a number above 0.")
    level = np.unique(probability, return_inverse=True)
    values, hits, everything = level[0], np.bincount(level[1], positive), np.bincount(level[1])
    misses, alarms = np.append(0, hits.cumsum()), np.append(0, (everything - hits).cumsum())
    costs = misses * cost_of_a_miss + alarms[-1] - alarms  # of thresholds above so many of the values
    edges = np.concatenate([[0.0], values, [1.0]])
    if values[-1] >= 1:
        costs = costs[:-1]  # no threshold is above a probability of 1
    best = np.isclose(costs, costs.min(), rtol=1e-9, atol=0)
    starts = np.flatnonzero(best & ~np.append(False, best[:-1]))
    ends = np.flatnonzero(best & ~np.append(best[1:], False)) + 1
    widest = int(np.argmax(edges[ends] - edges[starts]))
    low, high = edges[starts[widest]], edges[ends[widest]]
    # at `low` itself the image there would be answered positive, too
    return float(min(high, max((low + high) / 2, np.nextafter(low, np.inf)))) if high > low else float(high)


def for_recall(probability: np.ndarray, positive: np.ndarray, wanted: float) -> float:
    """Find the largest threshold whose recall on validation images is at least `wanted`, above 0 and up to 1.

    What recall it has on new images is chance, too: see `kept_interval`.

    Raises:
        RetrainLabError: fewer than 50 images, fewer than 10 of a kind, or a recall that cannot be.
    """
    _enough(positive)
    if not 0 < wanted <= 1:
        raise RetrainLabError(f"The wanted recall is {wanted:g}. Give a number above 0 and up to 1.")
    own = np.sort(probability[positive])[::-1]
    return float(own[int(np.ceil(wanted * len(own) - 1e-9)) - 1])  # 0.9 * 10 may come out above 9


def judge(threshold: Threshold, probability: np.ndarray, positive: np.ndarray) -> dict[str, Any]:
    """Say what a threshold comes to on images that did not choose it.

    Returns:
        recall, precision and false_alarm_rate, each {"n", "accuracy", "interval"} (Wilson, 95%; None where n = 0), and
        mean_cost an image, in false alarms (None without images, or without a cost of a miss).
    """
    answered = probability >= threshold.threshold
    costs = _costs(threshold, probability, positive)
    return {
        "recall": accuracy(answered[positive]),
        "precision": accuracy(positive[answered]),
        "false_alarm_rate": accuracy(answered[~positive]),
        "mean_cost": float(costs.mean()) if len(costs) and threshold.cost_of_a_miss else None,
    }


def kept_interval(recall: dict[str, Any], chosen_with: int) -> tuple[float, float]:
    """95% interval of a recall on test images that counts by whose chance its threshold was chosen, too.

    The interval of Wilson tells what this threshold is worth. Whether it keeps what was asked of validation is another
    question: the k-th largest probability of m validation images has a recall that varies about k / m by k / m *
    (1 - k / m) / m (order statistics; Wilks 1941, doi.org/10.1214/aoms/1177731788). Adding both variances is the
    interval of Wilson for 1 / (1 / n + 1 / m) images. A wanted recall within it is not contradicted by the test.

    Args:
        recall: as of `judge`, of n test images of the positive label.
        chosen_with: m, how many validation images of the positive label there were.
    """
    if not recall["n"] or not chosen_with:
        return 0.0, 1.0
    n = 1 / (1 / recall["n"] + 1 / chosen_with)
    return wilson_interval(recall["accuracy"] * n, n)


@finding("What another threshold would win")
def another_threshold(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    labels: list[str],
    positive_label: str,
    cost_of_a_miss: float,
    wanted_recall: float,
) -> Finding:
    """Choose a threshold on validation images and say what it and 0.5 come to on test images.

    It is the one that has the `wanted_recall`, above 0 and up to 1; where that is 0, the cheapest at this
    `cost_of_a_miss`. Nothing is said, nor chosen, where neither `positive_label` nor a recall is asked for.

    `validation`, `test`: rows of the predictions table. `labels`: two, in class order. `details` is the `Threshold`.
    """
    if not positive_label and wanted_recall == 0:
        return Finding("")
    if not positive_label:
        raise RetrainLabError(
            f"The wanted recall is {wanted_recall:g}, and of which label is not said. Name it in positive_label."
        )
    if len(labels) != 2 or positive_label not in labels:
        raise RetrainLabError(
            f"'{positive_label}' was named, and the labels are {', '.join(map(repr, labels[:5]))}"
            f"{' and more' * (len(labels) > 5)}. Name one of two; of more than two, the most probable one is answered."
        )
    if test.empty:
        raise RetrainLabError("There are no test images, and those that choose a threshold cannot judge it.")
    held, images = (of_label(rows, labels, positive_label) for rows in (validation, test))
    if wanted_recall == 0:
        return _at_a_cost(Threshold(positive_label, cheapest(*held, cost_of_a_miss), cost_of_a_miss), held[1], images)
    least = for_recall(*held, wanted_recall)
    return _at_a_recall(Threshold(positive_label, least, wanted_recall=wanted_recall), held[1], images)


def _at_a_cost(chosen: Threshold, held: np.ndarray, images: tuple[np.ndarray, np.ndarray]) -> Finding:
    """Say what the cheapest threshold saves. `held`: bool [n], of validation. `images`: of test, as of `of_label`."""
    half = replace(chosen, threshold=0.5)
    figures, before = judge(chosen, *images), judge(half, *images)
    cost = chosen.cost_of_a_miss
    scale = max(1.0, cost)
    change = clustered_mean((_costs(chosen, *images) - _costs(half, *images)) / scale, np.arange(len(images[1])))
    ends = change["interval"]
    share = float(images[1].mean())  # at best all misses are mended; at worst all others become false alarms
    saved = None if ends is None else np.clip([-scale * ends[1], -scale * ends[0]], share - 1, share * cost).tolist()
    won = before["mean_cost"] - figures["mean_cost"]
    sure = "" if saved is None else f"; it saves {won:.3f} [{_ends(saved)}]"
    if won < 0:
        sure += ". So here it costs more, not less, which may be chance: judge it on more images before you use it"
    said = [
        f"If a missed '{chosen.positive_label}' costs as much as {cost:g} false alarms, answer it from a "
        f"probability of {chosen.threshold:.1%} on (chosen on {len(held):,} validation images, {int(held.sum()):,} of "
        "them of it: few of these decide).",
        f"On {len(images[1]):,} test images an image then costs {figures['mean_cost']:.3f} false alarms on average "
        f"instead of {before['mean_cost']:.3f} at 50%{sure}.",
    ]
    return _told(chosen, figures, before, said, {"saved": saved})


def _at_a_recall(chosen: Threshold, held: np.ndarray, images: tuple[np.ndarray, np.ndarray]) -> Finding:
    """Say whether a recall is kept. `held`: bool [n], of validation. `images`: of test, as of `of_label`."""
    figures, before = (judge(each, *images) for each in (chosen, replace(chosen, threshold=0.5)))
    wanted, n = chosen.wanted_recall, int(held.sum())
    low, high = kept_interval(figures["recall"], n)
    lies = (
        "lies in it: the test does not contradict it"
        if low <= wanted <= high
        else "does not lie in it: test images are not like validation images, beyond chance"
    )
    asked = [
        f"To find {_number(wanted)} of '{chosen.positive_label}', answer it from a probability of "
        f"{chosen.threshold:.1%} on (chosen on {len(held):,} validation images, {n:,} of them of it)."
    ]
    kept = [
        f"Counting by whose chance it was chosen, too, what it finds is in [{100 * low:.1f}, {100 * high:.1f}]; "
        f"{_number(wanted)} {lies}.",
        f"Answered where it is another label: {_share(figures['false_alarm_rate'])}; at 50% "
        f"{_share(before['false_alarm_rate'])}.",
    ]
    found = _told(chosen, figures, before, asked, {"kept_interval": [low, high]})
    return replace(found, sentence="\n".join([found.sentence, *kept]))


def _told(
    chosen: Threshold, figures: dict[str, Any], before: dict[str, Any], said: list[str], more: dict[str, Any]
) -> Finding:
    """Put together what is said of every threshold, however it was chosen."""
    lines = [
        *said,
        f"Found of '{chosen.positive_label}': {_share(figures['recall'])}; at 50% {_share(before['recall'])}.",
        f"Right where it is answered: {_share(figures['precision'])}; at 50% {_share(before['precision'])}.",
    ]
    numbers = {"at_threshold": figures, "at_half": before}
    return Finding("", "\n".join(lines), numbers=asdict(chosen) | numbers | more, details=chosen)


def _costs(threshold: Threshold, probability: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """What each image costs, in false alarms: float [n]."""
    answered = probability >= threshold.threshold
    return np.where(positive, ~answered * threshold.cost_of_a_miss, answered * 1.0)


def _ends(interval: list[float]) -> str:
    return ", ".join(f"{end:.3f}" for end in interval)


def _number(share: float) -> str:
    return f"{100 * share:.6g}%"


def _share(figure: dict[str, Any]) -> str:
    return percent(figure) if figure["n"] else "unknown, for there is no such image"


def _enough(positive: np.ndarray) -> None:
    of_it = int(positive.sum())
    fewest = min(of_it, len(positive) - of_it)
    if len(positive) < _IMAGES or fewest < _OF_A_KIND:
        raise RetrainLabError(
            f"There are {len(positive):,} validation images, {of_it:,} of them of the label in question. No threshold "
            f"is chosen with fewer than {_IMAGES} images or {_OF_A_KIND} of either kind, for chance would choose it. "
            "Validate on more images, or stay with 50%."
        )
