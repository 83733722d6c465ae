"""Thresholds: the cheapest and that of a wanted recall, what is refused, and what the promise is worth."""

import numpy as np
import pandas as pd
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores, thresholds
from retrainlab.evaluation.thresholds import Threshold


def overlapping(n: int, seed: int, share: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two Gaussians two deviations apart; 0.5 is not the best threshold."""
    random = np.random.default_rng(seed)
    positive = random.random(n) < share
    return 1 / (1 + np.exp(1 - random.normal(0, 1, n) - 2 * positive)), positive


def tables(n: int, seed: int, split: str) -> pd.DataFrame:
    probability, positive = overlapping(n, seed)
    odds = np.log(probability / (1 - probability))
    known = pd.DataFrame({"path": "x", "label": np.where(positive, "crack", "fine"), "split": split})
    return scores.predictions(known, np.stack([odds, np.zeros(n)], axis=1), ["crack", "fine"])


def cost(threshold: float, probability: np.ndarray, positive: np.ndarray, of_a_miss: float) -> float:
    answered = probability >= threshold
    return (positive & ~answered).sum() * of_a_miss + (~positive & answered).sum()


@pytest.mark.parametrize("of_a_miss", [0.1, 1, 5, 1000])
@pytest.mark.parametrize("digits", [1, 9], ids=["many ties", "no ties"])
def test_no_threshold_is_cheaper(of_a_miss, digits):
    for seed in range(5):
        probability, positive = overlapping(80, seed)
        probability = probability.round(digits)
        found = thresholds.cheapest(probability, positive, of_a_miss)
        all_of_them = [0, *probability, *(np.unique(probability)[:-1] + np.diff(np.unique(probability)) / 2), 1]
        least = min(cost(each, probability, positive, of_a_miss) for each in all_of_them)
        assert 0 <= found <= 1 and cost(found, probability, positive, of_a_miss) == pytest.approx(least)


def test_the_middle_of_the_best_interval():
    probability, positive = np.repeat([0.2, 0.6], 30), np.repeat([False, True], 30)
    assert thresholds.cheapest(probability, positive, 1) == pytest.approx(0.4)
    probability = np.repeat([0.2, np.nextafter(0.2, 1)], 30)  # nothing lies between them
    assert cost(thresholds.cheapest(probability, positive, 1), probability, positive, 1) == 0


def test_constant_probabilities_answer_always_or_never():
    positive = np.arange(60) < 20
    always = thresholds.cheapest(np.full(60, 0.3), positive, 10)
    never = thresholds.cheapest(np.full(60, 0.3), positive, 0.1)
    assert always == pytest.approx(0.15) and never == pytest.approx(0.65)
    assert thresholds.cheapest(np.ones(60), positive, 10) == thresholds.cheapest(np.ones(60), positive, 0.1) == 0.5
    assert thresholds.cheapest(np.zeros(60), positive, 10) == 0


def test_the_dearer_a_miss_the_lower_the_threshold():
    found = [thresholds.cheapest(*overlapping(4000, 0), each) for each in (0.2, 1, 5)]
    assert found == sorted(found, reverse=True)
    # log odds are x - 1; those of Gaussians and shares, 2 * (x - 1) + log(0.4 / 0.6), are to be at least -log(cost)
    best = [1 / (1 + np.exp((np.log(each) + np.log(0.4 / 0.6)) / 2)) for each in (0.2, 1, 5)]
    assert found == pytest.approx(best, abs=0.05)


def test_the_largest_threshold_of_a_recall():
    probability, positive = np.arange(100) / 100, np.arange(100) % 10 >= 5
    for wanted in (0.02, 0.5, 0.9, 1):
        found = thresholds.for_recall(probability, positive, wanted)
        assert (probability[positive] >= found).mean() >= wanted - 1e-12
        assert (probability[positive] >= np.nextafter(found, 1)).mean() < wanted
    own = np.sort(probability[positive])[::-1]
    assert thresholds.for_recall(probability, positive, 0.58) == own[28]  # 0.58 * 50 is above 29 in floats


@pytest.mark.parametrize("positives", [0, 9, 52, 60])
def test_few_images_choose_no_threshold(positives):
    positive = np.arange(60) < positives
    for choose in (thresholds.cheapest, thresholds.for_recall):
        with pytest.raises(RetrainLabError, match=f"60 validation images, {positives} of them"):
            choose(np.linspace(0, 1, 60), positive, 1)
        with pytest.raises(RetrainLabError, match="fewer than 50 images"):
            choose(np.linspace(0, 1, 49), np.arange(49) < 20, 1)
        with pytest.raises(RetrainLabError, match="There are 0 validation images"):
            choose(np.array([]), np.array([], bool), 1)
        assert choose(np.linspace(0, 1, 50), np.arange(50) < 10, 1) >= 0


def test_what_cannot_be_asked_for():
    images = overlapping(60, 0)
    for wanted in (0, -1, 1.1, np.nan):
        with pytest.raises(RetrainLabError, match="wanted recall"):
            thresholds.for_recall(*images, wanted)
    for of_a_miss in (0, -1, np.inf, np.nan):
        with pytest.raises(RetrainLabError, match="above 0"):
            thresholds.cheapest(*images, of_a_miss)


def test_judging_counts():
    probability, positive = np.array([0.9, 0.5, 0.2, 0.8, 0.1]), np.array([True, True, True, False, False])
    found = thresholds.judge(Threshold("a", 0.5, 3), probability, positive)
    assert [found[name]["n"] for name in ("recall", "precision", "false_alarm_rate")] == [3, 3, 2]
    assert found["recall"]["accuracy"] == found["precision"]["accuracy"] == pytest.approx(2 / 3)
    assert found["false_alarm_rate"]["accuracy"] == 0.5 and found["mean_cost"] == pytest.approx((3 + 1) / 5)
    nothing = thresholds.judge(Threshold("a", 0.5, 3), np.array([]), np.array([], bool))
    assert nothing["mean_cost"] is None and nothing["recall"]["accuracy"] is None
    assert thresholds.kept_interval(nothing["recall"], 50) == (0, 1)


def test_an_asked_for_recall_is_kept_within_the_interval():
    """The interval of the test images alone breaks it: validation images are chance, too."""
    alone, together = [], []
    for seed in range(200):
        images = overlapping(200, seed)
        chosen = Threshold("a", thresholds.for_recall(*images, 0.9), 1)
        recall = thresholds.judge(chosen, *overlapping(400, 1000 + seed))["recall"]
        for held, (low, high) in (
            (alone, recall["interval"]),
            (together, thresholds.kept_interval(recall, images[1].sum())),
        ):
            held.append(low <= 0.9 <= high)
    assert sum(together) >= 180 > 160 > sum(alone)


def test_the_kept_interval_is_no_wider_than_promised():
    width = [np.subtract(*thresholds.kept_interval({"n": n, "accuracy": 0.9}, m)[::-1]) for n, m in
             ((100, 10**9), (100, 100), (50, 10**9))]  # fmt: skip
    low, high = thresholds.wilson_interval(90, 100)
    assert width[0] == pytest.approx(high - low) and width[1] == pytest.approx(width[2])


def test_the_finding_says_what_it_wins():
    images = tables(500, 0, "validation"), tables(2000, 1, "test")
    found = thresholds.another_threshold(*images, ["crack", "fine"], "crack", 10, 0)
    assert found and found.details.positive_label == "crack" and found.details.threshold < 0.3
    before, after = found.numbers["at_half"], found.numbers["at_threshold"]
    saved = before["mean_cost"] - after["mean_cost"]
    assert 0 < found.numbers["saved"][0] < saved < found.numbers["saved"][1]
    assert after["recall"]["accuracy"] > before["recall"]["accuracy"]
    assert f"saves {saved:.3f} [" in str(found) and "chosen on 500 validation images, " in str(found)


def test_the_finding_says_whether_a_recall_is_kept():
    images = tables(500, 0, "validation"), tables(2000, 1, "test")
    found = thresholds.another_threshold(*images, ["crack", "fine"], "crack", 10, 0.9)
    probability, positive = thresholds.of_label(images[0], ["crack", "fine"], "crack")
    least = thresholds.for_recall(probability, positive, 0.9)
    assert found.details == Threshold("crack", least, wanted_recall=0.9)  # whatever a miss costs
    low, high = found.numbers["kept_interval"]
    recall = found.numbers["at_threshold"]["recall"]
    assert low < recall["interval"][0] < recall["interval"][1] < high and low < 0.9 < high
    assert found.numbers["at_threshold"]["mean_cost"] is None
    assert f"To find 90% of 'crack', answer it from a probability of {least:.1%} on" in str(found)
    assert f"is in [{100 * low:.1f}, {100 * high:.1f}]; 90% lies in it" in str(found)
    strangers = images[0], images[1].assign(label=np.roll(images[1]["label"], 1))
    assert "90% does not lie in it" in str(thresholds.another_threshold(*strangers, ["crack", "fine"], "crack", 1, 0.9))


def test_a_wanted_recall_of_ninety_percent_lies_in_its_stated_interval_in_18_of_20_splits():
    pool, kept = tables(1200, 7, "test"), 0
    for seed in range(20):
        drawn = pool.sample(frac=1, random_state=seed)
        found = thresholds.another_threshold(drawn[:300], drawn[300:], ["crack", "fine"], "crack", 1, 0.9)
        low, high = found.numbers["kept_interval"]
        kept += low <= 0.9 <= high
        assert high - low < 0.2
    assert kept >= 18


@pytest.mark.parametrize("wanted_recall", [0, 0.9])
@pytest.mark.parametrize(
    ("validation", "test", "labels", "reason"),
    [(40, 100, ["crack", "fine"], "40 validation images"), (100, 0, ["crack", "fine"], "no test images"),
     (100, 100, ["crack", "fine", "other"], "the labels are 'crack', 'fine', 'other'"),
     (0, 100, ["crack", "fine"], "0 validation images"),
     (100, 100, ["fine", "other"], "'crack' was named, and the labels are 'fine', 'other'")],
)  # fmt: skip
def test_the_finding_says_why_not(validation, test, labels, reason, wanted_recall):
    images = tables(validation, 0, "validation"), tables(test, 1, "test")
    found = thresholds.another_threshold(*images, labels, "crack", 2, wanted_recall)
    assert not found and str(found).startswith("What another threshold would win cannot be told.")
    assert reason in str(found)


def test_what_is_asked_for_is_said_where_it_cannot_be_had():
    images = tables(100, 0, "validation"), tables(100, 1, "test"), ["crack", "fine"]
    assert str(thresholds.another_threshold(*images, "", 2, 0)) == ""
    assert "Name it in positive_label" in str(thresholds.another_threshold(*images, "", 2, 0.9))
    for wanted in (-1, 1.5, np.nan):
        found = thresholds.another_threshold(*images, "crack", 2, wanted)
        assert not found and "Give a number above 0 and up to 1." in str(found) and found.details is None
