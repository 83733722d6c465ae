"""Figures of 04_overfitting: nothing cut off, and what is drawn is what was measured."""

import numpy as np
import pandas as pd
import pytest
from figures import inside

from retrainlab import plots


@pytest.fixture(autouse=True)
def _style():
    plots.style()


def accuracy(value: float) -> dict:
    return {"accuracy": value, "interval": [value - 0.05, value + 0.05]}


def test_the_gap_lies_between_both_accuracies():
    rows = {"this run": {"train": accuracy(0.9), "validation": accuracy(0.7)},
            "10 with shuffled labels": {"train": accuracy(0.6), "validation": accuracy(0.5)}}  # fmt: skip
    ax = plots.gaps(rows, 0.5)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(rows)
    dots = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert dots["train"] == [0.9, 0.6] and dots["validation"] == [0.7, 0.5] and inside(ax.figure)


def test_bands_hold_the_re_splits_but_not_the_untrained_layer():
    history = pd.DataFrame([(member, step, split, 0.5 + 0.1 * member + step / 100, 1.0)
                            for member in range(3) for step in (0, 10, 20) for split in ("train", "validation")],
                           columns=["member", "step", "split", "accuracy", "cross_entropy"])  # fmt: skip
    ax = plots.bands(history, "accuracy", mark=10)
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines["train"].get_xdata()) == [10, 20] and lines["train"].get_ydata() == pytest.approx([0.7, 0.8])
    assert lines["validation"].get_linestyle() == "--" and "over 3 re-splits" in ax.get_title(loc="left")
    assert plots.bands(history, "cross_entropy").get_ylabel() == "cross-entropy (nats)" and inside(ax.figure)


@pytest.mark.parametrize("worst", [0.5, 0.7, 0.85])
@pytest.mark.parametrize("count", [2, 60])
def test_both_ends_of_the_settings_path_are_within_its_axes(worst, count):
    """As it is, a run may be far worse than what was chosen, and a few settings far worse than both."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"weight_decay": np.resize([0.0, 0.01, 0.1], count),
                          "train accuracy": random.uniform(0.9, 1, count),
                          "validation accuracy": random.uniform(0.3, 0.88, count)})  # fmt: skip
    table.loc[0, "validation accuracy"], table.loc[1, "validation accuracy"] = worst, 0.9
    ax = plots.settings_path(table, table.loc[0], table.loc[1])
    low, high = ax.get_ylim()
    assert min(worst, 0.78) - 0.1 < low < worst < 0.9 < high
    assert inside(ax.figure)


@pytest.mark.parametrize("told", [True, False])
def test_the_learning_curve_ends_at_twice_the_images_where_that_is_told(told):
    measured = pd.DataFrame({"images": [100, 200, 400], "train": [1, 0.9, 0.85], "validation": [0.6, 0.7, 0.75]})
    law = pd.DataFrame({"images": [100, 400, 800], "accuracy": [0.6, 0.75, 0.8]}) if told else None
    ax = plots.learning_curve(measured, law, (0.77, 0.82))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "200", "400", "800"][: 3 + told]
    assert inside(ax.figure)


@pytest.mark.parametrize("count", [2, 120])
def test_what_is_memorised_is_shown_worst_first(count):
    table = pd.DataFrame({"n": 9, "memorised": 0.5, "low": 0.2, "high": 0.8}, [f"label {n}" for n in range(count)])
    ax = plots.memorised(table)
    assert ax.get_yticklabels()[0].get_text() == "label 0 (n = 9)" and len(ax.get_yticks()) == min(count, 15)
    assert inside(ax.figure)
