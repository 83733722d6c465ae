import hashlib

import numpy as np
import pytest
from conftest import make_folder

from retrainlab.bottlenecks import caching, extracting
from retrainlab.bottlenecks.features import with_variants
from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder, read_pixels
from retrainlab.pixels.distortions import Distortion, apply
from retrainlab.pixels.levels import OWN
from retrainlab.training import heads, trainer

SIZE = (20, 30)
DIGESTS = [hashlib.sha256(bytes([number % 256, number // 256])).hexdigest() for number in range(400)]


def pixels_of(height, width):
    return np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3).astype(np.uint8)


def draws(distortion, number=1):
    return [distortion.draw(SIZE, digest, number) for digest in DIGESTS]


def test_nothing_on_changes_nothing():
    nothing = Distortion()
    drawn = nothing.draw(SIZE, DIGESTS[0], 1)
    assert not nothing.active and drawn.resized == SIZE
    assert np.array_equal(apply(pixels_of(*SIZE), drawn, SIZE), pixels_of(*SIZE))


def test_flipping_mirrors_half_of_them():
    found = draws(Distortion(flip_left_right=True))
    assert np.mean([drawn.flip for drawn in found]) == pytest.approx(0.5, abs=0.1)
    flipped = next(drawn for drawn in found if drawn.flip)
    assert np.array_equal(apply(pixels_of(*SIZE), flipped, SIZE), pixels_of(*SIZE)[:, ::-1])


def test_cropping_cuts_a_box_of_the_modules_size_from_a_larger_image():
    found = draws(Distortion(random_crop=50))
    assert {drawn.resized for drawn in found} == {(30, 45)}
    assert {drawn.top for drawn in found} == set(range(11)) and {drawn.left for drawn in found} == set(range(16))
    cut = apply(pixels_of(30, 45), found[0], SIZE)
    top, left = found[0].top, found[0].left
    assert np.array_equal(cut, pixels_of(30, 45)[top : top + 20, left : left + 30])


def test_scaling_enlarges_evenly_up_to_its_percentage():
    factors = np.array([drawn.resized[1] / 30 for drawn in draws(Distortion(random_scale=100))])
    assert factors.min() >= 1 and factors.max() <= 2 and factors.mean() == pytest.approx(1.5, abs=0.05)


def test_brightness_multiplies_and_stays_within_bounds():
    found = draws(Distortion(random_brightness=30))
    values = np.array([drawn.brightness for drawn in found])
    assert values.min() >= 0.7 and values.max() <= 1.3 and values.mean() == pytest.approx(1, abs=0.03)
    bright = max(found, key=lambda drawn: drawn.brightness)
    grey = apply(np.full((*SIZE, 3), 100, np.uint8), bright, SIZE)
    assert (grey == round(100 * bright.brightness)).all()
    assert (apply(np.full((*SIZE, 3), 250, np.uint8), bright, SIZE) == 255).all()


def test_the_same_image_and_number_give_the_same_variant():
    distortion = Distortion(True, 10, 10, 10)
    assert draws(distortion) == draws(distortion) and draws(distortion, 1) != draws(distortion, 2)


def test_variants_of_different_distortions_never_share_a_place_in_the_cache():
    some = [Distortion(random_crop=crop, random_scale=scale) for crop in range(20) for scale in range(20)]
    names = {distortion.variant(number) for distortion in some for number in (1, 255)}
    assert len(names) == 800 and 0 not in names and max(names) < 2**31


@pytest.mark.parametrize("wrong", [{"random_crop": -1}, {"random_brightness": 101}])
def test_impossible_percentages(wrong):
    with pytest.raises(RetrainLabError, match="Expected a percentage"):
        Distortion(**wrong)


@pytest.mark.parametrize("number", [0, 256])
def test_impossible_numbers_of_variants(number):
    with pytest.raises(RetrainLabError, match="Expected 1 to 255"):
        Distortion(True).variant(number)


def test_variants_are_computed_once_and_learnt_from(backbone, tmp_path):
    folder = make_folder(tmp_path / "images", {"p": 10, "q": 10}, ("png",))
    table = scanning.load(folder, 20, 20).images
    cache, distortion = caching.open_cache(backbone), Distortion(True, 20, 20, 20)
    extracting.extract(backbone, cache, ImageFolder(folder), table)
    train = table[table["split"] == "train"]
    done = extracting.extract(backbone, cache, ImageFolder(folder), train, distortion, 4)
    assert done.computed == 4 * len(train) and "distorted images" in str(done)
    again = extracting.extract(backbone, caching.open_cache(backbone), ImageFolder(folder), train, distortion, 4)
    assert (again.computed, again.cached) == (0, 4 * len(train))
    features, known = cache.features(table, OWN)
    more, learn = with_variants(cache, features, known, distortion, 4, OWN)
    assert len(more) == len(learn) == len(known) + 4 * len(train)
    assert np.array_equal(more[: len(known)], features)
    first = train.iloc[0]
    drawn = distortion.draw(backbone.image_size, first["sha256"], 1)
    made = apply(read_pixels(folder / first["path"], drawn.resized), drawn, backbone.image_size)
    assert np.array_equal(more[len(known)], backbone.bottlenecks(made[None])[0])


def test_heads_learn_from_distorted_rows_and_measure_on_the_others():
    features = np.array([[1.0], [-1.0]] * 20, np.float32)
    labels = np.array(["a", "b"] * 20)
    split = np.array(["train"] * 20 + ["distorted"] * 20)
    labels[:20] = labels[:20][::-1]  # the train rows say the opposite
    _, history = trainer.train(features, labels, split, [heads.HeadSettings(200)])
    assert set(history["split"]) == {"train"} and history["accuracy"].iloc[-1] == 0


def test_each_distortion_alone():
    both = Distortion(flip_left_right=True, random_crop=10)
    assert both.apart() == {"flip_left_right": Distortion(True), "random_crop": Distortion(random_crop=10)}
    assert Distortion(random_crop=10).apart() == {} == Distortion().apart()
