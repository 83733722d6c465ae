import numpy as np
import pandas as pd
import pytest

from retrainlab.evaluation import calibration, intervals, scores
from retrainlab.training import heads


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0), (0, 0, 0, 1)],
)
def test_wilson_interval_known_answers(correct, n, low, high):
    """81 of 263 and 0 of 20 stand in Newcombe 1998 (Statistics in Medicine 17:857), table I."""
    assert intervals.wilson_interval(correct, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_interval_holds_what_it_promises():
    random = np.random.default_rng(0)
    for p in (0.5, 0.85, 0.98):
        hits = random.binomial(200, p, 4000)
        inside = [low <= p <= high for low, high in (intervals.wilson_interval(h, 200) for h in hits)]
        assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_difference_interval_known_answer():
    """56 of 70 against 48 of 80: Newcombe 1998 (Statistics in Medicine 17:873), table II, method 10."""
    assert intervals.difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=6e-5)
    assert intervals.difference_interval(0, 0, 1, 2) == (-1, 1)


def test_paired_difference_known_answers():
    right, wrong = np.ones(100, bool), np.zeros(100, bool)
    change = intervals.paired_difference(right, wrong)
    assert change["accuracy"] == 1 and 0.9 < change["interval"][0] < 1 and change["interval"][1] == 1
    assert intervals.paired_difference(right[:0], wrong[:0]) == {"accuracy": None, "interval": None}
    random = np.random.default_rng(0)
    inside = 0
    for seed in range(200):  # b is right on 80%, a on 5% more and 2% fewer: the true difference is 3 points
        draw = random.choice(4, 500, p=[0.78, 0.05, 0.02, 0.15])
        found = intervals.paired_difference((draw == 0) | (draw == 1), (draw == 0) | (draw == 2), seed)
        inside += found["interval"][0] <= 0.03 <= found["interval"][1]
    assert inside / 200 == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize("n", [1, 14, 20])
def test_classifiers_that_agree_on_few_images_are_not_certainly_equal(n):
    change = intervals.paired_difference(np.ones(n, bool), np.ones(n, bool))
    low, high = change["interval"]
    assert change["accuracy"] == 0 and low == pytest.approx(-high, abs=0.08) and 0.05 < high <= 1
    assert np.ptp(intervals.paired_difference(*[np.ones(10 * n, bool)] * 2)["interval"]) < high - low


def test_softmax_and_cross_entropy_survive_large_logits():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]], np.float32)
    assert calibration.softmax(logits) == pytest.approx(np.array([[1, 0], [0.5, 0.5]]))
    assert calibration.cross_entropies(logits, np.array([0, 1])) == pytest.approx([0, np.log(2)])


@pytest.fixture
def predicted() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "path": list("pqrstu"),
            "label": ["a", "a", "b", "b", "a", "b"],
            "split": ["train"] * 4 + ["validation"] * 2,
        }
    )
    logits = np.array([[2, 0], [0, 2], [0, 2], [0, 2], [2, 0], [2, 0]], np.float32)
    return scores.predictions(table, logits, ["a", "b"])


def test_summary_known_answers(predicted):
    figures = scores.summarise(predicted, ["a", "b"])
    assert figures["train"]["n"] == 4 and figures["train"]["accuracy"] == 0.75
    assert figures["validation"]["accuracy"] == 0.5
    assert figures["train"]["cross_entropy"] == pytest.approx(np.log(1 + np.exp(-2)) + 0.5)
    assert figures["gap"]["accuracy"] == 0.25
    assert figures["test"] == {"n": 0, "accuracy": None, "interval": None, "cross_entropy": None}
    assert intervals.percent(figures["test"]) == "no images"
    assert intervals.percent(figures["train"]) == "75.0% [30.1, 95.4], n = 4"
    assert intervals.points(figures["gap"]).startswith("+25.0 points [")


def test_summary_without_validation_images(predicted):
    figures = scores.summarise(predicted[predicted["split"] == "train"], ["a", "b"])
    assert figures["gap"] == {"accuracy": None, "interval": None}
    assert np.isnan(scores.accuracy_table(figures).loc["validation", "accuracy"])


def test_per_label_confusion_and_top_k(predicted):
    table = scores.per_label(predicted, ["a", "b", "c"])
    assert list(table["n"]) == [3, 3, 0]
    assert table["accuracy"][:2].tolist() == pytest.approx([2 / 3, 2 / 3]) and np.isnan(table["accuracy"]["c"])
    assert scores.confusion(predicted, ["a", "b", "c"]).to_numpy().tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    said = scores.baseline(predicted.iloc[:4], ["a", "b"])
    assert "'a' would be right for 50.0%" in said and "Weakest label: 'a', 1 of 2 right, 50.0% [9.5, 90.5]" in said
    assert scores.top_k_accuracy(predicted, ["a", "b"], 1) == pytest.approx(4 / 6)
    assert scores.top_k_accuracy(predicted, ["a", "b"], 2) == 1


def test_calibration_of_a_classifier_that_is_right_as_often_as_it_says():
    random = np.random.default_rng(0)
    probability = random.uniform(0.5, 1, 20000)
    label = np.where(random.random(20000) < probability, "a", "b")
    table = pd.DataFrame({"label": label, "predicted": "a", "probability": probability})
    assert calibration.expected_calibration_error(table) < 0.02
    assert calibration.expected_calibration_error(table.assign(probability=0.999)) > 0.2
    assert calibration.reliability(table)["n"].sum() == 20000


