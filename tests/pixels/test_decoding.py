"""Pixels of every kind of image file that people have."""

import numpy as np
import pytest
from conftest import make_image
from PIL import Image

from retrainlab.images import scanning
from retrainlab.pixels import decoding


def save(image: Image.Image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_lossless_formats_give_the_pixels_that_were_saved(tmp_path, suffix):
    image = make_image(0)
    assert np.array_equal(decoding.read_pixels(save(image, tmp_path / f"a.{suffix}")), np.asarray(image))


@pytest.mark.parametrize(("suffix", "options"), [("jpg", {"quality": 95}), ("webp", {"quality": 95})])
def test_lossy_formats_come_close(tmp_path, suffix, options):
    smooth = make_image(0).resize((12, 10)).resize((48, 40))
    found = decoding.read_pixels(save(smooth, tmp_path / f"a.{suffix}", **options)).astype(int)
    assert np.abs(found - np.asarray(smooth)).mean() < 4


def test_content_decides_not_the_extension(tmp_path):
    path = save(make_image(0), tmp_path / "a.png")
    assert np.array_equal(decoding.read_pixels(path.rename(tmp_path / "a.jpg")), np.asarray(make_image(0)))


def test_exif_turns_the_image_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: the camera was held upright
    path = save(make_image(0, size=(48, 40)), tmp_path / "x" / "a.png", exif=exif)
    save(make_image(1), tmp_path / "y" / "b.png")
    assert decoding.read_pixels(path).shape == (48, 40, 3)
    row = scanning.scan(tmp_path).images.set_index("path").loc["x/a.png"]
    assert (row["width"], row["height"]) == (40, 48)


def test_alpha_is_laid_over_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (decoding.read_pixels(save(clear, tmp_path / "a.png")) == 255).all()
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0] * 256)
    assert (decoding.read_pixels(save(palette, tmp_path / "b.png", transparency=0)) == 255).all()


def test_sixteen_bits_become_eight(tmp_path):
    ramp = np.linspace(0, 65535, 16, dtype=np.uint16).reshape(4, 4)
    found = decoding.read_pixels(save(Image.fromarray(ramp), tmp_path / "a.png"))
    assert np.array_equal(found[..., 0], ramp >> 8)
    twelve = ramp >> 4  # a camera of 12 bits: its image must not turn black
    assert np.array_equal(decoding.read_pixels(save(Image.fromarray(twelve), tmp_path / "b.png"))[..., 0], ramp >> 8)


def test_greys_cmyk_and_floats_become_rgb(tmp_path):
    grey = decoding.read_pixels(save(Image.new("L", (4, 4), 77), tmp_path / "a.png"))
    assert (grey == 77).all() and grey.shape == (4, 4, 3)
    cyan = decoding.read_pixels(save(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), tmp_path / "b.jpg"))
    assert cyan[0, 0, 0] < 40 and cyan[0, 0, 1] > 100
    floats = decoding.read_pixels(save(Image.fromarray(np.full((4, 4), 0.5, np.float32)), tmp_path / "c.tiff"))
    assert (floats == 128).all()  # 127.5, rounded


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(decoding.read_pixels(tmp_path / "a.gif")[0, 0]) == (255, 0, 0)


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
