"""Formats beyond Pillow's own: HEIC, DICOM, camera raw."""

import io
import sys

import numpy as np
import pillow_heif
import pydicom
import pytest
from conftest import make_folder, make_image
from handmade import dicom, raw, tiff
from PIL import Image

from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import look, read_pixels
from retrainlab.pixels.opening import glance, open_image

RAMP = np.linspace(0, 4095, 96, dtype=np.uint16).reshape(8, 12)


def quarters() -> Image.Image:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48], pixels[:32, 48:], pixels[32:, :48] = [200, 0, 0], [0, 200, 0], [0, 0, 200]
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, exif: bytes = b"") -> bytes:
    file = io.BytesIO()
    if kind == "HEIF":  # not by Pillow, which must learn by itself to read it
        pillow_heif.from_pillow(image).save(file, quality=95, exif=exif or None)
    else:
        image.save(file, kind, exif=exif, **{} if kind == "TIFF" else {"quality": 95})
    return file.getvalue()


# --------------------------------------------------------------------------------------------- HEIC


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF", "JPEG"])
def test_photos_of_phones_come_upright_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(quarters(), kind, exif.tobytes())
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    upright = quarters() if orientation == 1 else quarters().transpose(back[orientation])
    pixels = read_pixels(content)
    assert pixels.shape == np.asarray(upright).shape
    assert np.abs(pixels.astype(int) - np.asarray(upright)).mean() < 3
    seen = look(content, "IMG_1.HEIC")
    assert (seen.width, seen.height, seen.dtype) == (*upright.size, None)
    assert read_pixels(content, (32, 32)).shape == (32, 32, 3)


def test_a_folder_of_heic_is_read_and_a_damaged_one_named(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1}, ("png",))
    whole = tmp_path / "a" / "IMG_1.HEIC"
    whole.write_bytes(encoded(make_image(0), "HEIF"))
    (tmp_path / "b" / "IMG_2.HEIC").write_bytes(whole.read_bytes()[:700])
    (tmp_path / "b" / "film.mov").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(100))
    table = scanning.scan(tmp_path).images.set_index("path")
    assert table.loc["a/IMG_1.HEIC", "format"] == "HEIF" and table.loc["a/IMG_1.HEIC", "problem"] is None
    assert "image" in table.loc["b/IMG_2.HEIC", "problem"] and "b/film.mov" not in table.index


# --------------------------------------------------------------------------------------------- DICOM


def test_dicom_is_told_by_its_content(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1}, ("png",))
    (tmp_path / "a" / "IM000001").write_bytes(dicom(RAMP, BitsStored=12))
    row = scanning.scan(tmp_path).images.set_index("path").loc["a/IM000001"]
    assert (row["width"], row["height"], row["format"], row["dtype"], row["high"]) == (12, 8, "DICOM", "uint16", 4095)
    assert np.array_equal(read_pixels(tmp_path / "a" / "IM000001")[..., 0], np.rint(RAMP / 4095 * 255))


@pytest.mark.parametrize(
    ("values", "attributes", "expected"),
    [
        (RAMP, {"BitsStored": 14}, RAMP / 16383),
        (RAMP, {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}, 1 - RAMP / 4095),
        (RAMP, {"BitsStored": 12, "WindowCenter": 1000, "WindowWidth": 401}, (RAMP - 799.5) / 400),
        (RAMP, {"BitsStored": 12, "WindowCenter": [1000, 9], "WindowWidth": [401, 9],
                "PhotometricInterpretation": "MONOCHROME1"}, 1 - np.clip((RAMP - 799.5) / 400, 0, 1)),
        (RAMP, {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 401, "RescaleSlope": 1,
                "RescaleIntercept": -1024}, (RAMP - 1024.0 + 200.5) / 400),
        (RAMP, {"BitsStored": 12, "WindowCenter": None, "WindowWidth": None}, RAMP / 4095),
        (RAMP.astype(np.int16) - 1000, {}, (RAMP - 1000.0 + 4095) / 8190),
        (RAMP, {"BitsStored": 12, "RescaleSlope": 2, "RescaleIntercept": 0}, RAMP * 2 / 8191),
        (RAMP, {"BitsStored": 12, "RescaleSlope": 0.5, "RescaleIntercept": 0}, RAMP / 2 / 2047),
        ((RAMP >> 4).astype(np.uint8), {}, (RAMP >> 4) / 255),
        ((RAMP >> 4).astype(np.uint8), {"PhotometricInterpretation": "MONOCHROME1"}, 1 - (RAMP >> 4) / 255),
        ((RAMP > 99).astype(np.uint8), {"BitsStored": 1}, RAMP > 99),
    ],
)  # fmt: skip
def test_dicom_known_answers(values, attributes, expected):
    found = read_pixels(dicom(values, **attributes))
    assert found.shape == (8, 12, 3)
    assert np.abs(found[..., 0] - 255 * np.clip(expected, 0, 1)).max() <= 1


@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 1, "RescaleIntercept": -100}])
def test_dicom_with_a_table_that_says_how_to_show_it(rescale):
    first = rescale.get("RescaleIntercept", 0)
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "SS", [4096, first, 10])
    table.add_new("LUTData", "US", [*range(1024)] * 4)
    found = read_pixels(dicom(RAMP, BitsStored=12, VOILUTSequence=[table], WindowCenter=9, WindowWidth=9, **rescale))
    assert np.abs(found[..., 0] - (RAMP % 1024) / 1023 * 255).max() <= 0.5
    attributes = {"VOILUTSequence": [table], "PhotometricInterpretation": "MONOCHROME1"}
    assert np.array_equal(read_pixels(dicom(RAMP, BitsStored=12, **attributes, **rescale)), 255 - found)