def test_temperature_known_answers():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20000, 5))
    classes = (calibration.softmax(logits).cumsum(axis=1) < random.random((20000, 1))).sum(axis=1)
    for factor in (0.2, 1.0, 3.0):  # classes are drawn from these logits, so they fit as they are
        assert calibration.temperature(factor * logits, classes) == pytest.approx(factor, rel=0.03)
    found = calibration.temperature(3 * logits, classes)
    cost = [calibration.cross_entropies(3 * logits / t, classes).mean() for t in (0.98 * found, found, 1.02 * found)]
    assert cost[1] < min(cost[0], cost[2])
    two = np.log([[3.0, 1.0]] * 4) * 2  # right in 3 of 4: probabilities 3 to 1 fit, and these are twice as sure
    many = calibration.temperature(np.tile(two, (1000, 1)), np.tile([0, 0, 0, 1], 1000))
    assert 1 < calibration.temperature(two, np.array([0, 0, 0, 1])) < 1.5 < many == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(("n", "size"), [(1, 3.0), (30, 4.0), (300, 1.0), (1300, 0.001)])
@pytest.mark.parametrize("right", [0.3, 0.9, 1.0])
def test_temperature_minimises_cross_entropy_and_its_prior(n, size, right):
    """Where 1,300 images are right by hardly anything, there are two valleys."""
    classes = (np.arange(n) >= right * n).astype(int)
    logits, tried = np.tile([size, 0.0], (n, 1)), np.geomspace(0.05, 20, 400)
    cost = [calibration.cross_entropies(logits / t, classes).sum() + 2 * np.log(t) ** 2 for t in tried]
    assert calibration.temperature(logits, classes) == pytest.approx(tried[np.argmin(cost)], rel=0.02)


@pytest.mark.parametrize("n", [5, 10, 20, 100])
def test_temperature_of_few_images_does_not_spoil_probabilities(n):
    random = np.random.default_rng(0)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:  # logits whose probabilities are the true ones
        logits = random.normal(0, 2.6, (n, 1)) * [1, 0]
        return logits, (calibration.softmax(logits)[:, 1] > random.random(n)).astype(int)

    logits, classes = drawn(5000)
    found = [calibration.temperature(*drawn(n)) for _ in range(50)]
    cost = np.mean([calibration.cross_entropies(logits / t, classes).mean() for t in found])
    assert cost < calibration.cross_entropies(logits, classes).mean() + 0.02


def test_temperature_of_degenerate_logits():
    assert calibration.temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
    assert calibration.temperature(np.ones((5, 3)), np.zeros(5, int)) == pytest.approx(1)
    right = np.array([[1.0, 0.0]])
    assert 0.8 < calibration.temperature(right, np.array([0])) < 1
    assert 1 < calibration.temperature(right, np.array([1])) < 1.3
    always = [calibration.temperature(np.repeat(4 * right, n, axis=0), np.zeros(n, int)) for n in (10, 100, 1000)]
    assert 1 > always[0] > always[1] > always[2] > 0.2  # the more images, the surer
    never = [calibration.temperature(np.repeat(4 * right, n, axis=0), np.ones(n, int)) for n in (10, 100, 1000)]
    assert 1 < never[0] < never[1] < never[2] <= 20
    assert calibration.temperature(1e6 * right, np.array([0])) == pytest.approx(1)  # nothing left to win
    assert calibration.temperature(1e6 * right, np.array([1])) == pytest.approx(20)
    assert calibration.temperature(np.array([[0.0, -1e6], [0.0, -1e6]]), np.array([0, 1])) == pytest.approx(20)


def test_memorised_labels():
    labels = ["a"] * 20 + ["b"] * 4 + ["c", "d"]
    train, hits = np.ones(26), np.ones(26)
    hits[:10] = 0.2  # half of a: right in training, wrong out of fold
    train[:2] = 0.3  # two of those are wrong in training as well: not learned at all
    hits[24] = 0  # c has one image, memorised
    hits[20], train[25] = np.nan, np.nan
    table = scores.memorised(train, hits, labels)
    assert list(table.index) == ["a", "c", "b", "d"] and list(table["n"]) == [20, 1, 3, 0]
    assert table["memorised"].tolist()[:3] == [0.4, 1, 0] and np.isnan(table["memorised"]["d"])
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx(intervals.wilson_interval(8, 20))


@pytest.mark.parametrize("hidden", [False, True])
def test_a_cooled_head_gives_the_same_answers_with_other_probabilities(hidden):
    random = np.random.default_rng(0)
    first = (random.normal(0, 1, (6, 4)).astype(np.float32), random.normal(0, 1, 4).astype(np.float32))
    kernel, bias = random.normal(0, 1, (4, 3)).astype(np.float32), random.normal(0, 1, 3).astype(np.float32)
    head = heads.Head(["a", "b", "c"], heads.HeadSettings(), kernel, bias, first if hidden else None)
    features = random.normal(0, 1, (50, 6 if hidden else 4)).astype(np.float32)
    cooled = head.cooled(2.5)
    assert cooled.logits(features) == pytest.approx(head.logits(features) / 2.5, abs=1e-5)
    assert cooled.kernel.dtype == cooled.bias.dtype == np.float32 and head.kernel is kernel
