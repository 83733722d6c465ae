"""Figures that count every label alike: known answers, few images, and intervals that keep their promise."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from retrainlab.evaluation import curves, scores


def table(classes: np.ndarray, logits: np.ndarray, labels: list[str]) -> pd.DataFrame:
    known = pd.DataFrame({"path": "x", "label": np.array(labels, dtype=object)[classes], "split": "test"})
    return scores.predictions(known, logits.astype(np.float32), labels)


def generated(shares: list[float], n: int, seed: int, gain: float = 2) -> tuple[pd.DataFrame, list[str], np.ndarray]:
    random, count = np.random.default_rng(seed), len(shares)
    classes = random.choice(count, n, p=shares)
    logits = random.normal(0, 1, (n, count)) + gain * np.eye(count)[classes]
    labels = [f"label {place:03}" for place in range(count)]
    return table(classes, logits, labels), labels, classes


@pytest.mark.parametrize("shares", [[0.9, 0.1], [0.4, 0.3, 0.2, 0.1], [1 / 30] * 30])
@pytest.mark.parametrize("digits", [0, 5], ids=["many ties", "no ties"])
def test_figures_are_those_of_scikit_learn(shares, digits):
    rows, labels, classes = generated(shares, 400, 1)
    logits = np.round(np.stack(list(rows["logits"])), digits)
    rows = table(classes, logits, labels)
    odds = curves._odds(rows, labels)
    predicted = logits.argmax(axis=1)
    areas = (metrics.roc_auc_score, metrics.average_precision_score)
    by_label = [[area(classes == k, odds[:, k]) for area in areas] for k in range(len(labels))]
    expected = {
        "balanced_accuracy": metrics.balanced_accuracy_score(classes, predicted),
        "macro_f1": metrics.f1_score(classes, predicted, average="macro"),
        "matthews": metrics.matthews_corrcoef(classes, predicted),
        "area_under_roc": np.mean(by_label, axis=0)[0],
        "average_precision": np.mean(by_label, axis=0)[1],
    }
    found = curves.rank_figures(rows, labels)
    assert {name: figure["value"] for name, figure in found.items()} == pytest.approx(expected)
    assert all(f["interval"][0] < f["value"] < f["interval"][1] for f in found.values())
    told = curves.label_curves(rows, labels)
    assert told[["area_under_roc", "average_precision"]].to_numpy() == pytest.approx(np.array(by_label))
    each = metrics.precision_recall_fscore_support(classes, predicted, zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "n"), each, strict=True):
        assert told[name].to_numpy(float) == pytest.approx(values, nan_ok=True)


def test_the_area_under_roc_of_two_labels_has_the_variance_of_delong():
    random = np.random.default_rng(3)
    positive, odds = np.arange(60) < 20, random.normal(0, 1, 60)
    odds[positive] += 1
    wins = (odds[positive][:, None] > odds[~positive]).astype(float)
    delong = wins.mean(axis=1).var() / 20 + wins.mean(axis=0).var() / 40
    (roc, _), moved = curves._areas(odds, positive)
    assert roc == pytest.approx(wins.mean()) and (moved[0] ** 2).sum() == pytest.approx(delong)


def test_what_an_image_does_to_the_areas_is_their_slope():
    random = np.random.default_rng(4)
    positive, odds = random.random(40) < 0.4, random.integers(0, 12, 40).astype(float)
    (_, average), moved = curves._areas(odds, positive)
    for image in range(0, 40, 7):
        weight = np.ones(40)
        weight[image] += 1e-5
        slope = (metrics.average_precision_score(positive, odds, sample_weight=weight) - average) / 1e-5
        assert moved[1, image] == pytest.approx(slope, abs=1e-4)


def test_odds_rank_where_probabilities_are_all_one():
    rows = table(np.array([0, 0, 1]), np.array([[900.0, 0, 1], [800, 0, 1], [700, 0, 1]]), ["a", "b", "c"])
    odds = curves._odds(rows, ["a", "b", "c"])
    assert np.isfinite(odds).all() and (np.diff(odds[:, 0]) < 0).all()
    assert curves.label_curves(rows, ["a", "b", "c"]).loc["a", "area_under_roc"] == 1


def test_all_right_is_not_certain():
    classes = np.repeat([0, 1], [10, 690])
    few = curves.rank_figures(table(classes, 9 * np.eye(2)[classes], ["a", "b"]), ["a", "b"])
    classes = np.repeat([0, 1], [100, 600])
    many = curves.rank_figures(table(classes, 9 * np.eye(2)[classes], ["a", "b"]), ["a", "b"])
    for name in few:
        assert few[name]["value"] == many[name]["value"] == 1 and few[name]["interval"][1] == 1
        assert few[name]["interval"][0] < 0.95 and few[name]["interval"][0] < many[name]["interval"][0] < 1


def test_constant_scores_are_guessing():
    classes = np.repeat([0, 1], [15, 45])
    found = curves.rank_figures(table(classes, np.zeros((60, 2)), ["a", "b"]), ["a", "b"])
    assert found["balanced_accuracy"]["value"] == 0.5 and found["matthews"]["value"] == 0
    assert found["area_under_roc"]["value"] == 0.5
    assert found["average_precision"]["value"] == 0.5  # the mean of 1/4 and 3/4
    assert all(f["interval"][0] < f["value"] < f["interval"][1] for f in found.values())


def test_one_image_a_label():
    labels = list("abcdefgh")
    rows = table(np.arange(8), 5 * np.eye(8) + 9 * np.eye(8)[[0, 0, 2, 3, 4, 5, 6, 7]], labels)
    found = curves.rank_figures(rows, labels)
    assert found["balanced_accuracy"]["value"] == 7 / 8
    assert all(0 <= f["interval"][0] < f["value"] <= f["interval"][1] <= 1 for f in found.values())
    told = curves.label_curves(rows, labels)
    assert told.loc["a", "precision"] == 0.5 and np.isnan(told.loc["b", "precision"]) and told.loc["b", "f1"] == 0


@pytest.mark.parametrize("classes", [[], [1, 1, 1]], ids=["no images", "one label"])
def test_what_cannot_be_told_is_none(classes):
    labels = ["a", "b", "c"]
    rows = table(np.array(classes, int), np.zeros((len(classes), 3)), labels)
    assert all(f == {"value": None, "interval": None} for f in curves.rank_figures(rows, labels).values())
    told = curves.label_curves(rows, labels)
    assert list(told["n"]) == [0, len(classes), 0] and told["area_under_roc"].isna().all()


def test_operating_points_begin_with_nothing_and_end_with_everything():
    rows = table(np.array([0, 1, 0, 1]), np.array([[4, 0], [3, 0], [3, 0], [0, 1]]), ["a", "b"])
    points = curves.operating_points(rows, ["a", "b"], "a")
    assert list(points["recall"]) == [0, 0.5, 1, 1] and list(points["false_alarm_rate"]) == [0, 0, 0.5, 1]
    assert list(points["precision"]) == pytest.approx([1, 1, 2 / 3, 0.5])


@pytest.mark.parametrize(("shares", "n", "gain"), [([0.85, 0.15], 60, 3), ([0.9, 0.1], 400, 2), ([0.1] * 10, 400, 2)])
def test_intervals_hold_the_truth(shares, n, gain):
    rows, labels, _ = generated(shares, 15_000, 99, gain)
    truth = curves.rank_figures(rows, labels)
    held = dict.fromkeys(truth, 0)
    for seed in range(40):
        for name, figure in curves.rank_figures(generated(shares, n, seed, gain)[0], labels).items():
            held[name] += figure["interval"][0] <= truth[name]["value"] <= figure["interval"][1]
    assert min(held.values()) >= 35, held  # of 40, where 38 are promised: fewer than 35 has a chance of 1 in 70


@pytest.mark.parametrize(("count", "n"), [(2, 700), (120, 8000)])
def test_it_takes_no_time(count, n):
    rows, labels, _ = generated([1 / count] * count, n, 0)
    began = time.process_time()
    curves.rank_figures(rows, labels)
    assert time.process_time() - began < 4  # 0.03 and 1.3 seconds


def test_the_seed_decides():
    rows, labels, _ = generated([0.9, 0.1], 100, 0)
    assert curves.rank_figures(rows, labels, 1) == curves.rank_figures(rows, labels, 1)
    assert curves.rank_figures(rows, labels, 1) != curves.rank_figures(rows, labels, 2)


def drawn(counts: list[int], gains: tuple[float, float], seed: int) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Predictions of two classifiers on the same images, which are hard for both alike."""
    random, labels = np.random.default_rng(seed), [f"kind {place}" for place in range(len(counts))]
    classes = np.repeat(np.arange(len(counts)), counts)
    known = pd.DataFrame({"path": "x", "label": np.array(labels, dtype=object)[classes], "split": "test"})
    hard = random.normal(0, 0.9, (len(classes), len(counts)))
    both = [hard + random.normal(0, 0.45, hard.shape) for _ in gains]
    for logits, gain in zip(both, gains, strict=True):
        logits[np.arange(len(classes)), classes] += gain
    return *(scores.predictions(known, logits.astype(np.float32), labels) for logits in both), labels


