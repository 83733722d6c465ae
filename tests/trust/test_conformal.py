"""Sets of labels hold the right one as often as they promise."""

import numpy as np
import pytest

from retrainlab.evaluation.calibration import softmax
from retrainlab.trust import conformal


def drawn(n, labels=3, seed=0, sharp=1.0):
    """Images whose logits hold a signal and noise; a classifier that is right about two times in three."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, labels, n)
    logits = random.normal(0, 1, (n, labels)) + 1.5 * np.eye(labels)[classes]
    return softmax(sharp * logits), classes


def coverage(seed, n=200, labels=3, sharp=1.0):
    held, classes = drawn(n, labels, seed, sharp)
    fresh, own = drawn(4000, labels, 1000 + seed, sharp)
    found = conformal.sets(fresh, conformal.thresholds(held, classes))
    return found[np.arange(len(own)), own], own


@pytest.mark.parametrize("sharp", [0.3, 1.0, 4.0])  # not sure enough, honest, too sure
def test_nine_of_ten_sets_hold_the_right_label(sharp):
    held = [coverage(seed, sharp=sharp)[0].mean() for seed in range(20)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_so_it_is_label_by_label_where_there_are_images_enough():
    held, own = zip(*[coverage(seed, 600) for seed in range(20)], strict=True)
    held, own = np.concatenate(held), np.concatenate(own)
    assert [held[own == label].mean() for label in range(3)] == pytest.approx([0.9] * 3, abs=0.02)


def test_known_thresholds():
    chances = np.stack([np.linspace(0.01, 0.99, 99), np.linspace(0.99, 0.01, 99)], axis=1)
    least = conformal.thresholds(chances, np.zeros(99, int))
    assert least == pytest.approx([0.10, 0.10])  # the tenth of 99; a label without images shares it
    assert conformal.sets(np.float32([[0.95, 0.05], [0.5, 0.5], [0.05, 0.95]]), least).tolist() == [
        [True, False],
        [True, True],
        [False, True],
    ]


def test_few_images_promise_nothing():
    assert conformal.thresholds(np.full((8, 2), 0.5), np.zeros(8, int)).tolist() == [0, 0]
    assert conformal.thresholds(np.zeros((0, 3)), np.zeros(0, int)).tolist() == [0, 0, 0]
    assert conformal.sets(np.float32([[0.2, 0.5, 0.3]]), np.zeros(3)).all()


def test_a_set_is_never_empty_and_is_said():
    labels = ["heron", "egret", "stork", "crane", "ibis"]
    chances = np.float32([0.3, 0.4, 0.1, 0.1, 0.1])
    held = conformal.sets(chances[None], np.full(5, 0.99))[0]
    assert held.tolist() == [False, True, False, False, False] and conformal.say(labels, chances, held) == "egret"
    two, three = conformal.sets(np.stack([chances] * 2), np.array([0.25, 0.35, 1, 1, 0.05]))[0], np.ones(5, bool)
    assert conformal.say(labels, chances, two) == "egret, heron or ibis"
    assert conformal.say(labels, chances, three) == "unsure"
    assert conformal.say(["a", "b"], np.float32([0.6, 0.4]), np.array([True, True])) == "unsure"
    assert conformal.say(["a"], np.float32([1]), np.array([True])) == "a"
