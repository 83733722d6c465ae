"""Groups with more mistakes than chance: planted ones are found, and nobody cries wolf where there are none."""

import gc
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from retrainlab.evaluation.intervals import difference_interval
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.trust import slices


@pytest.fixture(scope="module", autouse=True)
def _little_garbage():
    """Each call of multipletests collects garbage, which takes long with all that pytest has loaded."""
    from statsmodels.stats import multitest, proportion  # noqa: F401

    gc.freeze()
    yield
    gc.unfreeze()


def made_up(random: np.random.Generator, n: int) -> pd.DataFrame:
    """Properties of n images that have nothing to do with one another: 31 groups of 800."""
    numbers = {name: random.normal(100, 20, n) for name in ("brightness", "contrast", "sharpness", "bytes")}
    values = {"folder": list("abcdefgh"), "camera": list("xyz"), "cluster": list("1234")}
    chosen = {name: random.choice(some, n) for name, some in values.items()}
    return pd.DataFrame(numbers | chosen, index=[f"{number}.jpg" for number in range(n)])


def answers(right: np.ndarray) -> pd.DataFrame:
    paths = [f"{number}.jpg" for number in range(len(right))]
    return pd.DataFrame({"path": paths, "label": "a", "predicted": np.where(right, "a", "b")})


def ask(right: np.ndarray, properties: pd.DataFrame):
    return slices.where_it_fails(answers(right), properties, np.arange(len(right)))


def test_a_planted_weakness_is_found():
    found = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        properties = made_up(random, 800)
        night = random.permutation(800) < 160
        properties["day"] = np.where(night, "2024-05-31", "2024-06-01")
        right = random.random(800) < np.where(night, 0.65, 0.88)
        found += "day: 2024-05-31" in ask(right, properties).numbers["weak_groups"]
    assert found >= 18


def test_nobody_cries_wolf():
    cries = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        found = ask(random.random(800) < 0.85, made_up(random, 800))
        assert 25 <= found.numbers["groups_looked_at"] <= 35
        cries += bool(found.numbers["weak_groups"])
    assert cries <= 1


def test_images_that_belong_together_count_as_fewer():
    """100 things of 8 takes each, every thing easy or hard: its folder and brightness are the thing's own."""
    cries = naive = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        thing = np.repeat(np.arange(100), 8)
        looked = slices.candidates(made_up(random, 100).iloc[thing])
        right = random.random(800) < random.beta(2, 0.5, 100)[thing]
        cries += slices.weak(right, looked, thing)["weak"].any()
        if seed < 5:  # without saying what belongs together, as proof that this test can fail
            naive += slices.weak(right, looked, np.arange(800))["weak"].any()
    assert cries <= 1 and naive >= 2


def test_known_numbers_of_one_group():
    """Fisher's tea (1935, The Design of Experiments): 3 of 4 guessed; one-sided p 17 / 70."""
    right = np.array([0, 0, 0, 1, 0, 1, 1, 1], bool)
    members = np.arange(8) < 4
    table = slices.weak(right, {"poured first": members, "poured last": ~members}, np.arange(8))
    first, last = table.loc["poured first"], table.loc["poured last"]
    assert first["p"] == pytest.approx(17 / 70) and first["corrected"] == pytest.approx(34 / 70)
    assert (first["n"], first["accuracy"], first["others"], first["difference"]) == (4, 0.25, 0.75, -0.5)
    assert first["difference low"] < -0.5 < first["difference high"] and last["p"] > 0.9
    assert list(table.index) == ["poured first", "poured last"] and not table["weak"].any()


def test_copies_are_no_further_evidence():
    random = np.random.default_rng(0)
    right, members = random.random(100) < 0.7, np.arange(100) < 30
    once = slices.weak(right, {"some": members}, np.arange(100)).loc["some"]
    copied = slices.weak(np.tile(right, 5), {"some": np.tile(members, 5)}, np.tile(np.arange(100), 5)).loc["some"]
    kept = ["accuracy", "low", "high", "difference low", "difference high", "p", "counts as"]
    assert copied[kept].to_list() == pytest.approx(once[kept].to_list()) and copied["n"] == 150


def test_images_that_are_all_of_one_group_tell_nothing():
    right = np.arange(100) >= 40
    table = slices.weak(right, {"some": ~right}, np.zeros(100))
    assert table["counts as"].item() == 1 and not table["weak"].item()


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong_have_no_weak_group(right):
    found = ask(np.full(800, right), made_up(np.random.default_rng(0), 800))
    assert found.told and found.numbers == {"groups_looked_at": 31, "weak_groups": {}}
    assert str(found) == "No group of images has more mistakes than chance: 31 were looked at."
    assert found.plot() is not None and found.details["p"].eq(1).all()


@pytest.mark.parametrize("n", [0, 1, 10])
def test_few_images_cannot_be_grouped(n):
    found = ask(np.zeros(n, bool), made_up(np.random.default_rng(0), n))
    assert not found and f"these {n} images" in str(found)


def test_no_property_is_said():
    paths = pd.Index([f"{number}.jpg" for number in range(100)])
    assert "No property parts these 100 images" in str(ask(np.ones(100, bool), pd.DataFrame(index=paths)))
    assert not ask(np.ones(100, bool), made_up(np.random.default_rng(0), 100).set_axis(paths + "x"))
    assert slices.weak(np.ones(3, bool), {}, np.arange(3)).empty


