"""The answer on rare labels: which ones it names and draws, and when there is none."""

import numpy as np
import pandas as pd
import pytest

from retrainlab import plots
from retrainlab.analysis import rarity
from retrainlab.evaluation import curves, scores


def predicted(counts: list[int], gain: list[float]) -> tuple[pd.DataFrame, list[str]]:
    """Images of labels, as many as `counts` says, whose logit is raised by the `gain` of their label."""
    classes, labels = np.repeat(np.arange(len(counts)), counts), [f"kind {place}" for place in range(len(counts))]
    logits = np.random.default_rng(0).normal(0, 1, (len(classes), len(counts)))
    logits[np.arange(len(classes)), classes] += np.array(gain)[classes]
    known = pd.DataFrame({"path": "x", "label": np.array(labels, dtype=object)[classes], "split": "test"})
    return scores.predictions(known, logits.astype(np.float32), labels), labels


def drawn(found) -> list[str]:
    return [text.get_text() for text in found.draw()[1].get_legend().get_texts()]


def test_of_two_labels_the_rarer_one_is_drawn():
    found = rarity.rare_labels(*predicted([30, 170], [2, 2]))
    assert found and "Rarer label: 'kind 0', 30 of 200 images." in found.sentence
    assert drawn(found) == ["kind 0 (15.0%)"]
    roc, precision = found.draw()
    rows, labels = predicted([30, 170], [2, 2])
    line = next(line for line in roc.lines if len(line.get_xdata()) > 2)
    assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(found.numbers["area_under_roc"]["value"])
    assert set(found.numbers) == set(curves.rank_figures(rows, labels)) and precision.get_ylabel() == "precision"


def test_of_many_labels_the_five_weakest_are_drawn():
    found = rarity.rare_labels(*predicted([40] * 8 + [0], [9, 9, 9, 0, 2, 1, 1, 2, 9]))
    assert "Mean over 8 labels" in found.sentence and "Weakest label: 'kind 3', 40 of 320 images." in found.sentence
    assert sorted(name.split(" (")[0] for name in drawn(found)) == ["kind 3", "kind 4", "kind 5", "kind 6", "kind 7"]
    assert "unknown" in found.table.to_html()


@pytest.mark.parametrize(("counts", "reason"), [([0, 0], "0 images, of 0 labels"), ([0, 5], "5 images, of 1 labels")])
def test_it_says_why_it_cannot_be_told(counts, reason):
    found = rarity.rare_labels(*predicted(counts, [1, 1]))
    assert not found and reason in str(found) and found.plot() is None


@pytest.mark.parametrize("count", [2, 120])
def test_the_figure_holds_2_and_120_labels(count):
    plots.style()
    rows, labels = predicted([20] * count, [2] * count)
    longer = {label: f"{label} with a very long name, ünïcode and $dollars$" for label in labels}
    rows = rows.replace({"label": longer, "predicted": longer})
    figure = rarity.rare_labels(rows, list(longer.values())).plot()
    figure.canvas.draw()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02
