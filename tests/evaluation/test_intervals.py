import numpy as np
import pytest

from retrainlab.evaluation import intervals


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0), (0, 0, 0, 1)],
)
def test_wilson_interval_known_answers(correct, n, low, high):
    """81 of 263 and 0 of 20 stand in Newcombe 1998 (Statistics in Medicine 17:857), table I."""
    assert intervals.wilson_interval(correct, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_interval_holds_what_it_promises():
    random = np.random.default_rng(0)
    low, high = np.transpose([intervals.wilson_interval(hits, 200) for hits in range(201)])
    for p in (0.5, 0.85, 0.98):
        hits = random.binomial(200, p, 4000)
        assert np.mean((low[hits] <= p) & (p <= high[hits])) == pytest.approx(0.95, abs=0.02)


def test_difference_interval_known_answer():
    """56 of 70 against 48 of 80: Newcombe 1998 (Statistics in Medicine 17:873), table II, method 10."""
    assert intervals.difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=6e-5)
    assert intervals.difference_interval(0, 0, 1, 2) == (-1, 1)


def test_paired_difference_known_answers():
    right, wrong = np.ones(100, bool), np.zeros(100, bool)
    change = intervals.paired_difference(right, wrong)
    assert change["accuracy"] == 1 and 0.9 < change["interval"][0] < 1 and change["interval"][1] == 1
    assert intervals.paired_difference(right[:0], wrong[:0]) == {"accuracy": None, "interval": None}
    random = np.random.default_rng(0)
    inside = 0
    for seed in range(200):  # b is right on 80%, a on 5% more and 2% fewer: the true difference is 3 points
        draw = random.choice(4, 500, p=[0.78, 0.05, 0.02, 0.15])
        found = intervals.paired_difference((draw == 0) | (draw == 1), (draw == 0) | (draw == 2), seed)
        inside += found["interval"][0] <= 0.03 <= found["interval"][1]
    assert inside / 200 == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize("n", [1, 14, 20])
def test_classifiers_that_agree_on_few_images_are_not_certainly_equal(n):
    change = intervals.paired_difference(np.ones(n, bool), np.ones(n, bool))
    low, high = change["interval"]
    assert change["accuracy"] == 0 and low == pytest.approx(-high, abs=0.08) and 0.05 < high <= 1
    assert np.ptp(intervals.paired_difference(*[np.ones(10 * n, bool)] * 2)["interval"]) < high - low


def test_intervals_end_exactly_at_0_and_1():
    for n in range(1, 300):
        assert intervals.wilson_interval(0, n)[0] == 0 and intervals.wilson_interval(n, n)[1] == 1
    assert intervals.difference_interval(0, 20, 30, 30)[0] == -1


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (2, 4.303), (5, 2.571), (30, 2.042)])
def test_groups_that_depend_on_one_another_widen_the_interval_by_students_t(freedom, t):
    """As in any table of Student's t; groups of one image each: the plain standard error of a mean, with two more."""
    values = np.resize([-1.0, 0.0, 0.0, 1.0], freedom + 1)
    found = intervals.clustered_mean(values, np.arange(freedom + 1))
    more = np.append(values, [1, -1]) - values.mean()
    half = t * np.sqrt((more**2).sum() * (freedom + 1) / freedom) / (freedom + 1)
    assert found["interval"] == pytest.approx([max(-1, values.mean() - half), min(1, values.mean() + half)], rel=1e-3)
    assert intervals.clustered_mean(values, np.zeros(freedom + 1)) == {"accuracy": None, "interval": None}
