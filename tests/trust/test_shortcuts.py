"""A border that gives labels away is found; one that does not is not. Hard conditions are judged and mended."""

import numpy as np
import pandas as pd
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.training import solver
from retrainlab.training.heads import HeadSettings
from retrainlab.trust import doubts, robustness, shortcuts

SETTINGS = HeadSettings(1000, 0.1, weight_decay=0.3)


def folds(labels, count=5, seed=0):
    from retrainlab.analysis import resampling

    return resampling.repeated_folds(labels, np.arange(len(labels)), np.full(len(labels), "train"), count, seed)


def made_up(seed, planted, n=240):
    """Bottlenecks of whole images, which tell labels apart; of borders, which do where it is planted."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.resize(["a", "a", "b"], n))
    signal = np.where(labels == "a", 1, -1)[:, None]
    whole = random.normal(0, 1, (n, 10)) + signal * (np.arange(10) < 2)
    border = random.normal(0, 1, (n, 10)) + planted * 0.6 * signal * (np.arange(10) < 2)
    return whole.astype(np.float32), border.astype(np.float32), labels


def test_a_planted_shortcut_is_found_and_nobody_cries_wolf():
    found, false = 0, 0
    for seed in range(20):
        for planted in (True, False):
            whole, border, labels = made_up(seed, planted)
            given = labels, folds(labels, seed=seed), SETTINGS, np.arange(len(labels))
            told = shortcuts.compare(whole, {"only the border": border}, *given)
            found += planted and told.numbers["border_tells_labels"]
            false += (not planted) and told.numbers["border_tells_labels"]
    assert found >= 19 and false <= 1


def test_what_is_left_is_said():
    whole, border, labels = made_up(0, planted=True)
    told = shortcuts.compare(
        whole, {"only the border": border, "grey": whole}, labels, folds(labels), SETTINGS, np.arange(len(labels))
    )
    masked = told.numbers["accuracy_of_masked"]
    assert list(masked) == ["the whole image", "only the border", "grey"]
    assert masked["grey"]["accuracy"] == masked["the whole image"]["accuracy"] > masked["only the border"]["accuracy"]
    guessing = masked["grey"]["accuracy"] - masked["grey"]["over_guessing"]["accuracy"]
    assert guessing == pytest.approx(2 / 3, abs=0.01)
    assert "So what surrounds the object gives labels away" in str(told) and told.plot().axes
    (said,) = doubts.watch_out({"border_tells_labels": True, "accuracy_of_masked": masked})
    assert said.startswith("**It may go by the surroundings.**") and "guessing is right in 67%" in said


def test_one_fold_cannot_tell():
    whole, _, labels = made_up(0, planted=True)
    with pytest.raises(RetrainLabError, match="Expected at least two"):
        shortcuts.compare(whole, {}, labels, folds(labels)[:1], SETTINGS, np.arange(len(labels)))


def test_the_weakest_spot_is_named_and_mended():
    whole, _, labels = made_up(0, planted=True)
    split = np.where(np.arange(240) < 160, "train", "validation").astype(object)
    held, random = split == "validation", np.random.default_rng(1)
    (head,) = solver.solve(whole, labels, split, [SETTINGS])
    plain, own = whole[held], pd.Series(labels[held])
    # a condition that hides the signal in those features and shows it in others, and one that does nothing
    moved = np.roll(whole, 5, axis=1)
    steps = [(1 - step / 5) * whole + step / 5 * moved for step in range(1, 6)]
    under = {"noisy": [each[held].astype(np.float32) for each in steps], "darker": [plain] * 5}
    told = robustness.measure(head, plain, under, own, np.arange(80))
    assert told.numbers["weakest_condition"] == "noisy" and told.plot().axes
    assert told.numbers["weakest_condition_changes"]["accuracy"] < 0
    assert told.numbers["accuracy_under_conditions"]["darker"] == [told.numbers["accuracy_as_they_are"]["accuracy"]] * 5
    both = np.concatenate([whole, moved[~held] + random.normal(0, 0.1, (160, 10))]).astype(np.float32)
    (after,) = solver.solve(both, np.r_[labels, labels[~held]], np.r_[split, np.full(160, "train", object)], [SETTINGS])
    mended = robustness.mending("noisy", head, after, moved[held].astype(np.float32), plain, own, np.arange(80))
    gained = mended.numbers["learning_from_weakest_changes"]["under_it"]
    assert gained["interval"][0] > 0 and "worth learning from" in str(mended)
    same = robustness.mending("noisy", head, head, plain, plain, own, np.arange(80))
    assert same.numbers["learning_from_weakest_changes"]["under_it"]["accuracy"] == 0 and "is not shown" in str(same)


def test_nothing_to_watch_out_for():
    assert doubts.watch_out({}) == [] and doubts.markdown([]).startswith(
        "Nothing that could be looked into stands out."
    )
    untold = doubts.markdown([], ["When it is unsure", "Where it fails"])
    assert "**This is not known:** when it is unsure; where it fails." in untold
    assert doubts.markdown([], ["Where it fails"], 1).startswith("**Nothing is known about single answers**")


def test_weak_groups_are_named_as_long_as_they_are_few():
    group = {"accuracy": 0.6, "others": 0.8, "difference": {"accuracy": -0.2, "interval": [-0.3, -0.1]}}
    (said,) = doubts.watch_out({"weak_groups": {"camera: <b>": group}})
    assert "“camera: &#60;b&#62;” are right in 60% of cases, others in 80%: 20.0 points [10.0, 30.0] less" in said
    many = doubts.watch_out({"weak_groups": {str(number): group for number in range(9)}})
    assert len(many) == 3 and "6 more groups" in many[-1]


def test_a_condition_that_costs_nothing_is_no_weak_spot():
    whole, _, labels = made_up(0, planted=True)
    (head,) = solver.solve(whole, labels, np.full(240, "train", object), [SETTINGS])
    told = robustness.measure(head, whole[:3], {"darker": [whole[:3]] * 5}, pd.Series(labels[:3]), np.arange(3))
    assert "No loss is shown" in str(told) and "Weakest spot" not in str(told)
    assert doubts.watch_out(told.numbers) == []