def test_the_sentence_names_group_and_price():
    dark = np.arange(800) < 160
    right = np.where(dark, np.arange(800) % 20 < 14, np.arange(800) % 10 < 9)
    properties = pd.DataFrame({"camera": np.where(dark, "N", "C")}, index=answers(right)["path"])
    found = ask(right, properties)
    low, high = difference_interval(112, 160, 576, 640)
    expected = f"70% right of 160, others 90%, -20.0 points [{100 * low:.1f}, {100 * high:.1f}]: beyond chance"
    assert str(found) == f"Images of “camera: N”: {expected} after looking at 1 group."
    assert found.numbers["weak_groups"]["camera: N"]["difference"]["accuracy"] == pytest.approx(-0.2)
    assert json.dumps(found.numbers) and "camera: N" in found._repr_html_()
    properties["day"] = np.where(np.arange(800) < 165, "2024-05-31", "2024-06-01")
    assert "Groups overlap" in str(ask(right, properties))


def test_candidates_are_named_for_people_and_each_is_there_once():
    n = np.arange(100)
    table = pd.DataFrame(
        {
            "brightness": n * 2.0,
            "size": np.where(n < 30, 640_000, 307_200),
            "format": "jpg",
            "camera": [None] * 60 + ["N"] * 25 + ["C"] * 15,
            "name": ["IMG"] * 30 + ["DSC"] * 70,
        }
    )
    found = slices.candidates(table)
    assert list(found) == [
        "brightness: darkest quarter (below 49.5)",
        "brightness: second darkest quarter (49.5 to 99)",
        "brightness: second brightest quarter (99 to 148)",
        "brightness: brightest quarter (from 148)",
        "size: 640,000 pixels",
        "camera: N",
    ]
    assert found["camera: N"].nonzero()[0].tolist() == list(range(60, 85))
    assert np.sum(list(found.values())[:4], axis=0).tolist() == [1] * 100


def test_missing_numbers_are_in_no_quarter():
    table = pd.DataFrame({"brightness": np.where(np.arange(200) < 100, np.nan, np.arange(200.0))})
    members = np.sum(list(slices.candidates(table).values()), axis=0)
    assert members[:100].max() == 0 and members[100:].min() == 1


def save(path: Path, grey: float, model: str | None = None, date: str = "") -> None:
    random = np.random.default_rng(len(path.name))
    pixels = np.clip(random.normal(grey, 10, (60, 80, 3)), 0, 255).astype(np.uint8)
    exif = Image.Exif()
    if model:
        exif[ExifTags.Base.Model] = model
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = date
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)


def test_files_tell_their_properties(tmp_path):
    save(tmp_path / "a" / "IMG_1.JPG", 50, "NIKON  D70\0", "2024:05:31 10:00:00")
    save(tmp_path / "a" / "IMG2.png", 200, "Pixel 8", "0000:00:00 00:00:00")
    save(tmp_path / "b" / "003.png", 200)
    (tmp_path / "b" / "damaged.jpg").write_bytes(b"no image")
    paths = ["a/IMG_1.JPG", "a/IMG2.png", "b/003.png", "b/damaged.jpg"]
    images = pd.DataFrame({"path": paths, "width": pd.array([80, 80, 80, None], "Int32"), "height": 60, "bytes": 5})
    found = slices.describe(images, ImageFolder(tmp_path), np.ones((4, 3), np.float32), 0)
    assert list(found.index) == paths and {"bytes", "cluster"}.isdisjoint(found)  # the same for all, and none
    said = found.astype(object).where(found.notna(), None)
    assert said["camera"].to_list() == ["NIKON D70", "Pixel 8", None, None]
    assert said["day"].to_list() == ["2024-05-31", None, None, None]
    assert said["format"].to_list() == ["jpg", "png", "png", "jpg"] and said["folder"].to_list() == list("aabb")
    assert said["name"].to_list() == ["IMG", "IMG", None, "damaged"] and said["size"].to_list() == [4800] * 3 + [None]
    assert found["brightness"].to_numpy() == pytest.approx([50, 200, 200, 128], abs=2)
    of_all = {"size", "aspect", "format", "name", "folder", "brightness", "contrast", "sharpness", "camera", "day"}
    assert set(found) == of_all


def test_sharpness_and_contrast_order_images(tmp_path):
    board = np.kron(np.indices((12, 12)).sum(0) % 2 * 255, np.ones((8, 8))).astype(np.uint8)
    flat, soft = np.full((96, 96), 90, np.uint8), np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))
    for name, pixels in (("board", board), ("flat", flat), ("soft", soft)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    images = pd.DataFrame({"path": ["flat.png", "soft.png", "board.png"]})
    found = slices.describe(images, ImageFolder(tmp_path), np.ones((3, 2), np.float32), 0)
    assert found["sharpness"].is_monotonic_increasing and found["contrast"].is_monotonic_increasing
    assert found.loc["flat.png", ["sharpness", "contrast"]].to_list() == pytest.approx([0, 0], abs=1e-3)


def test_clusters_are_those_of_the_bottlenecks_the_largest_first():
    random = np.random.default_rng(0)
    kind = random.permutation(np.repeat([0, 1], [130, 70]))
    matrix = (random.normal(0, 1, (200, 64)) + 20 * kind[:, None]).astype(np.float32)
    images = pd.DataFrame({"path": [f"{number}.jpg" for number in range(200)]})
    found = slices.describe(images, None, matrix, 0)
    assert list(found) == ["cluster"] and found["cluster"].nunique() == 2
    assert found["cluster"].str.startswith("1, such as ").to_list() == (kind == 0).tolist()
    pd.testing.assert_frame_equal(found, slices.describe(images, None, matrix, 0))
    assert slices.describe(images.head(0), None, matrix[:0], 0).empty
