import numpy as np
import pandas as pd
import pytest
from test_resampling import QUICK, blobs, folds

from retrainlab.analysis import paths, regularisation, resampling
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation.intervals import points
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


@pytest.fixture(scope="module")
def noisy_paths(noisy):
    return paths.train(*noisy, folds=10, weight_decays=[0.01, 0.1, 1.0], learning_rates=[0.05])


def path(features, labels, splits, settings, weight_decays, learning_rates):
    found = paths.train(features, labels, splits, settings, len(splits), weight_decays, learning_rates)
    return regularisation.settings_path(found, settings, np.arange(len(labels)))


def row(found, which: str) -> pd.Series:
    """The row of the table that the settings of that name stand in."""
    mine = found.numbers[which]
    return found.details[(found.details[list(mine)] == list(mine.values())).all(axis=1)].squeeze()


def test_the_path_finds_the_settings_that_help(noisy, noisy_result, noisy_paths):
    found = regularisation.settings_path(noisy_paths, noisy[3], np.arange(len(noisy[1])))
    assert list(found.details.columns) == [
        "weight_decay", "learning_rate", "how_many_training_steps", "train accuracy", "validation accuracy",
        "train cross_entropy", "validation cross_entropy",
    ]  # fmt: skip
    assert len(found.details) == 4 * 10 and "diverge" not in str(found)
    assert found.numbers["current"] == {"weight_decay": 0, "learning_rate": 0.05, "how_many_training_steps": 800}
    current, chosen, first = row(found, "current"), row(found, "chosen"), noisy_result.members[:5].mean()
    assert current["validation cross_entropy"] == pytest.approx(first["validation cross_entropy"], abs=1e-3)
    assert chosen["validation cross_entropy"] == found.details["validation cross_entropy"].min()
    assert chosen["weight_decay"] > 0 or chosen["how_many_training_steps"] < 800
    gain, gap = found.numbers["settings"], found.numbers["settings_gap"]
    assert gain["interval"][0] < gain["accuracy"] < gain["interval"][1] and abs(gain["accuracy"]) < 0.08
    assert gap["interval"][0] < gap["accuracy"] < 0 < 0.02 > gap["interval"][1]  # what is held back memorises less
    said = str(found).splitlines()
    assert said[0].startswith("As it is: weight_decay 0, learning_rate 0.05, how_many_training_steps 800. Chosen: ")
    assert f"validation accuracy changes by {points(gain)}, and the gap by {points(gap)}" in said[1]
    assert found.plot().axes


def test_a_layer_that_is_held_back_too_much_gains_by_less_weight_decay():
    random = np.random.default_rng(0)
    labels = np.array(["a", "a", "a", "b"] * 100)  # held back, it answers "a" to everything
    features = random.standard_normal((400, 20)).astype(np.float32)
    features[:, :5] += (labels == "a")[:, None]
    held = heads.HeadSettings(400, 0.02, weight_decay=10.0)
    found = path(features, labels, folds(labels), held, [0.0, 0.1, 10.0], [])
    current, chosen = row(found, "current"), row(found, "chosen")
    assert current["validation accuracy"] == pytest.approx(0.75, abs=0.02) and chosen["weight_decay"] < 1
    moved, gain = found.numbers["settings_train"], found.numbers["settings"]
    assert moved == pytest.approx(chosen["train accuracy"] - current["train accuracy"]) and moved > 0.05
    assert 0.03 < gain["interval"][0] < gain["accuracy"] < gain["interval"][1]


@pytest.mark.hard
def test_the_gain_is_not_that_of_the_luckiest_setting():
    """Labels that features say nothing of: many settings, one is best by luck, and hardly any may claim a gain."""
    random = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 60)
    rates = list(np.geomspace(0.001, 0.1, 8))
    lucky, claimed, sure = [], [], 0
    for seed in range(16):
        features = random.standard_normal((120, 10)).astype(np.float32)
        found = path(features, labels, folds(labels, seed=seed), QUICK, [0.0, 0.3], rates)
        lucky.append(found.details["validation accuracy"].max() - row(found, "current")["validation accuracy"])
        claimed.append(found.numbers["settings"]["accuracy"])
        sure += found.numbers["settings"]["interval"][0] > 0
    assert np.mean(lucky) > 0.025 and abs(np.mean(claimed)) < 0.02 and sure <= 1, (lucky, claimed, sure)


