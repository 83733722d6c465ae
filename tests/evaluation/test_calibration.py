import numpy as np
import pandas as pd
import pytest

from retrainlab.evaluation import calibration


def test_softmax_and_cross_entropy_survive_large_logits():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]], np.float32)
    assert calibration.softmax(logits) == pytest.approx(np.array([[1, 0], [0.5, 0.5]]))
    assert calibration.cross_entropies(logits, np.array([0, 1])) == pytest.approx([0, np.log(2)])
    assert not np.signbit(calibration.cross_entropies(logits, np.array([0, 1]))).any()  # -0.0 would be shown as that


def test_calibration_of_a_classifier_that_is_right_as_often_as_it_says():
    random = np.random.default_rng(0)
    probability = random.uniform(0.5, 1, 20000)
    label = np.where(random.random(20000) < probability, "a", "b")
    table = pd.DataFrame({"label": label, "predicted": "a", "probability": probability})
    assert calibration.expected_calibration_error(table) < 0.02
    assert calibration.expected_calibration_error(table.assign(probability=0.999)) > 0.2
    bins = calibration.reliability(table)
    assert bins["n"].sum() == 20000 and len(bins) == 5
    assert (bins["low"] < bins["accuracy"]).all() and (bins["accuracy"] < bins["high"]).all()
    assert bins["accuracy"].to_numpy() == pytest.approx(bins["probability"].to_numpy(), abs=0.03)


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
