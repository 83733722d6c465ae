import hashlib

import numpy as np
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.pixels.conditions import CONDITIONS, MASKS, Condition
from retrainlab.pixels.distortions import Distortion

HARD = [one for steps in CONDITIONS.values() for one in steps]
ALL = [*HARD, *MASKS.values()]
SHA256, OTHER = (hashlib.sha256(content).hexdigest() for content in (b"one", b"other"))


def photo():
    """A picture with large and small parts: a bright disc on a slope, and a little grain."""
    down, across = np.mgrid[:160, :224]
    disc = np.hypot(down - 60, across - 150) < 40
    values = (40 + down / 2 + across / 4 + 90 * disc)[:, :, None] * [1, 0.8, 0.6]
    return np.clip(values + np.random.default_rng(0).normal(0, 4, (160, 224, 3)), 0, 255).astype(np.uint8)


PHOTO = photo()


def away(one, pixels=PHOTO):
    """Tell how far it takes an image, on average over what chance draws."""
    drawn = [hashlib.sha256(bytes([number])).hexdigest() for number in range(10)]
    return np.mean([np.abs(one.apply(pixels, sha256) - pixels.astype(float)).mean() for sha256 in drawn])


@pytest.mark.parametrize("one", ALL, ids=str)
@pytest.mark.parametrize("size", [(160, 224), (33, 7), (1, 1), (1, 50)], ids=str)
def test_pixels_keep_their_shape_and_kind_and_the_original_is_not_touched(one, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    before = pixels.copy()
    made = one.apply(pixels, SHA256)
    assert made.shape == pixels.shape and made.dtype == np.uint8 and made.flags.c_contiguous
    assert np.array_equal(pixels, before)
    assert np.array_equal(made, one.apply(pixels, SHA256))


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_step_is_harder_than_the_last(name):
    steps = [away(one) for one in CONDITIONS[name]]
    assert steps[0] > 0 and steps == sorted(steps) and steps[4] > 1.3 * steps[0]


def test_only_noise_and_the_place_of_what_covers_depend_on_the_image_that_it_is():
    drawn = {one.name for one in ALL if not np.array_equal(one.apply(PHOTO, SHA256), one.apply(PHOTO, OTHER))}
    assert drawn == {"noisy", "partly covered"}


def test_a_grey_field_under_each_exposure():
    field = np.full((20, 30, 3), 100, np.uint8)
    found = {name: [one.apply(field, SHA256)[0, 0, 0] for one in CONDITIONS[name]] for name in ("darker", "lighter")}
    assert found == {"darker": [85, 65, 45, 30, 15], "lighter": [115, 135, 170, 220, 255]}
    for name in ("less contrast", "blurred", "low resolution"):
        assert all(np.array_equal(one.apply(field, SHA256), field) for one in CONDITIONS[name])


def test_noise_has_the_deviation_that_its_strength_says():
    field = np.full((200, 200, 3), 128, np.uint8)
    for one in CONDITIONS["noisy"][:3]:  # beyond, black and white cut it off
        noise = one.apply(field, SHA256).astype(float) - 128
        assert noise.std() == pytest.approx(255 * one.strength, rel=0.03) and abs(noise.mean()) < 0.5


def test_blur_is_the_same_at_every_size():
    """An edge, blurred and then reduced by 4, is the edge reduced by 4 and then blurred."""
    large = np.zeros((448, 448, 3), np.uint8)
    large[:, 224:] = 255
    for one in CONDITIONS["blurred"][2:]:
        reduced = one.apply(large, SHA256).reshape(112, 4, 112, 4, 3).mean(axis=(1, 3))
        assert np.abs(reduced - one.apply(large[::4, ::4], SHA256)).max() < 12


@pytest.mark.parametrize("one", CONDITIONS["partly covered"], ids=str)
def test_what_covers_is_one_grey_box_of_its_share_anywhere(one):
    white = np.full((100, 200, 3), 255, np.uint8)
    places = set()
    for number in range(50):
        hidden = (one.apply(white, hashlib.sha256(bytes([number])).hexdigest()) == 128).all(axis=2)
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert hidden.sum() == len(rows) * len(columns) == pytest.approx(one.strength * 20000, rel=0.05)
        places.add((rows[0], columns[0]))
    assert len(places) > 40


def test_masks_hide_what_they_say_and_touch_nothing_else():
    pixels = np.random.default_rng(1).integers(129, 256, (40, 80, 3), np.uint8)  # 128 is nowhere in it
    middle, border = (MASKS[f"only the {part}"].apply(pixels, SHA256) for part in ("middle", "border"))
    assert np.array_equal(middle[10:30, 20:60], pixels[10:30, 20:60])
    assert (middle == 128).all(axis=2).sum() == 40 * 80 - 20 * 40
    assert (border[10:30, 20:60] == 128).all()
    assert (border == pixels).all(axis=2).sum() == 40 * 80 - 20 * 40


def test_coarse_has_16_pixels_a_side_left():
    coarse = MASKS["coarse"].apply(np.tile(np.uint8([[[0], [255]], [[255], [0]]]), (112, 112, 3)), SHA256)
    assert np.abs(coarse.astype(int) - 128).max() <= 1  # a chessboard of single pixels is a grey field
    blocks = np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8)
    found = MASKS["coarse"].apply(blocks.repeat(15, axis=0).repeat(15, axis=1), SHA256)
    assert np.array_equal(found[7::15, 7::15], blocks)  # the middle of a box is its mean
    assert np.array_equal(MASKS["coarse"].apply(blocks[:9], SHA256), blocks[:9])