def test_learning_rates_that_diverge_are_left_out():
    features, labels = blobs()
    found = path(features, labels, folds(labels), QUICK, [1.0], [0.1, 100.0, 1000.0])
    assert str(found).endswith("Learning rate 1000 makes training diverge.\nLearning rate 100 makes training diverge.")
    assert set(found.details["learning_rate"]) == {QUICK.learning_rate, 0.1}
    hopeless = heads.HeadSettings(200, 100.0, weight_decay=1.0)
    with pytest.raises(RetrainLabError, match="diverged"):
        path(features, labels, folds(labels), hopeless, [], [0.01])


def test_one_fold_is_not_enough_to_choose_by():
    features, labels = blobs()
    with pytest.raises(RetrainLabError, match="chosen on 1 re-split"):
        path(features, labels, folds(labels)[:1], QUICK, [], [])


def test_a_lower_rate_is_the_higher_one_after_fewer_steps(noisy):
    """That is why lower rates are not tried."""
    features, labels, splits, settings = noisy
    found = paths.train(features, labels, splits, settings, 5, learning_rates=[0.5])
    table = found.table.set_index(paths.NAMES[1:])
    looks = table.loc[0.05].index
    assert 0.05 in table.index and looks[-1] == 800
    quick = table.loc[(0.5, looks[np.abs(looks - 80).argmin()])]
    slow = table.loc[(0.05, 800)]
    assert quick["validation accuracy"] == pytest.approx(slow["validation accuracy"], abs=0.03)
    assert quick["validation cross_entropy"] == pytest.approx(slow["validation cross_entropy"], rel=0.05)


def test_others_are_tried_on_folds_while_the_settings_as_they_are_train_on_all(noisy, noisy_paths):
    features, labels, splits, _ = noisy
    assert noisy_paths.folds == 5 and noisy_paths.history["member"].nunique() == len(splits) == 10
    alone = paths.train(*noisy)
    pd.testing.assert_frame_equal(alone.history, noisy_paths.history, atol=1e-3)
    assert alone.folds == 0 and alone.table.empty
    row = noisy_paths.table.index[(noisy_paths.table[paths.NAMES] == [0.1, 0.05, 800]).all(axis=1)].item()
    other = heads.HeadSettings(800, 0.05, weight_decay=0.1)
    theirs = resampling.cross_validate(features, labels, splits[:5], other)
    for fold, split in enumerate(splits[:5]):
        mine = split == "validation"
        assert noisy_paths.hits(row, fold)[mine].mean() == pytest.approx(
            theirs.members["validation accuracy"][fold], abs=0.021
        )
        assert noisy_paths.losses[row, fold] == pytest.approx(
            theirs.members["validation cross_entropy"][fold], abs=0.02
        )


def test_stopping_early_helps_where_validation_turns_up(noisy_paths):
    stop, history = regularisation.early_stopping(noisy_paths), noisy_paths.history
    mean = history.query("split == 'validation'").groupby("step")["cross_entropy"].mean()
    assert stop.numbers["stopping_step"] == mean.idxmin() < stop.numbers["last_step"] == 800
    saved, (low, high) = stop.numbers["stopping_saves"].values()
    assert 0 < low < saved < high and saved == pytest.approx(mean[800] - mean.min(), rel=0.1)
    assert f"is lowest at step {mean.idxmin()} of 800; its rise since, {saved:.4f} [" in str(stop)
    assert "nats, is beyond noise." in str(stop) and points(stop.numbers["stopping"]) in str(stop)


def test_stopping_early_wins_nothing_where_validation_still_falls():
    features, labels = blobs()
    splits = folds(labels, 10)
    stop = regularisation.early_stopping(paths.train(features, labels, splits, QUICK))
    assert stop.numbers == {"stopping": {"accuracy": 0, "interval": [0, 0]}, "stopping_saves": {"value": 0,
                            "interval": [0, 0]}, "stopping_step": 200, "last_step": 200}  # fmt: skip
    assert "within noise" in str(stop)


def test_one_re_split_is_not_enough_to_tell_noise_by():
    features, labels = blobs(60)
    splits = np.full((2, 60), "train", dtype=object)
    splits[0, :20] = "validation"
    with pytest.raises(RetrainLabError, match="1 re-split has validation images"):
        regularisation.early_stopping(paths.train(features, labels, splits, QUICK))


def test_settings_are_named_by_their_parameters():
    mine = {"weight_decay": 0.1, "learning_rate": 0.01 / 3, "how_many_training_steps": 2000}
    assert regularisation.describe(mine) == "weight_decay 0.1, learning_rate 0.00333, how_many_training_steps 2000"
