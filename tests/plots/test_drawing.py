import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager

from retrainlab.evaluation import scores
from retrainlab.plots import drawing, overfit


@pytest.fixture(autouse=True)
def _style():
    drawing.style()


def fake_predictions(labels: list[str], n=400, seed=0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    classes = random.integers(0, len(labels), n)
    logits = random.normal(0, 1, (n, len(labels))).astype(np.float32)
    logits[np.arange(n), classes] += 2
    table = pd.DataFrame({"path": "x", "label": np.array(labels, dtype=object)[classes],
                          "split": random.choice(["train", "validation", "test"], n)})  # fmt: skip
    return scores.predictions(table, logits, labels)


def inside(figure) -> bool:
    """Is all that is drawn, names and legends too, within the figure's bounds (to a pixel)?"""
    figure.canvas.draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) > -0.02


@pytest.mark.parametrize("count", [2, 12, 120])
@pytest.mark.parametrize("wide", [False, True], ids=["short names", "long names"])
def test_figures_of_labels_hold_2_and_120(count, wide):
    labels = [f"label {n:03}" + " with a very long name, ünïcode and $dollars$ \t<b>" * wide for n in range(count)]
    predicted = fake_predictions(labels)
    counts = pd.crosstab(predicted["label"], predicted["split"]).assign(total=lambda t: t.sum(axis=1))
    for ax in (
        drawing.image_counts(counts),
        drawing.per_label(scores.per_label(predicted, labels)),
        drawing.confusion(scores.confusion(predicted, labels)),
        drawing.bottleneck_map(np.random.default_rng(0).normal(size=(400, 2)), predicted["label"]),
    ):
        assert inside(ax.figure)


def test_training_is_solid_and_validation_dashed():
    history = pd.DataFrame({"step": [5, 10] * 2, "split": ["train"] * 2 + ["validation"] * 2,
                            "accuracy": [0.1, 0.9, 0.1, 0.8], "cross_entropy": [2, 1, 2, 1.5]})  # fmt: skip
    styles = {line.get_label(): line.get_linestyle() for line in drawing.curves(history, "accuracy").lines}
    assert styles == {"train": "-", "validation": "--"}


def test_figures_draw_on_the_axes_they_are_given():
    _, ax = plt.subplots()
    metrics = scores.summarise(fake_predictions(["a", "b"]), ["a", "b"])
    assert drawing.accuracies(metrics, {"others": 0.5}, ax=ax) is ax and ax.lines
    metrics["test"] = {"n": 0, "accuracy": None, "interval": None, "cross_entropy": None}
    assert len(drawing.accuracies(metrics).get_yticks()) == 2


def test_galleries_and_label_bars(photos):
    paths = sorted(photos.glob("red/*"))[:7]
    axes = drawing.gallery(paths, [f"caption {n}" for n in range(7)], "title", columns=3)
    assert axes.shape == (3, 3) and sum(bool(ax.images) for ax in axes.flat) == 7
    table = pd.DataFrame({"path": [str(paths[0])] * 2, "rank": [1, 2], "label": ["a", "b"], "probability": [0.9, 0.1]})
    assert drawing.label_bars(table).shape == (1, 2)


def test_short_keeps_control_characters_off_axes():
    assert drawing.short("a\tb\nc") == "a b c"
    assert len(drawing.short("x" * 99)) == 28


def test_labels_in_chinese_are_drawn_where_a_font_for_them_is_here(recwarn):
    if not any("CJK" in font for font in font_manager.get_font_names()):
        pytest.skip("no Noto CJK font here; .ci/run installs one")
    recwarn.clear()
    ax = drawing.per_label(pd.DataFrame({"n": [1], "accuracy": [1.0], "low": [0.2], "high": [1.0]}, index=["猫"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [])  # `style` hushes the warning that is looked for
        ax.figure.canvas.draw()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


@pytest.mark.parametrize("worst", [0.5, 0.7, 0.85])
@pytest.mark.parametrize("count", [2, 60])
def test_both_ends_of_the_settings_path_are_within_its_axes(worst, count):
    """As it is, a run may be far worse than what was chosen, and a few settings far worse than both."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"weight_decay": np.resize([0.0, 0.01, 0.1], count),
                          "train accuracy": random.uniform(0.9, 1, count),
                          "validation accuracy": random.uniform(0.3, 0.88, count)})  # fmt: skip
    table.loc[0, "validation accuracy"], table.loc[1, "validation accuracy"] = worst, 0.9
    ax = overfit.settings_path(table, table.loc[0], table.loc[1])
    low, high = ax.get_ylim()
    assert min(worst, 0.78) - 0.1 < low < worst < 0.9 < high
    assert inside(ax.figure)
