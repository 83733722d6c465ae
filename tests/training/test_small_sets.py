"""Few images and many features: what is fitted is fitted on training images alone, and nothing explodes."""

from dataclasses import replace

import numpy as np
import pytest

from retrainlab.analysis import resampling
from retrainlab.training import problem, trainer
from retrainlab.training.heads import HeadSettings

FEW_STEPS = HeadSettings(how_many_training_steps=300)


def drawn(labels, images, dim, apart, seed):
    """Features of as many images a label, normal around a centre each that lies `apart` from the others'."""
    random = np.random.default_rng(seed)
    centres = apart * np.random.default_rng(99).normal(0, 1, (labels, dim))
    classes = np.repeat(np.arange(labels), images)
    features = (centres[classes] + random.normal(0, 1, (len(classes), dim))).astype(np.float32)
    return features, np.array([f"label {number:02}" for number in classes])


def resplit(labels, count, seed=0):
    split = np.where(np.arange(len(labels)) % 5 == 0, "validation", "train").astype(object)
    return resampling.repeated_folds(labels, np.arange(len(labels)), split, count, seed)


def test_noise_is_guessed_out_of_fold():
    right = []
    for seed in range(6):
        features, labels = drawn(2, 6, 300, 0, seed)
        result = resampling.cross_validate(features, labels, resplit(labels, 10, seed), FEW_STEPS)
        right.append(np.nanmean(result.hits))
    assert np.mean(right) == pytest.approx(0.5, abs=0.2)  # it was 0.87 to 1 when held-out images were scaled with


def test_shuffled_labels_are_guessed_with_twelve_images():
    features, labels = drawn(2, 6, 300, 0.5, 0)
    shuffled = resampling.shuffled(features, labels, resplit(labels, 40), FEW_STEPS)
    assert shuffled.members["train accuracy"].mean() > 0.95
    assert shuffled.members["validation accuracy"].mean() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(("labels", "images", "apart"), [(2, 8, 0.1), (8, 20, 0.15), (40, 6, 0.2)])
def test_out_of_fold_accuracy_is_that_on_new_images(labels, images, apart):
    features, names = drawn(labels, images, 200, apart, 1)
    new, theirs = drawn(labels, 60, 200, apart, 2)
    settings = replace(FEW_STEPS, weight_decay=0.1)
    found = resampling.cross_validate(features, names, resplit(names, 10), settings)
    (head,), _ = trainer.train(features, names, np.full(len(names), "train", object), [settings])
    truth = (np.array(head.labels)[head.logits(new).argmax(axis=1)] == theirs).mean()
    noise = 2.5 * np.sqrt(0.25 / len(names)) + 0.08  # folds learn from fewer images, so they are a little worse
    assert np.nanmean(found.hits) == pytest.approx(truth, abs=noise)


@pytest.mark.parametrize(("labels", "images"), [(2, 8), (40, 6)])
def test_a_feature_that_hardly_varies_in_training_does_not_explode(labels, images):
    features, names = drawn(labels, images, 60, 1, 0)
    new, _ = drawn(labels, 20, 60, 1, 1)
    features[:, :10] = np.random.default_rng(3).normal(0, 1e-5, (len(features), 10))  # as features of deep cuts do
    (head,), _ = trainer.train(features, names, np.full(len(names), "train", object), [FEW_STEPS])
    assert np.abs(head.logits(new)).max() < 5 * np.abs(head.logits(features)).max()


def test_constant_features_are_divided_by_the_floor():
    features, names = drawn(2, 8, 6, 0, 0)
    features[:, 0] = 3
    posed = problem.pose(features, names, np.full(16, "train", object), [FEW_STEPS])
    assert posed.scaling.deviation[0] == pytest.approx(0.2 * np.median(features[:, 1:].std(axis=0)), rel=1e-4)
    same = problem.pose(np.ones((4, 3), np.float32), list("aabb"), ["train"] * 4, [FEW_STEPS])
    assert same.scaling.deviation.tolist() == [1, 1, 1]


@pytest.mark.parametrize("more", [{}, {"optimizer": "adam", "learning_rate": 0.001}, {"hidden_units": 5}])
def test_a_head_with_images_of_its_own_scales_by_those_alone(more):
    """Trained on a small part of a stack's images, it is what it is alone: the others' scale says nothing."""
    features, names = drawn(2, 30, 5, 1, 0)
    features[40:] *= 100  # images of the second head only
    splits = np.full((2, 60), "train", object)
    splits[0, 40:] = "test"
    splits[0, :4] = splits[0, 30:34] = "validation"
    settings = replace(HeadSettings(how_many_training_steps=3000, weight_decay=0.2), **more)
    (first, _), _ = trainer.train(features, names, splits, [settings, settings])
    mine = splits[0] != "test"
    (alone,), _ = trainer.train(features[mine], names[mine], splits[0][mine], [settings])
    assert first.logits(features[mine]) == pytest.approx(alone.logits(features[mine]), abs=0.1)


def test_more_features_than_images_are_rotated_onto_their_span():
    features, names = drawn(2, 20, 300, 0.3, 0)
    split = np.where(np.arange(40) % 4 == 0, "validation", "train").astype(object)
    split[::10] = "test"
    settings = HeadSettings(how_many_training_steps=2000, weight_decay=0.1)
    posed = problem.pose(features, names, split, [settings])
    assert posed.scaled.shape == (40, 36) and not posed.scaled[::10].any()
    scaled = (features - posed.scaling.mean) / posed.scaling.deviation
    seen = split != "test"
    assert (posed.scaled @ posed.scaled.T)[seen][:, seen] == pytest.approx((scaled @ scaled.T)[seen][:, seen], abs=0.05)
    (turned,), history = trainer.train(features, names, split, [settings])
    (plain,), as_is = trainer.train(features, names, split, [replace(settings, optimizer="adam", learning_rate=0.003)])
    assert turned.kernel.shape == (300, 2)
    gap = turned.logits(features) - plain.logits(features)  # both are at the optimum of the same penalty
    assert np.abs(gap - gap.mean(axis=1, keepdims=True)).max() < 0.3  # of logits up to 5
    last = history[(history["step"] == 2000) & (history["split"] == "validation")]["cross_entropy"].item()
    known = as_is[(as_is["step"] == 2000) & (as_is["split"] == "validation")]["cross_entropy"].item()
    assert last == pytest.approx(known, abs=0.02)


def test_a_rotated_head_goes_on_from_an_earlier_one():
    features, names = drawn(2, 20, 300, 0.3, 0)
    split = np.where(np.arange(40) % 4 == 0, "validation", "train").astype(object)
    (first,), _ = trainer.train(features, names, split, [FEW_STEPS])
    seen = []
    trainer.train(features, names, split, [FEW_STEPS], start=first, watch=seen.append)
    assert seen[0].head.logits(features) == pytest.approx(first.logits(features), abs=1e-2)
