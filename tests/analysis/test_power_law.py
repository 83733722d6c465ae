import numpy as np
import pytest

from retrainlab.analysis import learning_curve, power_law

PARTS = np.array(learning_curve.FRACTIONS)


def curve(errors, n: int = 4000, members: int = 2, largest: float = 1000) -> learning_curve.LearningCurve:
    """Every member is wrong about the first images, as many as the error says: an exact curve."""
    errors = np.asarray(errors, float)
    hits = np.arange(n) >= np.round(errors * n)[:, None, None]
    hits = np.repeat(hits, members, axis=1).astype(np.float32)
    sizes = largest * (PARTS if len(errors) == 5 else np.arange(1, len(errors) + 1) / len(errors))
    labels = np.where(np.arange(n) % 2, "odd", "even").astype(object)
    return learning_curve.LearningCurve(sizes, hits, np.ones((len(errors), members)), labels, np.arange(n))


@pytest.mark.parametrize(("floor", "slope", "exponent"), [(0.1, 0.05, 0.5), (0.0, 0.1, 0.3), (0.2, 0.02, 1.0)])
def test_an_exact_power_law_is_recovered(floor, slope, exponent):
    found = power_law.fit(curve(floor + slope * PARTS**-exponent))
    now, twice = floor + slope, floor + slope * 2**-exponent
    assert found.errors == pytest.approx(floor + slope * PARTS**-exponent, abs=2e-4)
    assert found.now == pytest.approx(now, abs=0.002) and found.twice == pytest.approx(twice, abs=0.002)
    assert found.gain == pytest.approx(now - twice, abs=0.002)
    assert found.exponent == pytest.approx(exponent, rel=0.15)
    low, high = found.interval
    assert low < now - twice < high
    assert found.tells and str(found).startswith("Twice the training images (2,000) would bring +")


def test_the_law_passes_through_what_it_says_of_now_and_twice():
    found = power_law.fit(curve(0.1 + 0.05 * PARTS**-0.5))
    assert found.error(np.array([1000, 2000])) == pytest.approx([found.now, found.twice])
    law = found.error(np.array([125, 250, 500, 1000, 2000, 4000]))
    assert (np.diff(law) < 0).all() and law[:4] == pytest.approx(found.errors[[0, 1, 2, 4]], abs=0.003)


def test_a_flat_curve_promises_nothing():
    found = power_law.fit(curve([0.2] * 5))
    assert found.gain == pytest.approx(0, abs=0.002) and found.interval[1] < 0.02
    assert found.twice == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize(("n", "tells", "most"), [(10, False, 0.06), (4000, True, 0.001)])
def test_a_perfect_classifier_has_nothing_to_gain(n, tells, most):
    found = power_law.fit(curve([0.0] * 5, n))
    assert found.now == found.twice == found.gain == 0 and (found.errors == 0).all()
    low, high = found.interval
    assert low == 0 and 0 < high < most and found.tells == tells  # ten images, all right, prove little


@pytest.mark.parametrize("n", [1, 2])
def test_a_handful_of_images_tells_nothing(n):
    found = power_law.fit(curve([0.5] * 5, n))
    assert not found.tells and f"cannot be told from {n} images: anything from" in str(found)
    assert found.interval[1] - found.interval[0] > 0.1


@pytest.mark.parametrize("errors", [[0.2], [0.3, 0.2]])
def test_a_curve_takes_three_sizes(errors):
    found = power_law.fit(curve(errors))
    assert not found.tells and np.isnan([found.now, found.twice, found.gain, *found.interval]).all()
    assert found.errors == pytest.approx(errors)
    assert f"cannot be told: there are {len(errors)} different numbers of them" in str(found)


def test_no_image_was_judged():
    one = curve(0.1 + 0.05 * PARTS**-0.5, n=50)
    nothing = power_law.fit(one, np.zeros(50, bool))
    assert nothing.n == 0 and np.isnan(nothing.errors).all() and not nothing.tells
    assert str(nothing).endswith("cannot be told: no image was judged.")
    one.hits[:] = np.nan
    assert str(power_law.fit(one)) == str(nothing)


def test_rows_are_judged_alone():
    """The even images stay as they are, the odd ones become right: the gain is theirs."""
    one = curve([0.4] * 5)
    one.hits[:] = np.arange(4000) % 2 == 0
    one.hits[:, :, 1::2] = curve(0.1 + 0.1 * PARTS**-0.5, 2000).hits
    odd, even = (power_law.fit(one, one.labels == label) for label in ("odd", "even"))
    assert (odd.n, even.n) == (2000, 2000) and even.gain == 0 and (even.errors == 0).all()
    assert odd.errors == pytest.approx(0.1 + 0.1 * PARTS**-0.5, abs=1e-3)
    assert odd.gain == pytest.approx(0.1 * (1 - 2**-0.5), abs=0.003)


def test_images_of_a_group_count_as_one():
    one = curve(0.1 + 0.1 * PARTS**-0.5, n=400)
    tied = learning_curve.LearningCurve(one.sizes, one.hits, one.train_accuracy, one.labels, np.arange(400) // 20)
    narrow, wide = (np.ptp(power_law.fit(each).interval) for each in (one, tied))
    assert wide > 1.5 * narrow
