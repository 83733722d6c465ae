import numpy as np
import pandas as pd
import pytest
from test_resampling import QUICK, blobs, folds

from retrainlab.analysis import regularisation, resampling
from retrainlab.errors import RetrainLabError
from retrainlab.training import heads


@pytest.fixture(scope="module")
def noisy():
    """A weak signal in a few of many features: overfits as it stands, and weight decay helps."""
    random = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 150)
    features = random.standard_normal((300, 200)).astype(np.float32)
    features[:, :5] += 0.6 * (labels == "a")[:, None]
    return features, labels, folds(labels, 10), heads.HeadSettings(800, 0.05)


@pytest.fixture(scope="module")
def noisy_result(noisy):
    return resampling.cross_validate(*noisy)


def test_the_path_finds_the_settings_that_help(noisy, noisy_result):
    path = regularisation.settings_path(*noisy, [0.01, 0.1, 1.0], [0.01])
    assert len(path.table) == 4 * 2 * 4 and path.left_out == []
    assert list(path.table.columns) == [
        "weight_decay", "learning_rate", "step", "train accuracy", "validation accuracy",
        "train cross_entropy", "validation cross_entropy",
    ]  # fmt: skip
    assert path.current[["weight_decay", "learning_rate", "step"]].tolist() == [0, 0.05, 800]
    first = noisy_result.members[:5].mean()
    assert path.current["validation cross_entropy"] == pytest.approx(first["validation cross_entropy"], abs=1e-3)
    assert path.chosen["validation cross_entropy"] == path.table["validation cross_entropy"].min()
    assert path.chosen["weight_decay"] > 0 or path.chosen["step"] < 800
    low, high = path.accuracy["interval"]
    assert low < path.accuracy["accuracy"] < high and abs(path.accuracy["accuracy"]) < 0.05
    low, high = path.gap["interval"]
    assert low < path.gap["accuracy"] < high < 0  # what is held back memorises less
    assert len(path.by_fold) == 5


def test_a_layer_that_is_held_back_too_much_gains_by_less_weight_decay():
    random = np.random.default_rng(0)
    labels = np.array(["a", "a", "a", "b"] * 100)  # held back, it answers "a" to everything
    features = random.standard_normal((400, 20)).astype(np.float32)
    features[:, :5] += (labels == "a")[:, None]
    held = heads.HeadSettings(400, 0.02, weight_decay=10.0)
    path = regularisation.settings_path(features, labels, folds(labels), held, [0.0, 0.1], [])
    assert path.current["validation accuracy"] == pytest.approx(0.75, abs=0.02)
    assert path.chosen["weight_decay"] < 1 and path.chosen["train accuracy"] > path.current["train accuracy"] + 0.05
    low, high = path.accuracy["interval"]
    assert 0.03 < low < path.accuracy["accuracy"] < high


def test_the_gain_is_not_that_of_the_luckiest_setting():
    """Labels that features say nothing of: many settings, one is best by luck, and hardly any may claim a gain."""
    random = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 60)
    rates = list(np.geomspace(0.001, 0.1, 8))
    lucky, claimed, sure = [], [], 0
    for seed in range(16):
        features = random.standard_normal((120, 10)).astype(np.float32)
        path = regularisation.settings_path(features, labels, folds(labels, seed=seed), QUICK, [0.0, 0.3], rates)
        lucky.append(path.table["validation accuracy"].max() - path.current["validation accuracy"])
        claimed.append(path.accuracy["accuracy"])
        sure += path.accuracy["interval"][0] > 0
    assert np.mean(lucky) > 0.025 and abs(np.mean(claimed)) < 0.02 and sure <= 1, (lucky, claimed, sure)


def test_learning_rates_that_diverge_are_left_out():
    features, labels = blobs()
    path = regularisation.settings_path(features, labels, folds(labels), QUICK, [1.0], [0.1, 100.0, 1000.0])
    assert path.left_out == [1000.0, 100.0] and set(path.table["learning_rate"]) == {0.01, 0.1}
    hopeless = heads.HeadSettings(200, 100.0, weight_decay=1.0)
    with pytest.raises(RetrainLabError, match="diverged"):
        regularisation.settings_path(features, labels, folds(labels), hopeless, [], [0.01])


def test_one_fold_is_not_enough_to_choose_by():
    features, labels = blobs()
    with pytest.raises(RetrainLabError, match="chosen on 1 re-split"):
        regularisation.settings_path(features, labels, folds(labels)[:1], QUICK, [], [])


def test_stopping_early_helps_where_validation_turns_up(noisy_result):
    stop = regularisation.early_stopping(noisy_result)
    mean = noisy_result.history.query("split == 'validation'").groupby("step")["cross_entropy"].mean()
    assert stop.turns_up and stop.step == mean.idxmin() < stop.last == 800
    saved, low, high = stop.cross_entropy
    assert 0 < low < saved < high and saved == pytest.approx(mean[800] - mean.min(), rel=0.1)


def test_stopping_early_wins_nothing_where_validation_still_falls():
    features, labels = blobs()
    stop = regularisation.early_stopping(resampling.cross_validate(features, labels, folds(labels, 10), QUICK))
    assert stop.step == stop.last == 200 and not stop.turns_up
    assert stop.cross_entropy == stop.accuracy == (0, 0, 0)


def test_one_re_split_is_not_enough_to_tell_noise_by():
    features, labels = blobs(60)
    splits = np.full((2, 60), "train", dtype=object)
    splits[0, :20] = "validation"
    result = resampling.cross_validate(features, labels, splits, QUICK, 100)
    with pytest.raises(RetrainLabError, match="1 re-split has validation images"):
        regularisation.early_stopping(result)


def test_settings_are_named_by_their_parameters():
    row = pd.Series({"weight_decay": 0.1, "learning_rate": 0.01 / 3, "step": 2000.0})
    assert regularisation.describe(row) == "weight_decay 0.1, learning_rate 0.00333, how_many_training_steps 2000"
