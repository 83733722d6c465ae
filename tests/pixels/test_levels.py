"""One scale for a folder of images that are not of 8 bits."""

import io
import json
import zlib

import numpy as np
import pandas as pd
import pytest
from conftest import make_folder
from handmade import FLOAT, SHORT, tiff
from PIL import Image

from retrainlab.errors import RetrainLabError
from retrainlab.images import overview, scanning
from retrainlab.pixels.decoding import ImageFolder, look, read_pixels
from retrainlab.pixels.deep import Deep
from retrainlab.pixels.levels import Levels


def folder(root, **images) -> tuple[ImageFolder, pd.DataFrame]:
    """A folder of two labels, with 8-bit images beside those by name: values, or the content of a file."""
    make_folder(root, {"a": 1, "b": 1}, ("png",))
    for name, image in images.items():
        content = image if isinstance(image, bytes) else encoded(image) if image.dtype == np.uint16 else tiff(image)
        (root / "a" / name).with_suffix(".png" if content[1:4] == b"PNG" else ".tif").write_bytes(content)
    table = scanning.scan(root).images
    return ImageFolder.of(root, table), table


def encoded(values: np.ndarray, significant: int = 0, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    content = file.getvalue()
    if significant:  # the chunk sBIT, after the header of 33 bytes
        chunk = b"sBIT" + bytes([significant])
        packed = (1).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        content = content[:33] + packed + content[33:]
    return content


def full(value, dtype=np.uint16) -> np.ndarray:
    return np.full((40, 48), value, dtype)


def grey(photos: ImageFolder, name: str) -> int:
    pixels = photos.read(f"a/{name}")
    assert pixels.dtype == np.uint8 and pixels.shape == (40, 48, 3) and np.ptp(pixels) == 0
    return int(pixels[0, 0, 0])


def test_images_of_a_folder_share_a_scale(tmp_path):
    photos, table = folder(tmp_path, one=full(1023), two=full(1024))
    assert photos.levels == Levels((0, 2047))
    assert (grey(photos, "one.png"), grey(photos, "two.png")) == (127, 128)
    row = table.set_index("path").loc["a/two.png"]
    assert (row["dtype"], row["low"], row["high"]) == ("uint16", 1024, 1024)
    assert table.set_index("path").loc["b/image 000.png", ["dtype", "problem"]].isna().all()
    alone = read_pixels(tmp_path / "a/one.png")
    assert (alone == 255).all()  # nothing else is known: 10 bits


def test_one_hot_or_dead_pixel_changes_nothing_but_itself(tmp_path):
    random = np.random.default_rng(0)
    clean = random.integers(600, 900, (40, 48)).astype(np.uint16)
    hot, dead = clean.copy(), clean.astype(np.int16)
    hot[3, 4], dead[3, 4] = 65535, -32768
    photos, _ = folder(tmp_path, clean=clean, hot=hot, dead=dead)
    assert photos.levels == Levels((0, 1023))
    expected = photos.read("a/clean.png").mean()
    assert expected == pytest.approx(187, abs=1)  # of 47, were it scaled by the hot pixel
    for name in ("hot.png", "dead.tif"):
        pixels = photos.read(f"a/{name}")
        assert pixels.mean() == pytest.approx(expected, abs=0.1)
        others = pixels.astype(int) - photos.read("a/clean.png")
        assert np.abs(others).sum(axis=2).astype(bool).sum() == 1


@pytest.mark.parametrize(
    ("values", "levels", "expected"),
    [
        (np.float32([0, 0.2, 1]), {"floating": [0, 1]}, [0, 51, 255]),
        (np.float32([-1, 0.2, 1]), {"floating": [-1, 1]}, [0, 153, 255]),
        (np.float32([0, 100, 1000.5]), {"floating": [0, 1023]}, [0, 25, 249]),
        (np.float32([0, 0.5, 1.001]), {"floating": [0, 1]}, [0, 128, 255]),  # a little beyond, as resampling leaves it
        (np.float32([-0.04, 0.5, 1]), {"floating": [0, 1]}, [0, 128, 255]),
        (np.float32([-0.06, 0.5, 1]), {"floating": [-1, 1]}, [120, 191, 255]),
        (np.float32([0, 0.5, 1.1]), {"floating": [0, 2]}, [0, 64, 140]),
        (np.float32([0, 20.5, 41]), {"floating": [0, 64]}, [0, 82, 163]),  # a temperature
        (np.float32([0, 0.01, 0.02]), {"floating": [0, 2**-5]}, [0, 82, 163]),  # light that dark water throws back
        (np.float32([0, 1e-40, 2e-40]), {"floating": [0, 2.0**-131]}, [0, 69, 139]),
        (np.float32([0, 127.5, 254.6]), {"floating": [0, 255]}, [0, 128, 255]),
        (np.int16([-20, 100, 255]), {"integer": [-255, 255]}, [118, 178, 255]),
        (np.int16([-12, 100, 255]), {"integer": [0, 255]}, [0, 100, 255]),
        (np.float32([0, 2e30, 1e30]), {"floating": [0, 2**101 - 1]}, [0, 201, 101]),
        (np.float32([np.nan, np.inf, 0.6]), {"floating": [0, 1]}, [0, 255, 153]),
        (np.float32([-np.inf, 0.0, 0.6]), {"floating": [0, 1]}, [0, 0, 153]),
        (np.int16([-1024, 0, 3071]), {"integer": [-4095, 4095]}, [96, 128, 223]),
        (np.int16([-2000, -1000, -50]), {"integer": [-2047, 2047]}, [3, 65, 124]),
        (np.array([0, 256, 65535], ">u2"), {"integer": [0, 65535]}, [0, 1, 255]),
        (np.array([0, 1, 255], "<u2"), {"integer": [0, 255]}, [0, 1, 255]),
        (np.array([0, 2**31, 2**32 - 1], "<u4"), {"integer": [0, 2**32 - 1]}, [0, 128, 255]),
        (np.array([0, 2**15, 2**17 - 1], "<i4"), {"integer": [0, 2**17 - 1]}, [0, 64, 255]),
        (np.array([0, 0, 0], "<u2"), {"integer": [0, 255]}, [0, 0, 0]),
        (np.float32([0, 0, 0]), {"floating": [0, 1]}, [0, 0, 0]),
    ],
)
def test_every_kind_of_numbers(tmp_path, values, levels, expected):
    photos, table = folder(tmp_path, image=tiff(values.reshape(1, 3)))
    assert photos.levels.to_json() == levels
    assert table.set_index("path").loc["a/image.tif", "dtype"] == values.dtype.name
    assert photos.read("a/image.tif")[0, :, 0].tolist() == expected
    assert read_pixels(tmp_path / "a/image.tif")[0, :, 0].tolist() == expected  # alone it is a folder of one


def test_floats_and_whole_numbers_have_a_scale_each(tmp_path):
    photos, _ = folder(tmp_path, whole=full(4095), real=full(0.5, np.float32))
    assert photos.levels == Levels((0, 4095), (0, 1))
    assert (grey(photos, "whole.png"), grey(photos, "real.tif")) == (255, 128)


@pytest.mark.parametrize(
    ("content", "high", "seen"),
    [
        (encoded(full(1000), 14), 2**14 - 1, 16),
        (encoded(full(1000), 16), 1000, 249),  # as much as there is room for: it says nothing
        (encoded(full(40000), 12), 65535, 156),  # stretched to 16 bits, as the specification wants it
        (tiff(full(1000), (281, SHORT, [4095])), 4095, 62),
        (tiff(full(1000), (281, SHORT, [900])), 1000, 249),  # it is brighter than it says
        (tiff(full(1000), (281, SHORT, [65535])), 1000, 249),
        (tiff(full(0.25, np.float32), (341, FLOAT, [200.0])), 200, 0),
        (tiff(full(0.25, np.float32), (341, FLOAT, [np.inf])), 0.25, 64),
        (b"P5 48 40 4095 " + full(1000, ">u2").tobytes(), 65535, 62),  # Pillow stretches these
        (b"P5 48 40 65535 " + full(1000, ">u2").tobytes(), 1000, 249),
        (encoded(full(16000), kind="JPEG2000"), 65535, 62),  # and these, if the last bits are all 0
        (encoded(full(1001), kind="JPEG2000"), 1001, 250),
    ],
)
def test_what_a_file_declares_counts_where_it_can_be(tmp_path, content, high, seen):
    assert look(content, "a.png").high == high
    photos, _ = folder(tmp_path, image=content)
    (name,) = (path.name for path in tmp_path.glob("a/image.*"))
    assert grey(photos, name) == seen


def test_what_holds_no_number_is_left_out(tmp_path):
    photos, table = folder(tmp_path, nothing=full(np.nan, np.float32), real=full(0.5, np.float32))
    problem = table.set_index("path").loc["a/nothing.tif", "problem"]
    assert problem == "it holds no number: all its values are NaN or infinite"
    assert photos.levels == Levels(None, (0, 1))
    with pytest.raises(RetrainLabError, match="holds no number"):
        photos.read("a/nothing.tif")


def test_a_damaged_image_does_not_make_the_scale(tmp_path):
    table = pd.DataFrame({"dtype": ["uint16", "uint16", None], "low": [0, 0, np.nan], "high": [1000, 60000, np.nan],
                          "problem": [None, "damaged", None]})  # fmt: skip
    assert Levels.of(table) == Levels((0, 1023))
    assert Levels.of(table[1:]) == Levels.of(table[:0]) == Levels()


def test_how_many_pixels_may_be_hot_known_answers():
    assert Deep(np.arange(999)[None]).extremes == (0, 998)  # fewer than a thousand: none
    assert Deep(np.arange(1000)[None]).extremes == (1, 998)
    assert Deep(np.arange(4000)[None]).extremes == (4, 3995)
    assert Deep(np.float32([[np.nan, 1, 2, np.inf]])).extremes == (1, 2)
    assert Deep(np.uint16([[7]]), 255.0).extremes == (7, 255) and Deep(np.uint16([[7]]), 5.0).extremes == (7, 7)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_strips_are_the_whole_image(dtype):
    random = np.random.default_rng(0)
    values = random.integers(0, 60000, (900, 3001)).astype(dtype)  # three strips of 349 rows
    if dtype is np.float32:
        values[random.random(values.shape) < 0.3] = np.nan
    deep, finite = Deep(values), np.sort(values[np.isfinite(values)])
    assert sum(len(strip) for strip in deep.strips()) == 900 and len([*deep.strips()]) == 3
    few = len(finite) // 1000
    assert deep.extremes == (finite[few], finite[-1 - few])
    expected = np.rint(np.nan_to_num(values, nan=0).astype(float) / 65535 * 255)
    assert np.array_equal(Levels((0, 65535), (0, 65535)).apply(deep), expected.clip(0, 255))


def test_levels_are_written_and_read():
    for levels in (Levels(), Levels((0, 4095)), Levels((-255, 255), (0, 1))):
        assert Levels.from_json(json.loads(json.dumps(levels.to_json()))) == levels
    assert Levels((0, 4095)).to_json() == {"integer": [0, 4095]}
    for wrong in ({"integer": [5, 5]}, {"integer": 5}, {"integer": ["a", 1]}, {"real": [0, 1]}, [1]):
        with pytest.raises((ValueError, TypeError, AttributeError)):
            Levels.from_json(wrong)


def test_the_scale_is_said(tmp_path):
    _, table = folder(tmp_path, whole=full(4095), other=full(3), real=full(0.5, np.float32))
    assert (
        "3 images are not of 8 bits: whole numbers are seen from 0 (black) to 4,095 (white), numbers with a fraction "
        "are seen from 0 (black) to 1 (white)." in overview.notes(table)
    )
    assert not any("8 bits" in note for note in overview.notes(table[table["dtype"].isna()]))


def test_an_image_that_darkens_all_others_is_named(tmp_path):
    rest = {f"usual{number}": full(0.5 + number / 10, np.float32) for number in range(3)}
    photos, table = folder(tmp_path, odd=full(1e6, np.float32), even=full(9), **rest)
    assert photos.levels.floating == (0, 2**20 - 1)
    (said,) = (note for note in overview.notes(table) if "nearly black" in note)
    assert said.startswith("a/odd.tif reaches 1e+06, half of the 4 images like it at most 0.65: these look nearly")
    fewer = table[table["path"] != "a/odd.tif"]
    assert Levels.of(fewer).floating == (0, 1) and not any("nearly black" in note for note in overview.notes(fewer))


def test_an_earlier_table_is_taken_over_only_if_it_knows_the_values(tmp_path):
    photos, table = folder(tmp_path, image=full(1000))
    assert ImageFolder.of(tmp_path, scanning.scan(tmp_path, table).images) == photos
    earlier = table.drop(columns=["dtype", "low", "high"])
    assert ImageFolder.of(tmp_path, scanning.scan(tmp_path, earlier).images) == photos


def test_what_identifies_pixels():
    sha256 = "0" * 64
    assert Levels((0, 4095)).identify(sha256, None) == sha256  # of 8 bits: the file is enough
    assert Levels((0, 4095)).identify(sha256, np.nan) == sha256
    known = [Levels(), Levels((0, 4095)), Levels((0, 1023)), Levels((-4095, 4095))]
    assert len({sha256, *(levels.identify(sha256, "uint16") for levels in known)}) == 5
    assert Levels((0, 4095), (0, 1)).identify(sha256, "int32") == Levels((0, 4095.0)).identify(sha256, "uint16")
