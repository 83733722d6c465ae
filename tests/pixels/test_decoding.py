"""Pixels in the size and on the scale that is asked for; of every kind of file, see test_kinds.py."""

import numpy as np
import pytest
from conftest import make_image
from PIL import Image

from retrainlab.pixels import decoding


def save(image: Image.Image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def test_sixteen_bits_become_eight(tmp_path):
    ramp = np.linspace(0, 65535, 16, dtype=np.uint16).reshape(4, 4)
    found = decoding.read_pixels(save(Image.fromarray(ramp), tmp_path / "a.png"))
    assert np.array_equal(found[..., 0], ramp >> 8)
    twelve = ramp >> 4  # a camera of 12 bits: its image must not turn black
    assert np.array_equal(decoding.read_pixels(save(Image.fromarray(twelve), tmp_path / "b.png"))[..., 0], ramp >> 8)


def test_large_jpegs_are_decoded_at_reduced_scale_with_the_same_result(tmp_path):
    smooth = make_image(0).resize((1600, 1200), Image.Resampling.BICUBIC)
    path = save(smooth, tmp_path / "a.jpg", quality=95)
    whole = np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decoding.read_pixels(path, (64, 64)) - whole).mean() < 2


def test_size_is_height_by_width(tmp_path):
    assert decoding.read_pixels(save(make_image(0), tmp_path / "a.png"), (10, 20)).shape == (10, 20, 3)


@pytest.mark.parametrize("most", [4095.0, 65520.0])
def test_numbers_that_are_not_whole_keep_their_shades(tmp_path, most):
    ramp = np.linspace(0, most, 256, dtype=np.float32)[None].repeat(8, 0)
    found = decoding.read_pixels(save(Image.fromarray(ramp), tmp_path / "a.tiff"))
    assert np.abs(found[0, :, 0].astype(int) - np.arange(256)).max() <= 1