def test_grey_keeps_the_brightness_and_takes_the_colour():
    colours = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [70, 70, 70]]])
    assert MASKS["grey"].apply(colours, SHA256).tolist() == [[[76] * 3, [150] * 3, [29] * 3, [70] * 3]]


def test_mirrored_and_upside_down_twice_are_the_original():
    corner = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(MASKS["mirrored"].apply(corner, SHA256), corner[:, [1, 0]])
    assert np.array_equal(MASKS["upside down"].apply(corner, SHA256), corner[[1, 0]][:, [1, 0]])
    for name in ("mirrored", "upside down"):
        once = MASKS[name].apply(PHOTO, SHA256)
        assert not np.array_equal(once, PHOTO) and np.array_equal(MASKS[name].apply(once, SHA256), PHOTO)


def test_rotation_is_counterclockwise_and_hides_what_was_not_in_the_image():
    white = np.full((100, 100, 3), 255, np.uint8)
    white[45:55, 80:] = 0  # right of the middle
    turned = CONDITIONS["rotated"][4].apply(white, SHA256)
    assert (turned[[0, 0, -1, -1], [0, -1, 0, -1]] == 128).all()
    assert (turned[22, 78] == 0).all() and (turned[50, 88] == 255).all()


def test_each_has_a_place_of_its_own_in_the_cache_that_no_distortion_can_have():
    names = {one.variant() for one in ALL}
    assert len(names) == len(ALL) == 9 * 5 + 6 and 0 not in names and max(names) < 2**31
    assert {name & 255 for name in names} == {0}
    assert 0 not in {Distortion(random_crop=5).variant(number) & 255 for number in range(1, 256)}


def test_names_are_for_people():
    assert [str(CONDITIONS["noisy"][2]), str(MASKS["grey"])] == ["noisy, step 3", "grey"]
    assert all(one.name == name for name, steps in CONDITIONS.items() for one in steps)
    assert not CONDITIONS.keys() & MASKS.keys()


@pytest.mark.parametrize(
    ("name", "step", "said"),
    [("foggy", 1, "no condition 'foggy'.*darker"), ("noisy", 6, "1 to 5"), ("noisy", 0, "1 to 5"), ("grey", 2, "to 1")],
)
def test_impossible_conditions(name, step, said):
    with pytest.raises(RetrainLabError, match=said):
        Condition(name, step)
