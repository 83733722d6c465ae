import warnings
from itertools import pairwise

import numpy as np
import pytest

from retrainlab.analysis import learning_curve, power_law
from retrainlab.analysis.resampling import repeated_folds
from retrainlab.training import heads, trainer

QUICK = heads.HeadSettings(how_many_training_steps=200)
PARTS = np.array(learning_curve.FRACTIONS)


def blobs(n: int = 240, dim: int = 8, labels: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    classes = np.arange(n) % labels
    features = random.normal(0, 1, (n, dim)) + 1.2 * np.eye(labels, dim)[classes]
    return features.astype(np.float32), np.array([f"label {c}" for c in classes])


def folds(labels, count: int = 5):
    return repeated_folds(labels, np.arange(len(labels)), np.full(len(labels), "train"), count)


def measure(features, labels, splits, fractions=PARTS) -> learning_curve.LearningCurve:
    return learning_curve.measure(features, labels, splits, QUICK, np.arange(len(labels)), 0, fractions)


def test_draws_are_nested_and_every_label_keeps_an_image():
    random = np.random.default_rng(0)
    labels = random.choice(["many", "some", "few"], 300, p=[0.8, 0.18, 0.02])
    labels[0] = "one"
    own = random.random(300) < 0.8
    own[0] = True
    fractions = [0.01, 0.25, 0.5, 1.0]
    drawn = learning_curve._nested(labels, np.arange(300), own, fractions, np.random.default_rng(1))
    assert (drawn[-1] == own).all()
    for smaller, larger in pairwise(drawn):
        assert (smaller <= larger).all()
    for fraction, mine in zip(fractions, drawn, strict=True):
        for label in ("many", "some", "few", "one"):
            assert mine[labels == label].sum() == max(1, np.round(fraction * own[labels == label].sum()))
    again = learning_curve._nested(labels, np.arange(300), own, fractions, np.random.default_rng(2))
    assert not np.array_equal(drawn, again)


def test_groups_are_drawn_together():
    groups = np.arange(200) // 5
    labels = np.where(groups % 2, "a", "b")
    own = groups < 30
    drawn = learning_curve._nested(labels, groups, own, [0.2, 0.6, 1.0], np.random.default_rng(0))
    for mine, count in zip(drawn, [6, 18, 30], strict=True):
        whole = np.bincount(groups[mine], minlength=40)
        assert set(whole) <= {0, 5} and (whole > 0).sum() == count


@pytest.fixture(scope="module")
def measured():
    features, labels = blobs()
    splits = folds(labels, 10)
    return features, labels, splits, measure(features, labels, splits)


def test_more_images_make_fewer_errors(measured):
    _, labels, splits, found = measured
    assert found.sizes == pytest.approx(192 * PARTS, abs=1.5)
    assert found.hits.shape == (5, 10, 240) and found.train_accuracy.shape == (5, 10)
    assert (np.isnan(found.hits) == (splits != "validation")).all()  # judged by those that have not seen it
    errors = 1 - np.nanmean(found.hits, axis=(1, 2))
    assert errors[0] > errors[-1] + 0.05 and errors[-1] < 0.4
    train = found.train_accuracy.mean(axis=1)
    assert train[0] > train[-1] > 1 - errors[-1]  # the gap closes from both sides
    assert power_law.fit(found).errors == pytest.approx(errors, abs=1e-6)
    assert power_law.fit(found).n == len(labels)


def test_the_largest_size_is_what_cross_validation_shows(measured):
    features, labels, splits, found = measured
    heads_of_five, _ = trainer.train(features, labels, splits[:5], [heads.HeadSettings(200, train_batch_size=125)] * 5)
    for head, own, hits in zip(heads_of_five, splits, found.hits[-1], strict=False):
        mine = own == "validation"
        right = np.array(head.labels)[head.logits(features[mine]).argmax(axis=1)] == labels[mine]
        assert (right == hits[mine]).mean() > 0.95


def test_the_same_seed_gives_the_same_curve_and_test_images_take_no_part():
    features, labels = blobs(120)
    split = np.where(np.arange(120) % 4 == 0, "test", "train")
    splits = repeated_folds(labels, np.arange(120), split, 5)
    before = measure(features, labels, splits, (0.3, 0.6, 1))
    features[split == "test"] = 1e6
    after = measure(features, labels, splits, (0.3, 0.6, 1))
    assert np.array_equal(before.hits, after.hits, equal_nan=True) and len(before.sizes) == 3
    assert np.isnan(before.hits[:, :, split == "test"]).all()


def test_constant_features_learn_nothing_from_more_images():
    labels = np.array(["a"] * 90 + ["b"] * 30)
    found = power_law.fit(measure(np.ones((120, 4), np.float32), labels, folds(labels)))
    assert found.errors == pytest.approx([0.25] * 5) and found.now == pytest.approx(0.25, abs=0.01)
    assert found.gain == pytest.approx(0, abs=0.01)


def test_sizes_that_come_out_the_same_are_measured_once():
    features, labels = blobs(12)
    found = measure(features, labels, folds(labels))
    assert (np.diff(found.sizes) > 0).all() and len(found.sizes) < 5
    fit = power_law.fit(found)
    assert fit.n == 12 and not fit.tells and 0 <= fit.gain <= 1


def test_large_heads_are_trained_apart_with_the_same_outcome(monkeypatch):
    features, labels = blobs(120)
    splits = folds(labels)
    together = measure(features, labels, splits, (0.5, 1))
    monkeypatch.setattr(learning_curve, "_APART", 1)
    apart = measure(features, labels, splits, (0.5, 1))
    known = ~np.isnan(together.hits)
    assert (known == ~np.isnan(apart.hits)).all() and (together.hits[known] == apart.hits[known]).mean() > 0.9


def test_the_weakest_labels_come_first():
    hits = np.ones((1, 2, 9), np.float32)
    hits[0, :, 2:5] = 0
    labels = np.array(list("aaabbbccc"), dtype=object)
    one = learning_curve.LearningCurve(np.ones(1), hits, np.ones((1, 2)), labels, np.arange(9))
    assert learning_curve.weakest(one) == ["b", "a", "c"] and learning_curve.weakest(one, 1) == ["b"]
    hits[:, :, :3] = np.nan  # never validated
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learning_curve.weakest(one) == ["b", "c"]
