"""Figures that show images: the pictures that they are given, under the right captions."""

import numpy as np
import pandas as pd
import pytest
from figures import fake_predictions, inside, titles

from retrainlab import plots
from retrainlab.images import overview, scanning
from retrainlab.pixels import decoding, distortions

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 40, 60, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _style():
    plots.style()


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
    distortion, folder = distortions.Distortion(random_brightness=50), decoding.ImageFolder(path.parent)
    pictures = distortions.examples(folder, path.name, size, distortion, scanning.load(photos).images["sha256"][0], 40)
    assert pictures.shape == (12, *size, 3) and pictures.dtype == np.uint8
    assert (pictures[0] == decoding.read_pixels(path, size)).all() and np.ptp(pictures.mean(axis=(1, 2, 3))) > 20
    assert titles(plots.distorted(pictures, path.name)) == ["as it is", *(f"variant {n}" for n in range(1, 12))]


@pytest.mark.parametrize(
    ("labels", "count"), [(["a", "b"], 12), (["a", "b"], 1), (["n02099601-golden_retriever with a long name", "b"], 3)]
)
def test_mistakes_stand_beside_what_lies_nearest(labels, count):
    predicted = fake_predictions(labels)
    wrong = predicted[predicted["label"] != predicted["predicted"]].head(count)
    near = [[("near.png", labels[0], 0.5), ("next.png", labels[1], 0.75)]] * count
    axes = plots.mistakes(wrong, near, [[PICTURES[0], PICTURES[1][:20], PICTURES[2]]] * count)
    assert axes.shape[1] == 3 and sum(bool(ax.images) for ax in axes.flat) == 3 * count
    first, said = wrong.iloc[0], titles(axes)
    plain = [" ".join(text.split()) for text in said]
    assert plain[0].startswith(first["label"][:19]) and plain[0].endswith(f" {first['probability']:.0%}")
    assert plain[2] == "b distance 0.75" and max(len(line) for text in said for line in text.split("\n")) <= 21
    assert axes[0, 1].images[0].get_array().shape == (20, 60, 3)  # in its own proportions
    assert [axes[0, n].title.get_color() == "#d55e00" for n in (1, 2)] == [
        name == first["predicted"] for name in labels
    ]
    assert inside(axes[0, 0].figure.figure)


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