def test_dicom_with_a_palette():
    palette = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, values in {"Red": [0, 65535, 256], "Green": [0, 0, 512], "Blue": [65535, 0, 0]}.items():
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = np.array(values, "<u2").tobytes()
    found = read_pixels(dicom(np.uint8([[0, 1], [2, 2]]), **palette))
    assert found.tolist() == [[[0, 0, 255], [255, 0, 0]], [[1, 2, 0], [1, 2, 0]]]


def test_dicom_in_colour_and_compressed():
    colours = np.asarray(make_image(3))
    assert np.array_equal(read_pixels(dicom(colours)), colours)
    file = io.BytesIO()
    make_image(3).save(file, "JPEG", quality=95, subsampling=0)
    frames = pydicom.encaps.encapsulate([file.getvalue()])
    kind = {"PhotometricInterpretation": "YBR_FULL", "PixelData": frames}
    found = read_pixels(dicom(colours, syntax=pydicom.uid.JPEGBaseline8Bit, **kind))
    assert np.abs(found.astype(int) - colours).mean() < 4


@pytest.mark.parametrize("name", ["a.dcm", "IM000001"])
def test_dicom_without_what_reads_it(name, monkeypatch):
    frames = pydicom.encaps.encapsulate([b"nonsense"])
    content = dicom(RAMP, syntax=pydicom.uid.JPEGLSLossless, PixelData=frames)
    with pytest.raises(RetrainLabError, match=r"compressed as JPEG-LS .*pip install pylibjpeg\[all\]$"):
        look(content, name)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(RetrainLabError, match=r"needs the package pydicom: pip install pydicom$"):
        look(content, name)


def test_dicom_that_holds_no_image():
    content = dicom(RAMP)
    with pytest.raises(RetrainLabError):
        look(content[:400], "a.dcm")
    dataset, file = pydicom.dcmread(io.BytesIO(content)), io.BytesIO()
    del dataset.PixelData
    dataset.save_as(file)
    with pytest.raises(RetrainLabError, match="a DICOM file that holds no image"):
        look(file.getvalue(), "a.dcm")


# --------------------------------------------------------------------------------------------- camera raw


@pytest.mark.parametrize(("orientation", "size"), [(1, (96, 64)), (6, (64, 96)), (3, (96, 64))])
def test_camera_raw_is_developed_upright(tmp_path, orientation, size):
    (tmp_path / "photo.DNG").write_bytes(raw(orientation))
    pixels = read_pixels(tmp_path / "photo.DNG")
    assert pixels.shape == (*size[::-1], 3)
    assert (pixels[..., 0] == 255).all() and (pixels[..., 1:] < 60).all()
    seen = look((tmp_path / "photo.DNG").read_bytes(), "photo.DNG")
    assert (seen.width, seen.height, seen.format, seen.dtype) == (*size, "raw", None)
    small = read_pixels((tmp_path / "photo.DNG").read_bytes(), (32, 32), name="photo.dng")  # at half its size
    assert small.shape == (32, 32, 3) and (small[..., 0] == 255).all()


def test_camera_raw_is_as_bright_as_it_was_exposed(tmp_path):
    dark = raw().replace(np.array([12000, 4000], "<u2").tobytes(), np.array([120, 40], "<u2").tobytes())
    assert read_pixels(dark, name="a.dng")[..., 0].mean() < 60


def test_camera_raw_without_what_reads_it(monkeypatch):
    with pytest.raises(RetrainLabError, match="a camera raw file that LibRaw cannot read"):
        look(tiff(RAMP), "a.nef")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(RetrainLabError, match=r"needs the package rawpy: pip install rawpy$"):
        look(raw(), "a.dng")


# --------------------------------------------------------------------------------------------- others


def test_a_tiff_that_cannot_be_read_says_what_would_do():
    with pytest.raises(RetrainLabError, match="numbers of 64 bits; save it with whole numbers of 8 or 16 bits"):
        look(tiff(np.zeros((4, 4), "<f8")), "a.tif")


def test_colours_of_16_bits_keep_their_upper_8():
    values = np.uint16([[[65535, 32768, 256]] * 2] * 2)
    tags = [(258, 3, [16, 16, 16]), (262, 3, [2]), (277, 3, [3]), (339, 3, [1, 1, 1])]
    content = tiff(values.reshape(2, 6), (256, 4, [2]), *tags)
    assert read_pixels(content)[0, 0].tolist() == [255, 128, 1]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": True}, {"thumbnail": True}])
def test_a_glance_at_a_jpeg_says_what_decoding_says_wherever_it_is_cut(options):
    image, saved = make_image(3, size=(60, 40)), {"progressive": options.get("progressive", False)}
    if options.keys() & {"exif", "thumbnail"}:
        saved["exif"] = Image.Exif()
        saved["exif"][0x0112] = 6  # lies on its side
    data = jpeg(image, **saved)
    if "thumbnail" in options:  # a whole JPEG within the head of another
        inner = b"JFXX" + jpeg(make_image(4, size=(8, 8)))
        data = data[:2] + b"\xff\xec" + (len(inner) + 2).to_bytes(2, "big") + inner + data[2:]
    with open_image(data) as opened:
        assert glance(data, "a.jpg") == (opened.width, opened.height, opened.format)
    assert glance(data + b"appended" * 9, "a.jpg") is not None
    assert glance(data, "a.nef") is None
    for cut in range(3, len(data), 7):
        if seen := sight(data[:cut]):
            with open_image(data[:cut]) as opened:
                assert opened.width == seen[0]
    assert not sight(data[: len(data) // 2])


def sight(data):
    try:
        return glance(data, "a.jpg")
    except RetrainLabError:
        return None


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "jpeg", **options)
    return file.getvalue()
