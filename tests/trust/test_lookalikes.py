"""Mistakes beside what lies nearest: whose label that has is counted, for wrong answers and for right ones."""

import pandas as pd
import pytest
from conftest import make_image

from retrainlab.pixels.decoding import ImageFolder
from retrainlab.trust import lookalikes


def rows(*told):
    columns = ["path", "label", "predicted", "probability"]
    return pd.DataFrame([(f"{n}.png", *each) for n, each in enumerate(told)], columns=columns)


def near(*labels):
    return [[("near.png", label, 0.5), ("next.png", "bee", 0.6), ("third.png", "bee", 0.7)] for label in labels]


@pytest.fixture
def photos(tmp_path):
    for name in ("0", "1", "2", "3", "near", "next"):
        make_image(0).resize((60, 30)).save(tmp_path / f"{name}.png")
    return ImageFolder(tmp_path)


def test_the_label_of_what_lies_nearest_is_counted(photos):
    told = rows(("ant", "bee", 0.7), ("ant", "bee", 0.9), ("ant", "bee", 0.8), ("bee", "bee", 1), ("ant", "ant", 1))
    found = lookalikes.mistakes(told, near("bee", "ant", "cat", "bee", "bee"), photos)
    numbers = found.numbers["looks_like"]
    assert (numbers["mistakes"]["accuracy"], numbers["mistakes"]["n"]) == (pytest.approx(1 / 3), 3)
    assert (numbers["right"]["accuracy"], numbers["right"]["n"]) == (0.5, 2)
    assert "for 33.3% [" in str(found) and "Of the right answers, 50.0% [" in str(found)
    axes = found.draw()  # the surest first, each with two beside it
    assert axes.shape == (4, 3)
    assert [group[0].get_title(loc="center") for group in axes[:3]] == [f"ant\n→ bee\n{n}%" for n in (90, 80, 70)]
    assert [group[1].get_title(loc="center").split("\n")[0] for group in axes[:3]] == ["ant", "cat", "bee"]
    assert axes[0, 0].images[0].get_array().shape == (82, 165, 3)


def test_no_mistakes_no_right_answers_and_no_images(photos):
    found = lookalikes.mistakes(rows(("ant", "ant", 1)), near("bee"), photos)
    assert found and found.draw is None and str(found) == "There is no mistake among these 1 images."
    found = lookalikes.mistakes(rows(("ant", "bee", 1)), near("bee"), photos)
    assert found.numbers["looks_like"]["right"]["accuracy"] is None and "no images" in str(found) and found.plot()
    assert not lookalikes.mistakes(rows(), [], photos)
