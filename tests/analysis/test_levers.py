import numpy as np
import pytest
from test_resampling import folds

from retrainlab.analysis import advice, levers
from retrainlab.errors import RetrainLabError
from retrainlab.training.heads import HeadSettings

SETTINGS = HeadSettings(weight_decay=0.1)


def planted(n=160, seed=0):
    """Labels; features that say a little of them; the same with more that says much; the same with noise."""
    random = np.random.default_rng(seed)
    labels = np.resize(["a", "b"], n)
    signs = np.where(labels == "a", 1, -1)[:, None]
    weak = random.normal(0, 1, (n, 20)) + 0.25 * signs * (np.arange(20) < 4)
    telling = random.normal(0, 1, (n, 20)) + 0.9 * signs * (np.arange(20) < 4)
    noise = random.normal(0, 1, (n, 20))
    both = [np.concatenate([weak, more], axis=1).astype(np.float32) for more in (telling, noise)]
    return labels, weak.astype(np.float32), *both


def test_the_lever_that_helps_is_named_and_the_one_that_does_not_is_not():
    right = 0
    for seed in range(10):
        labels, weak, better, noisy = planted(seed=seed)
        others = {"better": better, "noisy": noisy}
        found = levers.compare(weak, others, labels, folds(labels), SETTINGS, np.arange(len(labels)))
        first = advice.rank(advice.candidates({**found.numbers}))[0]
        right += first["what"] == "better" and first["interval"][0] > 0
        assert found.numbers["readings"]["noisy"]["interval"][0] < 0
    assert right >= 9


def test_the_same_reading_wins_nothing():
    labels, weak, *_ = planted()
    found = levers.compare(weak, {"same": weak}, labels, folds(labels), SETTINGS, np.arange(len(labels)))
    assert found.numbers["readings"]["same"]["accuracy"] == 0
    assert str(found).startswith("same: validation accuracy +0.0 points")


def test_one_fold_cannot_tell():
    labels, weak, better, _ = planted()
    with pytest.raises(RetrainLabError, match="Expected at least two"):
        levers.compare(weak, {"better": better}, labels, folds(labels)[:1], SETTINGS, np.arange(len(labels)))


def test_what_is_not_read_yet_and_what_there_is_time_for():
    plain = levers.worth_reading("last", False)
    assert list(plain.values()) == [
        {"depth": "all"},
        {"average_views": True},
        {"depth": "all", "average_views": True},
    ]
    assert list(levers.worth_reading("all", False).values()) == [{"average_views": True}]
    assert levers.worth_reading("all", True) == {}
    assert levers.in_time(list(plain), 6000, 10, 1, 10) == list(plain)[:1]  # a minute; two with mirror images
    assert levers.in_time(list(plain), 6000, 10, 1, 9) == []
