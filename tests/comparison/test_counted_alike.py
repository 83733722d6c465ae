"""Runs compared where every label counts alike: whom a difference is told of, and what is drawn."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from retrainlab import plots
from retrainlab.comparison.counted_alike import counted_alike
from retrainlab.evaluation import curves, scores
from retrainlab.runs.results import Result


def result(
    name: str,
    gain: float,
    labels: tuple[str, ...] = ("crack", "fine"),
    counts: tuple[int, ...] = (40, 260),
    splits: tuple[str, ...] = ("validation", "test"),
    prefix: str = "",
) -> Result:
    """A run whose logits say as much of the own label as `gain`; runs are wrong about much the same images."""
    classes = np.tile(np.repeat(np.arange(len(counts)), counts), len(splits))
    rows = pd.DataFrame({"label": np.array(labels, dtype=object)[classes], "split": np.repeat(splits, sum(counts))})
    rows["path"] = [f"{prefix}{split} {number:04}" for number, split in enumerate(rows["split"])]
    shape = len(classes), len(labels)
    noise = np.random.default_rng(0).normal(0, 1, shape) + np.random.default_rng(len(name)).normal(0, 0.3, shape)
    noise[np.arange(len(classes)), classes] += gain
    predicted = scores.predictions(rows, noise.astype(np.float32), list(labels)).assign(cross_entropy=0.0)
    return Result(name, {"labels": list(labels)}, {}, predicted.sample(frac=1, random_state=len(name)))


def asked(*results: Result, best: str | None = "best", run: str = ""):
    return counted_alike({each.name: each for each in results}, best, run)


def test_figures_are_those_of_the_run_and_differences_those_of_the_same_images():
    best, other = result("best", 3), result("other", 0.5)
    found = asked(best, other)
    table = found.table.data
    rows = best.predictions[best.predictions["split"] == "test"]
    own = curves.rank_figures(rows, ["crack", "fine"])["balanced_accuracy"]
    assert (
        table.loc["best", "balanced accuracy"].startswith(f"{own['value']:.3f} [") and table.loc["best", "n"] == "300"
    )
    assert list(table.index) == ["best", "other"] and table.loc["best", "balanced accuracy − best (points)"] == "–"
    assert table.loc["other", "balanced accuracy − best (points)"].startswith("-") and "On test images" in str(found)
    assert "Balanced accuracy differs from that of 'best' beyond chance: 'other' -" in str(found)
    assert "Average precision differs from that of 'best' beyond chance: 'other' -" in str(found)


def test_only_runs_of_the_same_images_and_labels_are_told_apart():
    strange = result("strange", 1, prefix="other ")
    renamed = result("renamed", 1, ("crack", "good"))
    found = asked(result("best", 3), result("twin", 3), strange, renamed)
    assert "for having other images or labels: 'strange', 'renamed'." in str(found)
    assert (found.table.data.loc[["strange", "renamed"], "average precision − best (points)"] == "–").all()
    assert "Balanced accuracy: no difference to 'best' can be shown." in str(found)
    assert len(found.draw()[1].get_legend().get_texts()) == 2
    nobody = asked(result("a", 3), result("b", 1), best=None)
    assert nobody.draw is None and "best" not in str(nobody) and len(nobody.table.data) == 2


def test_validation_images_judge_where_a_run_has_no_test_images():
    light = result("light", 1, splits=("validation",))
    assert "On validation images" in str(asked(result("best", 3), light))


@pytest.mark.parametrize("count", [0, 1])
def test_it_takes_two_runs(count):
    found = asked(*[result("best", 3)] * count, result("single", 3, counts=(0, 30)))
    assert not found and "It takes two runs" in str(found)


def test_the_named_label_is_drawn_else_the_rarer_one():
    best, other = result("best", 3), result("other", 1)
    assert asked(best, other).draw()[1].get_legend().get_title().get_text() == "runs, for 'crack'"
    some = {"n": 10, "accuracy": 0.9, "interval": [0.6, 0.98]}
    chosen = {"positive_label": "fine", "threshold": 0.2, "at_threshold": {"recall": some, "precision": some}}
    found = asked(replace(best, metrics=best.metrics | {"threshold": chosen}), other)
    assert found.draw()[1].get_legend().get_title().get_text() == "runs, for 'fine'"
    said = "Here 'best' gives its most probable label; in use, 'fine' is said from a probability of 20.0% on"
    assert said in str(found) and "Here 'other'" not in str(found)


@pytest.mark.parametrize("count", [2, 12])
def test_the_figure_holds_2_and_many_runs(count):
    plots.style()
    names = ["best", *(f"a run with a very long name {'x' * n}, ünïcode and $dollars$" for n in range(count - 1))]
    found = asked(*(result(name, 2) for name in names), run=names[-1])
    figure = found.plot()
    figure.canvas.draw()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02 and len(found.table.data) == count
    assert len(found.draw()[1].get_legend().get_texts()) == min(count, 8)
    assert found.draw()[0].lines[2].get_xdata()[0] == 0  # the page's own run comes second, whatever its place


def test_of_many_labels_there_are_figures_and_no_curves():
    labels, counts = tuple(f"kind {n:02}" for n in range(12)), tuple([60] + [8] * 11)
    found = asked(*(result(name, gain, labels, counts) for name, gain in (("best", 3), ("other", 1))))
    assert found and found.draw is None and found.table.data.shape == (2, 8)
