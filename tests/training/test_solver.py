"""The solver comes to what gradient descent comes to, and to what is known."""

from dataclasses import replace

import numpy as np
import pytest

from retrainlab.training import solver, trainer
from retrainlab.training.heads import HeadSettings

LONG = HeadSettings(how_many_training_steps=6000, learning_rate=0.05, weight_decay=0.1)


def drawn(labels=3, images=40, dim=10, seed=0):
    random = np.random.default_rng(seed)
    classes = np.arange(labels * images) % labels
    features = random.normal(0, 1, (len(classes), dim)) + 1.2 * np.eye(labels, dim)[classes]
    return features.astype(np.float32), np.array([f"label {number}" for number in classes])


def apart(one, other, features):
    """How far two heads' logits differ, but for what is added to all labels alike, which changes nothing."""
    gap = one.logits(features) - other.logits(features)
    return np.abs(gap - gap.mean(axis=1, keepdims=True)).max()


@pytest.mark.parametrize("more", [{}, {"label_smoothing": 0.2}, {"class_weight": "balanced"}, {"standardize": False}])
def test_it_comes_to_what_gradient_descent_comes_to(more):
    features, labels = drawn()
    labels[:30] = "label 0"  # more of one than of the others
    splits = np.full((3, len(labels)), "train", object)
    splits[0, ::4], splits[1, 1::4] = "validation", "validation"
    settings = replace(LONG, train_batch_size=1000, **more)  # large batches: little noise
    found = solver.solve(features, labels, splits, [settings] * 3)
    known, _ = trainer.train(features, labels, splits, [settings] * 3, 6000)
    assert max(apart(*both, features) for both in zip(found, known, strict=True)) < 0.1
    assert found[0].labels == known[0].labels and found[0].settings == settings


def test_the_curvature_saves_passes_and_changes_nothing(monkeypatch):
    features, labels = drawn(labels=5, images=60, dim=40)
    features[:, :4] *= np.array([30, 10, 5, 2])  # unstandardised: directions of very different lengths
    splits = np.full((3, len(labels)), "train", object)
    splits[0, ::4], splits[1, 1::4] = "validation", "validation"
    settings, passes = replace(LONG, standardize=False), []
    counted = solver._Stack.slope
    monkeypatch.setattr(solver._Stack, "slope", lambda *given: passes.append(1) or counted(*given))
    with_it, few = solver.solve(features, labels, splits, [settings] * 3), len(passes)
    monkeypatch.setattr(solver, "_SAVED", 0)
    without = solver.solve(features, labels, splits, [settings] * 3)
    assert 2 * few < len(passes) - few, (few, len(passes))
    assert max(apart(*both, features) for both in zip(with_it, without, strict=True)) < 0.1


def test_a_known_optimum():
    """With w the only weight of a symmetric two-label problem, the penalised optimum solves p(w) = decay x w."""
    features, labels = np.array([[1.0], [-1.0]] * 20, np.float32), np.array(["a", "b"] * 20)
    settings = HeadSettings(standardize=False).vary(weight_decay=[0.05, 0.2, 1.0])
    for head in solver.solve(features, labels, np.full(40, "train", object), settings):
        w = (head.kernel[0, 0] - head.kernel[0, 1]) / 2
        assert 1 / (1 + np.exp(2 * w)) == pytest.approx(head.settings.weight_decay * w, abs=0.005)


def test_more_features_than_images_and_labels_that_one_head_never_sees():
    features, labels = drawn(labels=4, images=6, dim=200)
    splits = np.full((2, 24), "train", object)
    splits[1, labels == "label 3"] = "validation"
    for stack in (splits, splits[:1]):  # each with images of its own; rotated
        first, *_ = solver.solve(features, labels, stack, [LONG] * len(stack))
        (known,), _ = trainer.train(features, labels, stack[:1], [replace(LONG, train_batch_size=500)], 6000)
        assert apart(first, known, features) < 0.25  # few images make for noisy steps


def test_it_is_for_settings_that_converge():
    assert solver.converges(HeadSettings(weight_decay=0.1)) and not solver.converges(HeadSettings(weight_decay=0.01))
    assert not solver.converges(HeadSettings(weight_decay=0.1, hidden_units=4))
    assert not solver.converges(HeadSettings(weight_decay=0.1, optimizer="adam"))
