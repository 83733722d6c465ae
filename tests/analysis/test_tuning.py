"""What fine-tuning would win is measured on as many folds as there is time for, and said."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import save_convolutions
from PIL import Image
from test_resampling import folds

from retrainlab.analysis import advice, tuning
from retrainlab.analysis.overfitting import Overfitting
from retrainlab.backbones import registry
from retrainlab.bottlenecks.features import load
from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training.finetuning import TuningSettings
from retrainlab.training.heads import HeadSettings

SETTINGS, QUICK = HeadSettings(200, 0.1, weight_decay=0.3), TuningSettings(8, 0.02, 16, dropout=0.0)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Coarse stripes or fine ones: eight channels of a random network tell them apart, the mean of two does not."""
    place, random = tmp_path_factory.mktemp("tuning"), np.random.default_rng(0)
    for label, pace in {"coarse": 0.5, "fine": 2.6}.items():
        (place / "images" / label).mkdir(parents=True)
        for number in range(40):
            stripes = np.sin(np.arange(16) * pace + random.uniform(0, 6))[:, None, None] * np.ones((16, 16, 3))
            pixels = 128 + 40 * stripes + random.normal(0, 40, (16, 16, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(place / "images" / label / f"{number}.png")
    backbone = registry.resolve(
        save_convolutions(place / "module", {"first": (3, 3, 3, 8), "second": (1, 1, 8, 2)}, 16), place / "cache"
    )
    images = scanning.load(place / "images", 0, 20).images
    return load(backbone, ImageFolder.of(place / "images", images), images)


def attempt(features, minutes: float, cut: str = "first_out") -> tuning.Trial:
    features.__dict__["milliseconds"] = 100.0  # a fold of 64 images: 8 epochs, so many minutes, whatever the machine is
    splits = folds(features.table["label"].to_numpy(), 10)
    return tuning.attempt(features, splits, SETTINGS, QUICK, cut, minutes, 1)


@pytest.fixture(scope="module")
def trial(features):
    return attempt(features, 1000)


def test_what_fine_tuning_wins_is_measured_on_every_image_once(features, trial):
    assert trial.folds == 5 == len(trial.splits) and not np.isnan(trial.result.hits).any()
    found = tuning.compare(trial, features, SETTINGS, np.arange(80), tuned=False)
    ((name, gain),) = found.numbers["tuning"].items()
    assert name == "Fine-tuning above 'first_out' (fine_tune_from)" and gain["interval"][0] > 0.05
    assert str(found).startswith(f"{name}, on 5 of 5 folds, about ")
    assert advice.rank(advice.candidates(found.numbers))[0]["what"] == name
    assert trial.result.members["validation accuracy"].mean() > 0.8
    done = tuning.compare(trial, features, SETTINGS, np.arange(80), tuned=True)
    assert done.numbers == {"brought": gain} and advice.rank(advice.candidates(done.numbers)) == []


@pytest.mark.hard
def test_folds_on_a_cluster_say_what_they_say_here(features, trial, joined):
    there = attempt(features, 2 * trial.minutes)
    assert there.folds == 2 and there.minutes == trial.minutes and len(there.splits) == 5
    mine = np.isin(trial.splits[:2], "validation").any(axis=0)
    # TensorFlow's last bit is not that of another process
    np.testing.assert_allclose(there.result.probabilities[mine], trial.result.probabilities[mine], atol=1e-4)
    np.testing.assert_array_equal(there.result.hits[mine], trial.result.hits[mine])
    assert np.isnan(there.result.hits[~mine]).all()


def test_few_minutes_are_for_few_folds_and_none_for_none(features, trial):
    some = attempt(features, 2.5 * trial.minutes)
    assert some.folds == 2 and (np.isnan(some.result.hits) == ~np.isin(some.splits[:2], "validation").any(axis=0)).all()
    found = tuning.compare(some, features, SETTINGS, np.arange(80), tuned=False)
    assert "on 2 of 5 folds" in str(found) and len(some.result.members) == 2
    none = attempt(features, 0.9 * trial.minutes)
    found = tuning.compare(none, features, SETTINGS, np.arange(80), tuned=False)
    assert none.result is None and found.numbers == {} and ": not tried, since one fold takes about " in str(found)


def test_a_cut_that_does_not_exist(features):
    with pytest.raises(RetrainLabError, match="first_out"):
        attempt(features, 1000, "frist_out")


def test_a_fine_tuned_run_has_the_gap_of_fine_tuned_ones(features, trial):
    learnt = {"fine_tune_from": "first_out", "fine_tune_epochs": 8, "fine_tune_learning_rate": 0.02}
    run = {"accuracy": 0.5, "interval": [0.4, 0.6]}
    sides = {name: {"accuracy": 0.5, "interval": [0.4, 0.6]} for name in ("train", "validation")}
    asked = Overfitting(
        features.matrix, features.table, SETTINGS, {"gap": run, **sides}, {"learnt_from": learnt}, source=features
    )
    asked.__dict__["fine_tuned"] = trial
    gap = asked.gap.numbers["gap"]
    assert abs(gap["accuracy"]) < 0.2 and gap["train"] > 0.85  # of layers on the network as it was, both are far lower
    assert "5 re-splits, fine-tuned" in asked.gap.table.index
    assert "fine-tuned above 'first_out'" in asked.notes and "settings" not in asked.evidence
    few = replace(trial, result=None)
    alone = Overfitting(
        features.matrix, features.table, SETTINGS, {"gap": run, **sides}, {"learnt_from": learnt}, source=features
    )
    alone.__dict__["fine_tuned"] = few
    assert alone.gap.numbers["gap"] == run
