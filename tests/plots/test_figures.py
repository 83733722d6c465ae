"""Figures of tables: with 2 and with many labels, nothing cut off, and what is drawn is what was measured."""

import numpy as np
import pandas as pd
import pytest
from figures import fake_predictions, inside

from retrainlab import plots
from retrainlab.evaluation import calibration, scores


@pytest.fixture(autouse=True)
def _style():
    plots.style()


@pytest.mark.parametrize("count", [2, 12, 120])
@pytest.mark.parametrize("wide", [False, True], ids=["short names", "long names"])
def test_figures_of_labels_hold_2_and_120(count, wide):
    labels = [f"label {n:03}" + " with a very long name, ünïcode and $dollars$ \t<b>" * wide for n in range(count)]
    predicted = fake_predictions(labels)
    counts = pd.crosstab(predicted["label"], predicted["split"]).assign(total=lambda t: t.sum(axis=1))
    for ax in (
        plots.image_counts(counts),
        plots.per_label(scores.per_label(predicted, labels)),
        plots.confusion(scores.confusion(predicted, labels)),
        plots.bottleneck_map(np.random.default_rng(0).normal(size=(400, 2)), predicted["label"]),
        plots.reliability(calibration.reliability(predicted)),
        plots.accuracies(scores.summarise(predicted, labels), {"a method": 0.5, "another": 0.7}),
    ):
        assert inside(ax.figure)


def test_training_is_solid_and_validation_dashed():
    history = pd.DataFrame({"step": [5, 10] * 2, "split": ["train"] * 2 + ["validation"] * 2,
                            "accuracy": [0.1, 0.9, 0.1, 0.8], "cross_entropy": [2, 1, 2, 1.5]})  # fmt: skip
    styles = {line.get_label(): line.get_linestyle() for line in plots.curves(history, "accuracy").lines}
    assert styles == {"train": "-", "validation": "--"}


@pytest.mark.parametrize("quantity", ["accuracy", "cross_entropy"])
def test_the_untrained_layer_does_not_squeeze_the_curves(quantity):
    history = pd.DataFrame({"step": [0, 5, 10] * 2, "split": ["train"] * 3 + ["validation"] * 3,
                            "accuracy": [0.1, 0.8, 0.9] * 2, "cross_entropy": [9, 1, 0.5] * 2})  # fmt: skip
    low, high = plots.curves(history, quantity).get_ylim()
    assert high - low < 1 and low < history[quantity][1] < high


def test_choices_mark_the_chosen_one():
    table = pd.DataFrame({"weight_decay": [0, 0.001, 0.1], "train cross_entropy": [0.1, 0.2, 0.3],
                          "validation cross_entropy": [0.4, 0.3, 0.5]})  # fmt: skip
    ax = plots.choices(table, "weight_decay", 1)
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines["chosen"].get_xdata()) == [1, 1] and list(lines["validation"].get_ydata()) == [0.4, 0.3, 0.5]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "0.001", "0.1"]
    assert ax.get_title(loc="left") == "Weight decay, tried side by side" and inside(ax.figure)


def test_differences_are_drawn_in_points_and_those_without_images_left_out():
    change = {"accuracy": 0.02, "interval": [-0.01, 0.05]}
    changes = {"flip_left_right": change, "none": {"accuracy": None, "interval": None}, "a name " * 20: change}
    ax = plots.differences(changes, "Change")
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"] == [2, 2]
    assert [bar.get_segments()[0][:, 0].tolist() for bar in ax.collections] == [[-1, 5]] * 2
    assert ax.get_yticklabels()[0].get_text() == "flip left right" and inside(ax.figure)


def test_splits_without_images_are_left_out():
    metrics = scores.summarise(fake_predictions(["a", "b"]), ["a", "b"])
    metrics["test"] = {"n": 0, "accuracy": None, "interval": None, "cross_entropy": None}
    assert len(plots.accuracies(metrics).get_yticks()) == 2
