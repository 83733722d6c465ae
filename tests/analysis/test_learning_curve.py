import warnings
from itertools import pairwise

import numpy as np
import pytest

from retrainlab.analysis import learning_curve
from retrainlab.analysis.resampling import repeated_folds
from retrainlab.training import heads, trainer

QUICK = heads.HeadSettings(how_many_training_steps=200)
PARTS = np.array([1 / 8, 1 / 4, 1 / 2, 3 / 4, 1])


def curve(errors, n: int = 4000, members: int = 2, largest: float = 1000) -> learning_curve.DataCurve:
    """Every member is wrong about the first images, as many as the error says: an exact curve."""
    errors = np.asarray(errors, float)
    hits = np.arange(n) >= np.round(errors * n)[:, None, None]
    hits = np.repeat(hits, members, axis=1).astype(np.float32)
    sizes = largest * (PARTS if len(errors) == 5 else np.arange(1, len(errors) + 1) / len(errors))
    labels = np.where(np.arange(n) % 2, "odd", "even").astype(object)
    return learning_curve.DataCurve(sizes, hits, np.ones((len(errors), members)), labels, np.arange(n))


def blobs(n: int = 240, dim: int = 8, labels: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    classes = np.arange(n) % labels
    features = random.normal(0, 1, (n, dim)) + 1.2 * np.eye(labels, dim)[classes]
    return features.astype(np.float32), np.array([f"label {c}" for c in classes])


def folds(labels, count: int = 5):
    return repeated_folds(labels, np.arange(len(labels)), np.full(len(labels), "train"), count)


# --------------------------------------------------------------------------------------------- fit


@pytest.mark.parametrize(("floor", "slope", "exponent"), [(0.1, 0.05, 0.5), (0.0, 0.1, 0.3), (0.2, 0.02, 1.0)])
def test_an_exact_power_law_is_recovered(floor, slope, exponent):
    found = learning_curve.fit(curve(floor + slope * PARTS**-exponent))
    now, twice = floor + slope, floor + slope * 2**-exponent
    assert found.errors == pytest.approx(floor + slope * PARTS**-exponent, abs=2e-4)
    assert found.now == pytest.approx(now, abs=0.002) and found.twice == pytest.approx(twice, abs=0.002)
    assert found.gain == pytest.approx(now - twice, abs=0.002)
    assert found.exponent == pytest.approx(exponent, rel=0.15)
    (low, high), (least, most) = found.twice_interval, found.gain_interval
    assert low < twice < high and least < now - twice < most
    assert found.tells and "Twice the training images (2,000) would bring +" in found.sentence


def test_the_law_passes_through_what_it_says_of_now_and_twice():
    found = learning_curve.fit(curve(0.1 + 0.05 * PARTS**-0.5))
    assert found.error(np.array([1000, 2000])) == pytest.approx([found.now, found.twice])
    law = found.error(np.array([125, 250, 500, 1000, 2000, 4000]))
    assert (np.diff(law) < 0).all() and law[:4] == pytest.approx(found.errors[[0, 1, 2, 4]], abs=0.003)


def test_a_flat_curve_promises_nothing():
    found = learning_curve.fit(curve([0.2] * 5))
    assert found.gain == pytest.approx(0, abs=0.002) and found.gain_interval[1] < 0.02
    assert found.twice == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize(("n", "tells", "most"), [(10, False, 0.06), (4000, True, 0.001)])
def test_a_perfect_classifier_has_nothing_to_gain(n, tells, most):
    found = learning_curve.fit(curve([0.0] * 5, n))
    assert found.now == found.twice == found.gain == 0 and (found.errors == 0).all()
    low, high = found.gain_interval
    assert low == 0 and 0 < high < most and found.tells == tells  # ten images, all right, prove little
    assert found.twice_interval[0] == 0 and (found.twice_interval[1] > 0.2) == (high > 0.02) == (n == 10)


@pytest.mark.parametrize("n", [1, 2])
def test_a_handful_of_images_tells_nothing(n):
    found = learning_curve.fit(curve([0.5] * 5, n))
    assert not found.tells and f"cannot be told from {n} images: anything from" in found.sentence
    assert found.gain_interval[1] - found.gain_interval[0] > 0.1
    assert found.twice_interval[1] - found.twice_interval[0] > 0.5


@pytest.mark.parametrize("errors", [[0.2], [0.3, 0.2]])
def test_a_curve_takes_three_sizes(errors):
    found = learning_curve.fit(curve(errors))
    assert not found.tells and np.isnan([found.now, found.twice, found.gain, *found.gain_interval]).all()
    assert found.errors == pytest.approx(errors)
    assert f"cannot be told: there are {len(errors)} different numbers of them" in found.sentence


def test_no_image_was_judged():
    one = curve(0.1 + 0.05 * PARTS**-0.5, n=50)
    nothing = learning_curve.fit(one, np.zeros(50, bool))
    assert nothing.n == 0 and np.isnan(nothing.errors).all() and not nothing.tells
    assert nothing.sentence.endswith("cannot be told: no image was judged.")
    one.hits[:] = np.nan
    assert learning_curve.fit(one).sentence == nothing.sentence


def test_rows_are_judged_alone():
    """The even images stay as they are, the odd ones become right: the gain is theirs."""
    one = curve([0.4] * 5)
    one.hits[:] = np.arange(4000) % 2 == 0
    one.hits[:, :, 1::2] = curve(0.1 + 0.1 * PARTS**-0.5, 2000).hits
    odd, even = (learning_curve.fit(one, one.labels == label) for label in ("odd", "even"))
    assert (odd.n, even.n) == (2000, 2000) and even.gain == 0 and (even.errors == 0).all()
    assert odd.errors == pytest.approx(0.1 + 0.1 * PARTS**-0.5, abs=1e-3)
    assert odd.gain == pytest.approx(0.1 * (1 - 2**-0.5), abs=0.003)


def test_images_of_a_group_count_as_one():
    one = curve(0.1 + 0.1 * PARTS**-0.5, n=400)
    tied = learning_curve.DataCurve(one.sizes, one.hits, one.train_accuracy, one.labels, np.arange(400) // 20)
    narrow, wide = (np.ptp(learning_curve.fit(each).twice_interval) for each in (one, tied))
    assert wide > 2 * narrow


def test_the_weakest_labels_come_first():
    one = curve([0.0] * 5, n=9)
    labels = np.array(list("aaabbbccc"), dtype=object)
    one.hits[-1] = [1, 1, 0, 0, 0, 1, 1, 1, 1]
    one = learning_curve.DataCurve(one.sizes, one.hits, one.train_accuracy, labels, one.groups)
    assert learning_curve.weakest(one) == ["b", "a", "c"] and learning_curve.weakest(one, 1) == ["b"]
    one.hits[:, :, :3] = np.nan  # never validated
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learning_curve.weakest(one) == ["b", "c"]


def test_fits_are_written_for_people():
    known, unknown = learning_curve.fit(curve([0.2] * 5)), learning_curve.fit(curve([0.3, 0.2]))
    table = learning_curve.written({"a": known, "b": unknown})
    assert table.index.tolist() == ["a"]
    row = table.loc["a"]
    assert row["images judged"] == "4,000" and row["error now"] == row["error with twice the images"] == "20.0%"
    assert row["gain"].startswith("+0.0 points [0.0, ")
    assert learning_curve.written({"b": unknown}).empty and learning_curve.written({}).empty


# --------------------------------------------------------------------------------------------- measure


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
    return features, labels, splits, learning_curve.measure(features, labels, splits, QUICK)


def test_more_images_make_fewer_errors(measured):
    _, labels, splits, found = measured
    assert found.sizes == pytest.approx(192 * PARTS, abs=1.5)
    assert found.hits.shape == (5, 10, 240) and found.train_accuracy.shape == (5, 10)
    assert (np.isnan(found.hits) == (splits != "validation")).all()  # judged by those that have not seen it
    errors = 1 - np.nanmean(found.hits, axis=(1, 2))
    assert errors[0] > errors[-1] + 0.05 and errors[-1] < 0.4
    train = found.train_accuracy.mean(axis=1)
    assert train[0] > train[-1] > 1 - errors[-1]  # the gap closes from both sides
    assert learning_curve.fit(found).errors == pytest.approx(errors, abs=1e-6)
    assert learning_curve.fit(found).n == len(labels)


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
    before = learning_curve.measure(features, labels, splits, QUICK, (0.3, 0.6))
    features[split == "test"] = 1e6
    after = learning_curve.measure(features, labels, splits, QUICK, (0.3, 0.6))
    assert np.array_equal(before.hits, after.hits, equal_nan=True) and len(before.sizes) == 3
    assert np.isnan(before.hits[:, :, split == "test"]).all()


def test_constant_features_learn_nothing_from_more_images():
    labels = np.array(["a"] * 90 + ["b"] * 30)
    found = learning_curve.fit(learning_curve.measure(np.ones((120, 4), np.float32), labels, folds(labels), QUICK))
    assert found.errors == pytest.approx([0.25] * 5) and found.now == pytest.approx(0.25, abs=0.01)
    assert found.gain == pytest.approx(0, abs=0.01)


def test_sizes_that_come_out_the_same_are_measured_once():
    features, labels = blobs(12)
    found = learning_curve.measure(features, labels, folds(labels), QUICK)
    assert (np.diff(found.sizes) > 0).all() and len(found.sizes) < 5
    fit = learning_curve.fit(found)
    assert fit.n == 12 and not fit.tells and 0 <= fit.gain <= 1


def test_large_heads_are_trained_apart_with_the_same_outcome(monkeypatch):
    features, labels = blobs(120)
    splits = folds(labels)
    together = learning_curve.measure(features, labels, splits, QUICK, (0.5,))
    monkeypatch.setattr(learning_curve, "_APART", 1)
    apart = learning_curve.measure(features, labels, splits, QUICK, (0.5,))
    known = ~np.isnan(together.hits)
    assert (known == ~np.isnan(apart.hits)).all() and (together.hits[known] == apart.hits[known]).mean() > 0.9