@pytest.mark.parametrize("counts", [[20, 180], [30, 100, 300]])
def test_equal_classifiers_are_rarely_told_apart(counts):
    missed = pd.DataFrame(
        [
            {name: found["p"] < 0.05 for name, found in curves.rank_differences(*drawn(counts, (2, 2), seed)).items()}
            for seed in range(30)
        ]
    )
    assert (missed.mean() <= 0.1).all()


def test_a_difference_lies_in_its_interval_which_is_narrower_than_for_different_images():
    truth, held = curves.rank_differences(*drawn([6000, 54000], (2.4, 2), 999)), []
    width, apart = [], []
    for seed in range(40):
        rows, against, labels = drawn([50, 450], (2.4, 2), seed)
        found = curves.rank_differences(rows, against, labels)
        alone, other = curves.rank_figures(rows, labels), curves.rank_figures(against, labels)
        for name, change in found.items():
            low, high = change["interval"]
            held.append(low <= truth[name]["accuracy"] <= high)
            width.append(high - low)
            apart.append(np.hypot(np.ptp(alone[name]["interval"]), np.ptp(other[name]["interval"])))
            assert change["accuracy"] == pytest.approx(alone[name]["value"] - other[name]["value"])
    assert np.mean(held) > 0.9 and np.mean(width) < 0.8 * np.mean(apart)


@pytest.mark.parametrize("counts", [[1, 1], [1, 200], [30] * 40])
def test_a_classifier_does_not_differ_from_itself_and_few_images_are_not_certain(counts):
    rows, _, labels = drawn(counts, (9, 9), 0)
    for change in curves.rank_differences(rows, rows, labels).values():
        assert change["accuracy"] == 0 and change["p"] == 1 and change["interval"][0] < 0 < change["interval"][1]
