import re
from itertools import pairwise

import pytest

from retrainlab.analysis import budget
from retrainlab.errors import RetrainLabError
from retrainlab.training.heads import HeadSettings

COUNTS = ("resplits", "stepped", "shuffled", "folds", "curve", "grouped")


def plan(minutes: float = 12, dim: int = 2048, labels: int = 120, **settings) -> budget.Plan:
    return budget.plan(minutes, HeadSettings(**settings), dim, labels)


def counts(one: budget.Plan) -> list[int]:
    return [getattr(one, name) for name in COUNTS]


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_a_budget_is_above_zero(minutes):
    with pytest.raises(RetrainLabError, match=r"budget_minutes is (0|-1|nan)\. Expected minutes, above 0\."):
        plan(minutes)


def test_two_labels_leave_nothing_out():
    full = plan(12, 1280, 2)
    assert counts(full) == [50, 10, 10, 5, 10, 50] and full.sentence.startswith("No layer is left out: about ")
    assert counts(plan(10_000)) == counts(full)  # no budget buys more


def test_a_smaller_budget_buys_less_and_says_so():
    plans = [plan(minutes) for minutes in (100, 30, 12, 6, 3, 1, 0.01)]
    for more, less in pairwise(plans):
        assert all(a >= b for a, b in zip(counts(more), counts(less), strict=True))
    assert counts(plans[0]) == [50, 10, 10, 5, 10, 50] and counts(plans[-1]) == [5, 5, 2, 2, 5, 5]
    for one in plans[1:]:
        if counts(one) != counts(plans[0]):
            said = f"{one.resplits} re-splits instead of 50, {one.stepped} of them by step instead of 10, "
            said += f"{one.shuffled} with shuffled labels instead of 10"
            assert said in one.sentence and one.sentence.endswith("Intervals are wider for it.")
            assert f"tried on {one.folds} folds instead of 5" in one.sentence
    assert plans[-1].sentence != plans[0].sentence


def test_larger_tasks_take_longer():
    def minutes(**task) -> int:
        return int(re.search(r"about ([\d,]+) ", plan(0.01, **task).sentence)[1])

    small = minutes()
    assert minutes(dim=4096) > small and minutes(labels=240) > small and minutes(train_batch_size=200) > small
    assert minutes(how_many_training_steps=8000) == pytest.approx(2 * small, abs=1)
    assert minutes(hidden_units=1024) > small


def test_settings_are_tried_around_the_present_ones():
    ample, tight = plan(10_000, learning_rate=0.02), plan(0.01, learning_rate=0.02)
    assert ample.learning_rates == tight.learning_rates == [0.2]
    assert 0.0 in ample.weight_decays and max(ample.weight_decays) >= 1
    assert 0.3 in plan(weight_decay=0.3).weight_decays
    assert tight.weight_decays == ample.weight_decays


def test_a_million_images_are_not_split_fifty_times_and_that_is_said():
    one = budget.plan(10_000, HeadSettings(), 1280, 10, 1_000_000)
    assert counts(one) == [10, 10, 10, 5, 10, 10]
    assert one.sentence.startswith(
        "Of 1,000,000 images, 10 re-splits are enough, and are the most. No layer is left out"
    )


def test_the_same_budget_gives_the_same_plan():
    assert plan(5) == plan(5)
