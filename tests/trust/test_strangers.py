"""What is unlike everything that was learnt from is found, and usual images are not taken for it."""

import numpy as np
import pytest

from retrainlab.trust import batches, foreign, likeness


def blobs(n, labels=4, dim=60, seed=0, spread=1.0, shift=0.0):
    """Labels lie apart in the first dimensions; images vary in all."""
    random = np.random.default_rng(seed)
    classes = np.arange(n) % labels
    return (random.normal(0, spread, (n, dim)) + 4 * np.eye(labels, dim)[classes] + shift).astype(np.float32), classes


def test_places_keep_what_is_alike():
    points, _ = blobs(300)
    like = likeness.learn(points)
    rows, far = like.nearest(like.place(points), 3)
    assert rows[:, 0].tolist() == list(range(300)) and far[:, 0].max() < 0.01 and (np.diff(far, axis=1) >= 0).all()
    standard = np.clip((points - like.mean) / like.deviation, -5, 5)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    exact = np.linalg.norm(standard[:, None] - standard, axis=2)
    assert np.take_along_axis(exact, rows, 1) == pytest.approx(far, abs=0.01)  # all directions are kept here


def test_more_features_than_images_and_constant_ones():
    points, _ = blobs(20, dim=300)
    points[:, 100:] = 7
    like = likeness.learn(points)
    assert like.place(points)[:, -1].max() < 0.01  # nothing lies outside of what was learnt from
    same = likeness.learn(np.ones((5, 8), np.float32))
    assert np.isfinite(same.place(np.zeros((2, 8), np.float32))).all()
    rows, _ = same.nearest(same.place(np.ones((1, 8), np.float32)), 9)
    assert rows.shape == (1, 5)
    one = likeness.learn(points[:1])
    assert one.nearest(one.place(points), 3)[0].shape == (20, 1)


def test_foreign_images_are_told_from_usual_ones():
    latent, classes = blobs(400, dim=10)
    random = np.random.default_rng(1)
    points = latent @ random.normal(0, 1, (10, 60)).astype(np.float32) + random.normal(0, 0.1, (400, 60))
    like = likeness.learn(points[:300].astype(np.float32))
    usual = like.place(points[300:].astype(np.float32))
    other = blobs(100, dim=10, seed=2)[0] @ random.normal(0, 1, (10, 60)).astype(np.float32)  # seen by another camera
    strange = like.place(other)
    for name, score in foreign.DETECTORS.items():
        told = score(like.places, classes[:300])
        found = foreign.area(told(strange), told(usual))
        assert found > (0.5 if "less" in name else 0.95), name


def test_a_detector_is_chosen_by_labels_that_it_does_not_know():
    points, classes = blobs(400, seed=3)
    held = np.arange(400) >= 300
    like = likeness.learn(points[~held])
    tried = foreign.leave_labels_out(like.place(points), classes, held)
    assert all(len(areas) == 4 for areas in tried.values())
    chosen = foreign.choose(tried)
    assert np.mean(tried[chosen]) == max(np.mean(areas) for areas in tried.values()) > 0.8
    alone = foreign.leave_labels_out(like.place(points), np.zeros(400, int), held)
    assert all(areas == [] for areas in alone.values()) and foreign.choose(alone) == next(iter(foreign.DETECTORS))


def test_false_alarms_are_as_many_as_were_asked_for():
    alarms = []
    for seed in range(20):
        points, classes = blobs(1400, seed=seed)
        like = likeness.learn(points[:300])
        scores = foreign.neighbours(like.places, classes[:300])(like.place(points[300:]))
        alarms.append((scores[100:] > foreign.threshold(scores[:100])).mean())
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.015)
    assert foreign.threshold(np.arange(10.0)) == np.inf  # ten cannot tell what one in twenty is
    assert foreign.area(np.array([2.0, 2.0]), np.array([1.0, 2.0])) == 0.75


def test_equal_batches_seldom_differ_and_shifted_ones_do():
    like = likeness.learn(blobs(500)[0])
    false, found = [], []
    for seed in range(200):
        known, own = blobs(150, seed=1000 + seed)
        batch, taken = blobs(60, seed=5000 + seed)
        given = like.place(known), own
        false.append(batches.differs(like.place(batch), taken, *given, seed=seed) < batches.CHANCE)
        if seed < 20:
            found.append(batches.differs(like.place(batch + 0.5), taken, *given) < batches.CHANCE)
    assert 0.01 <= np.mean(false) <= 0.09 and np.mean(found) >= 0.95


def test_other_shares_of_labels_are_no_alarm():
    like, alarms = likeness.learn(blobs(500)[0]), []
    for seed in range(40):
        known, own = blobs(200, seed=1000 + seed)
        batch, taken = blobs(200, seed=5000 + seed)
        most = (taken == 0) | (np.arange(200) < 40)
        alarms.append(batches.differs(like.place(batch[most]), taken[most], like.place(known), own) < batches.CHANCE)
    assert np.mean(alarms) <= 0.15


def test_batches_that_cannot_be_compared():
    points, classes = blobs(100)
    assert batches.differs(points[:5], classes[:5], points, classes) == 1
    assert batches.differs(points[:50], np.full(50, 9), points, classes) == 1
    assert batches.differs(points[:50], classes[:50], points[:0], classes[:0]) == 1


def test_another_mix_of_labels_is_told_from_the_same_one():
    random = np.random.default_rng(0)
    same = [batches.mixed(*(random.integers(0, 120, n) for n in (60, 400))) for _ in range(100)]
    assert 0 <= np.mean(np.array(same) < batches.CHANCE) <= 0.12
    usual = random.integers(0, 3, 200)
    assert batches.mixed(np.zeros(20, int), usual) < 0.01 and batches.mixed(np.array([5] * 20), usual) < 0.01
    assert batches.mixed(np.zeros(20, int), np.zeros(30, int)) == 1
