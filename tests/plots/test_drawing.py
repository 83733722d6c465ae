import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager

from retrainlab import plots
from retrainlab.evaluation import scores
from retrainlab.images import decoding, distortions, overview, scanning
from retrainlab.plots import overfit
from retrainlab.plots.style import short


@pytest.fixture(autouse=True)
def _style():
    plots.style()


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
        plots.image_counts(counts),
        plots.per_label(scores.per_label(predicted, labels)),
        plots.confusion(scores.confusion(predicted, labels)),
        plots.bottleneck_map(np.random.default_rng(0).normal(size=(400, 2)), predicted["label"]),
    ):
        assert inside(ax.figure)


def test_training_is_solid_and_validation_dashed():
    history = pd.DataFrame({"step": [5, 10] * 2, "split": ["train"] * 2 + ["validation"] * 2,
                            "accuracy": [0.1, 0.9, 0.1, 0.8], "cross_entropy": [2, 1, 2, 1.5]})  # fmt: skip
    styles = {line.get_label(): line.get_linestyle() for line in plots.curves(history, "accuracy").lines}
    assert styles == {"train": "-", "validation": "--"}


def test_figures_draw_on_the_axes_they_are_given():
    _, ax = plt.subplots()
    metrics = scores.summarise(fake_predictions(["a", "b"]), ["a", "b"])
    assert plots.accuracies(metrics, {"others": 0.5}, ax=ax) is ax and ax.lines
    metrics["test"] = {"n": 0, "accuracy": None, "interval": None, "cross_entropy": None}
    assert len(plots.accuracies(metrics).get_yticks()) == 2


def titles(axes) -> list[str]:
    return [ax.get_title(loc="center") for ax in axes.flat if ax.images]


PICTURES = np.random.default_rng(0).integers(0, 256, (12, 40, 60, 3), dtype=np.uint8)


def test_a_gallery_shows_the_pictures_that_it_is_given():
    axes = plots.gallery(PICTURES[:7], [f"caption {n}" for n in range(7)], "title", columns=3)
    assert axes.shape == (3, 3) and titles(axes) == [f"caption {n}" for n in range(7)]
    assert all(
        (ax.images[0].get_array() == picture).all() for ax, picture in zip(axes.flat, PICTURES[:7], strict=False)
    )
    assert inside(axes[0, 0].figure)


@pytest.mark.parametrize(("labels", "said"), [(3, ""), (20, ", of 12 labels")])
def test_samples_are_of_every_label_or_of_the_most_common(labels, said):
    counts = [30 - label for label in range(labels)]
    table = pd.DataFrame({"label": np.repeat([f"label {n:02}" for n in range(labels)], counts), "problem": None})
    drawn = overview.examples(table)
    assert len(drawn) == 12 and drawn["label"].is_monotonic_increasing
    assert set(drawn["label"]) == {f"label {n:02}" for n in range(min(labels, 12))}
    axes = plots.samples(drawn, PICTURES, labels)
    assert titles(axes) == drawn["label"].tolist()
    assert axes[0, 0].figure.get_suptitle() == f"Images drawn at random{said}"


def test_distorted_shows_an_image_and_what_the_backbone_gets(photos):
    path, size = next(photos.glob("red/*")), (32, 24)
    distortion = distortions.Distortion(random_brightness=50)
    pictures = distortions.examples(path, size, distortion, scanning.load(photos)["sha256"][0], 40)
    assert pictures.shape == (12, *size, 3) and pictures.dtype == np.uint8
    assert (pictures[0] == decoding.read_pixels(path, size)).all() and np.ptp(pictures.mean(axis=(1, 2, 3))) > 20
    assert titles(plots.distorted(pictures, path.name)) == ["as it is", *(f"variant {n}" for n in range(1, 12))]


def test_mistakes_are_the_most_confident_ones():
    predicted = fake_predictions(["a", "b"])
    wrong = scores.mistakes(predicted)
    assert len(wrong) == 12 and (wrong["label"] != wrong["predicted"]).all()
    assert wrong["probability"].min() >= predicted.drop(wrong.index).query("label != predicted")["probability"].max()
    first = wrong.iloc[0]
    said = titles(plots.mistakes(wrong, PICTURES))
    assert len(said) == 12 and said[0] == f"{first['label']}\n→ {first['predicted']}\n{first['probability']:.0%}"


def test_suspects_and_near_duplicates_say_how_many_more_there_are():
    doubted = pd.DataFrame({"path": [f"a/{n}.png" for n in range(15)], "label": "a", "suggested": "b"})
    axes = plots.suspects(doubted, PICTURES)
    assert titles(axes) == [f"{n}.png\na\n→ b?" for n in range(12)]
    assert axes[0, 0].figure.get_suptitle() == "Labels in doubt, the 12 likeliest of 15"
    pairs = pd.DataFrame({"path": ["a/1.png", "a/2.png"], "split": ["train", "validation"],
                          "other": ["b/3.png", "b/4.png"], "other split": ["test", "train"]})  # fmt: skip
    axes = plots.near_duplicates(pairs, PICTURES[:4].reshape(2, 2, *PICTURES.shape[1:]))
    assert titles(axes) == ["train\n1.png", "test\n3.png", "validation\n2.png", "train\n4.png"]
    assert axes[0, 0].figure.get_suptitle() == "Near-duplicates in different splits, pair by pair"


def test_label_bars_stand_beside_the_pictures():
    table = pd.DataFrame({"path": ["x/1.png"] * 2 + ["2.png"], "rank": [1, 2, 1], "label": ["a", "b", "a"],
                          "probability": [0.9, 0.1, 1.0]})  # fmt: skip
    axes = plots.label_bars(table, {"x/1.png": PICTURES[0], "2.png": PICTURES[1]})
    assert axes.shape == (2, 2) and titles(axes) == ["1.png", "2.png"]
    assert [[text.get_text() for text in ax.texts] for ax in axes[:, 1]] == [["90.0%", "10.0%"], ["100.0%"]]
    assert inside(axes[0, 0].figure)


def test_short_keeps_control_characters_off_axes():
    assert short("a\tb\nc") == "a b c"
    assert len(short("x" * 99)) == 28


def test_labels_in_chinese_are_drawn_where_a_font_for_them_is_here(recwarn):
    if not any("CJK" in font for font in font_manager.get_font_names()):
        pytest.skip("no Noto CJK font here; .ci/run installs one")
    recwarn.clear()
    ax = plots.per_label(pd.DataFrame({"n": [1], "accuracy": [1.0], "low": [0.2], "high": [1.0]}, index=["猫"]))
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
