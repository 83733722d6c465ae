"""Groups of images with more mistakes than chance are found, and none where there is none."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_folder
from PIL import Image

from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.trust import slices


def made_up(seed, planted, n=800):
    """Properties that say nothing of mistakes but, where it is planted, one: a fifth of the images fails more often."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame({f"number {column}": random.normal(0, 1, n) for column in range(5)})
    table["camera"] = random.choice(["a", "b", "c", "d", "e"], n)
    right = random.random(n) < 0.88
    weak = (table["camera"] == "a").to_numpy()
    return np.where(weak & planted, random.random(n) < 0.65, right), table


def test_a_planted_weak_slice_is_found_and_nobody_cries_wolf():
    found, false = 0, 0
    for seed in range(20):
        right, table = made_up(seed, planted=True)
        told = slices.where_it_fails(right, table, np.arange(len(right)))
        found += "camera: a" in told.numbers["weak_slices"]
        right, table = made_up(100 + seed, planted=False)
        false += bool(slices.where_it_fails(right, table, np.arange(len(right))).numbers["weak_slices"])
    assert found >= 18 and false <= 1


def test_what_is_found_is_said_with_its_numbers():
    right, table = made_up(0, planted=True)
    told = slices.where_it_fails(right, table, np.arange(len(right)))
    mine = (table["camera"] == "a").to_numpy()
    assert f"camera: a: {right[mine].mean():.1%} right of {mine.sum()}, others {right[~mine].mean():.1%}" in str(told)
    row = told.details.set_index("group").loc["camera: a"]
    assert row["difference"]["accuracy"] == pytest.approx(right[mine].mean() - right[~mine].mean())
    assert told.details["p"].is_monotonic_increasing and told.plot().axes
    assert told.numbers["looked_at"] == 25


def test_groups_are_parts_and_are_named_for_people():
    table = pd.DataFrame({"brightness": np.arange(100.0), "format": [".png"] * 90 + [".jpg"] * 10})
    groups = slices.candidates(table)
    assert list(groups)[0] == "brightness: lowest quarter (0 to 24)" and groups[list(groups)[0]].sum() == 25
    assert not [name for name in groups if name.startswith("format")]  # one is nearly all, the other a few
    assert slices.candidates(pd.DataFrame({"n": np.ones(50)})) == {}


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong(right):
    _, table = made_up(1, planted=False)
    told = slices.where_it_fails(np.full(800, right), table, np.arange(800))
    assert told.numbers["weak_slices"] == {} and "No group of images has more mistakes" in str(told)


def test_too_few_images():
    right, table = made_up(1, planted=False, n=10)
    with pytest.raises(RetrainLabError, match="no group of 20"):
        slices.where_it_fails(right, table, np.arange(10))


def test_images_are_described(tmp_path):
    make_folder(tmp_path, {"ant": 6, "bee": 6})
    tags = Image.Exif()
    tags[272], tags[306] = "Box Brownie", "2026:05:04 10:00:00"
    Image.new("RGB", (20, 60), "white").save(tmp_path / "ant" / "IMG_0001.jpg", exif=tags)
    images = scanning.load(tmp_path, 0, 0).images
    found = slices.describe(images, ImageFolder.of(tmp_path, images), np.random.default_rng(0).random((13, 4)))
    mine = found[images["path"].to_numpy() == "ant/IMG_0001.jpg"].iloc[0]
    assert mine["camera"] == "Box Brownie" and mine["day"] == "2026-05-04" and mine["name begins with"] == "IMG"
    assert mine["brightness"] == pytest.approx(255, abs=1) and mine["sharpness"] == pytest.approx(0, abs=1)
    assert mine["width to height"] == pytest.approx(1 / 3) and mine["format"] == ".jpg"
    assert "cluster of like images" not in found  # 13 images are one
