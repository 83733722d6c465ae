"""A table of the kinds of image files that people have: name, content, and the pixels expected or words of the reason.

Lossless kinds must give their pixels to the last bit, lossy ones nearly; what cannot be read must say why.
"""

import io
import zlib
from dataclasses import dataclass

import numpy as np
import pillow_heif
from handmade import FLOAT, LONG, SHORT, dicom, png, raw, tiff
from PIL import Image

BLOCKS = np.zeros((32, 48, 3), np.uint8)  # wider than high, and alike from no other side
BLOCKS[:16, :24], BLOCKS[:16, 24:], BLOCKS[16:, :24] = [200, 40, 40], [40, 200, 40], [40, 40, 200]
PHOTO = Image.fromarray(BLOCKS)
GREY = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 42  # up to 64,470, so that white is 65,535
BACK = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE",
        8: "ROTATE_270"}  # by orientation of EXIF, how an upright photo comes to lie so  # fmt: skip
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
DAMAGED = r"truncated|damaged|not an image"
TOO_MANY = r"more than 179 million pixels|\d million pixels, and of its kind"


@dataclass(frozen=True)
class Kind:
    """A file.

    Attributes:
        name: of the file.
        content: of the file.
        expected: uint8 [height, width, 3] or [height, width]; or a pattern of the reason why there are none.
        off: how far pixels may be from those expected, on average.
    """

    name: str
    content: bytes
    expected: np.ndarray | str
    off: float = 0


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def lying(orientation: int) -> tuple[Image.Image, Image.Exif]:
    """The photo as a camera that was held otherwise stores it, and what its EXIF says of that."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return PHOTO if orientation == 1 else PHOTO.transpose(Image.Transpose[BACK[orientation]]), exif


def of_png() -> list[Kind]:
    ramp = np.arange(16, dtype=np.uint8)[None]
    palette = (b"PLTE", bytes([200, 40, 40, 40, 200, 40]))
    half = Image.merge("RGBA", [*PHOTO.split(), Image.new("L", PHOTO.size, 51)])  # a fifth of it
    fifth = np.rint(255 + (BLOCKS - 255.0) / 5)
    grey = PHOTO.convert("L")
    few = PHOTO.quantize(4)
    clear = np.where((BLOCKS == [200, 40, 40]).all(axis=2, keepdims=True), 255, BLOCKS)
    animated = saved(PHOTO, "PNG", save_all=True, append_images=[Image.new("RGB", PHOTO.size)])
    return [
        Kind("colours.png", saved(PHOTO, "PNG"), BLOCKS),
        Kind("greys.png", saved(grey, "PNG"), np.asarray(grey)),
        Kind("half seen through.png", saved(half, "PNG"), fifth, 0.5),
        Kind("grey and alpha.png", saved(grey.convert("LA"), "PNG"), np.asarray(grey)),
        Kind("palette.png", saved(few, "PNG"), np.asarray(few.convert("RGB"))),
        Kind("palette with a clear colour.png", png(2, 1, 8, 3, b"\0\0\1", palette, (b"tRNS", b"\0")),
             np.uint8([[[255] * 3, [40, 200, 40]]])),
        Kind("palette half clear.png", png(2, 1, 8, 3, b"\0\0\1", palette, (b"tRNS", b"\x33\xff")),
             np.uint8([[[244, 212, 212], [40, 200, 40]]])),
        Kind("a clear colour.png", saved(PHOTO, "PNG", transparency=(200, 40, 40)), clear),
        Kind("1 bit.png", png(8, 1, 1, 0, b"\0\xa5"), np.uint8([[255, 0, 255, 0, 0, 255, 0, 255]])),
        Kind("2 bits.png", png(4, 1, 2, 0, b"\0\x1b"), np.uint8([[0, 85, 170, 255]])),
        Kind("4 bits.png", png(16, 1, 4, 0, b"\0\x01\x23\x45\x67\x89\xab\xcd\xef"), ramp * 17),
        Kind("palette of 1 bit.png", png(2, 1, 1, 3, b"\0\x40", palette), np.uint8([[[200, 40, 40], [40, 200, 40]]])),
        Kind("16 bits.png", saved(Image.fromarray(GREY), "PNG"), np.rint(GREY / 65535 * 255)),
        Kind("colours of 16 bits.png", png(1, 1, 16, 2, b"\0\xc8\0\x28\1\x28\2"), np.uint8([[[200, 40, 40]]])),
        Kind("16 bits and alpha.png", png(1, 1, 16, 6, b"\0\xc8\0\x28\1\x28\2\xff\xff"), np.uint8([[[200, 40, 40]]])),
        Kind("animated.png", animated, BLOCKS),
        Kind("named otherwise.jpg", saved(PHOTO, "PNG"), BLOCKS),
        Kind("no name at all", saved(PHOTO, "PNG"), BLOCKS),
        Kind("lies.png", saved(lying(6)[0], "PNG", exif=lying(6)[1]), BLOCKS),
        Kind("much text.png", png(1, 1, 8, 0, b"\0\7", (b"zTXt", b"a\0\0" + zlib.compress(bytes(9)))), np.uint8([[7]])),
    ]  # fmt: skip


def of_jpeg() -> list[Kind]:
    whole = saved(PHOTO, "JPEG", quality=95, subsampling=0)
    grey = PHOTO.convert("L")
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    two = saved(PHOTO, "MPO", save_all=True, append_images=[Image.new("RGB", PHOTO.size)], quality=95, subsampling=0)
    sides = [Kind(f"orientation {number}.jpg",
                  saved(lying(number)[0], "JPEG", exif=lying(number)[1], quality=95, subsampling=0), BLOCKS, 3)
             for number in range(1, 9)]  # fmt: skip
    return [
        Kind("photo.jpg", whole, BLOCKS, 3),
        Kind("few colours.jpeg", saved(PHOTO, "JPEG", quality=95, subsampling=2), BLOCKS, 4),
        Kind("progressive.jpg", saved(PHOTO, "JPEG", progressive=True, quality=95, subsampling=0), BLOCKS, 3),
        Kind("grey.jpg", saved(grey, "JPEG", quality=95), np.asarray(grey), 3),
        Kind("for print.jpg", saved(cyan, "JPEG", quality=95), np.uint8([[[0, 255, 255]] * 16] * 16), 3),
        Kind("not as YCbCr.jpg", saved(PHOTO, "JPEG", keep_rgb=True, quality=95), BLOCKS, 3),
        Kind("of two cameras.jpg", two, BLOCKS, 3),
        Kind("more behind it.jpg", whole + b"appended" * 99, BLOCKS, 3),
        Kind("nonsense in its EXIF.jpg", saved(PHOTO, "JPEG", exif=b"Exif\0\0" + b"\xff" * 40, quality=95), BLOCKS, 4),
        *sides,
    ]


def of_tiff() -> list[Kind]:
    grey, few = PHOTO.convert("L"), PHOTO.quantize(4)
    line = PHOTO.convert("1", dither=Image.Dither.NONE)
    tile = np.full((32, 48), 9, np.uint8)
    tile[:16, :16] = np.arange(256).reshape(16, 16)
    tiles = np.concatenate([tile[top : top + 16, left : left + 16] for top in (0, 16) for left in (0, 16, 32)])
    size, planes = [(256, LONG, [48]), (257, LONG, [32])], BLOCKS.transpose(2, 0, 1).reshape(96, 48)
    tiled = [(322, LONG, [16]), (323, LONG, [16]), (324, LONG, [8 + 256 * n for n in range(6)]),
             (325, LONG, [256] * 6), *((tag, LONG, []) for tag in (273, 278, 279))]  # fmt: skip
    planar = [(258, SHORT, [8] * 3), (262, SHORT, [2]), (277, SHORT, [3]), (278, LONG, [32]), (284, SHORT, [2]),
              (273, LONG, [8, 1544, 3080]), (279, LONG, [1536] * 3), (339, SHORT, [1] * 3)]  # fmt: skip
    sides = [Kind(f"orientation {number} {how}.tif",
                  saved(lying(number)[0], "TIFF", tiffinfo={274: number}, compression=how), BLOCKS)
             for number in range(1, 9) for how in ("raw", "tiff_lzw")]  # fmt: skip
    half = np.linspace(0, 1, 1536, dtype=np.float32).reshape(32, 48)
    odd = half.copy()
    odd[0, :3] = [np.nan, np.inf, -np.inf]
    strange = np.rint(half * 255)
    strange[0, :3] = [0, 255, 0]
    lies = np.ascontiguousarray(np.rot90(GREY))
    return [
        *(Kind(f"{how}.tif", saved(PHOTO, "TIFF", compression=how), BLOCKS)
          for how in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma")),
        Kind("jpeg inside.tif", saved(PHOTO, "TIFF", compression="jpeg", quality=95), BLOCKS, 4),
        Kind("fax.tif", saved(line, "TIFF", compression="group4"), np.asarray(line) * np.uint8(255)),
        Kind("greys.tif", saved(grey, "TIFF"), np.asarray(grey)),
        Kind("palette.tif", saved(few, "TIFF"), np.asarray(few.convert("RGB"))),
        Kind("for print.tif", saved(PHOTO.convert("CMYK"), "TIFF"), BLOCKS),
        Kind("tiles.tif", tiff(tiles, *size, *tiled), tile),
        Kind("planes.tif", tiff(planes, *size, *planar), BLOCKS),
        Kind("pages.tif", saved(PHOTO, "TIFF", save_all=True, append_images=[grey]), BLOCKS),
        Kind("64 bits of place.tif", saved(PHOTO, "TIFF", big_tiff=True), BLOCKS),
        Kind("16 bits.tif", tiff(GREY.astype("<u2")), np.rint(GREY / 65535 * 255)),
        Kind("16 bits from a Mac.tif", tiff(GREY.astype(">u2")), np.rint(GREY / 65535 * 255)),
        Kind("16 bits lying.tif", tiff(lies, (274, SHORT, [6])), np.rint(GREY / 65535 * 255)),
        Kind("signed.tif", tiff(GREY.astype("<i4") - 32000), np.rint((GREY - 32000.0 + 32767) / 65534 * 255)),
        Kind("32 bits.tif", tiff(GREY.astype("<u4") << 16), np.rint(GREY / 65536 * 255), 0.01),
        Kind("floats.tif", tiff(half), np.rint(half * 255), 0.01),
        Kind("floats beyond 1.tif", tiff(half * np.float32(1.001)), np.rint(half * 255.255).clip(0, 255), 0.01),
        Kind("floats that are none.tif", tiff(odd), strange, 0.01),
        Kind("dim floats.tif", tiff(half / 99), np.rint(half * 64 / 99 * 255), 0.01),
        Kind("orientation in XMP.tif", saved(lying(6)[0], "TIFF", tiffinfo={700: XMP}), BLOCKS),
        Kind("floats of 64 bits.tif", tiff(half.astype("<f8")), "numbers of 64 bits"),
        Kind("no number.tif", tiff(half * np.float32(np.nan)), "holds no number"),
        Kind("its brightest is no number.tif", tiff(half, (341, FLOAT, [np.nan])), np.rint(half * 255), 0.01),
        *sides,
    ]  # fmt: skip


def of_others() -> list[Kind]:
    red, clear = Image.new("RGB", (16, 16), (200, 40, 40)), Image.new("RGBA", (16, 16), (200, 40, 40, 0))
    black = Image.new("RGB", PHOTO.size)
    grey, few, line = PHOTO.convert("L"), PHOTO.quantize(4), PHOTO.convert("1", dither=Image.Dither.NONE)
    seen, half = np.asarray(few.convert("RGB")), np.linspace(0, 1, 96, dtype="<f4").reshape(8, 12)
    white = np.full((16, 16, 3), 255, np.uint8)
    heif = io.BytesIO()
    pillow_heif.from_pillow(PHOTO).save(heif, quality=95, chroma=444)
    return [
        Kind("still.gif", saved(few, "GIF"), seen),
        Kind("moving.gif", saved(few, "GIF", save_all=True, append_images=[black]), seen),
        Kind("clear.gif", saved(Image.new("P", (16, 16)), "GIF", transparency=0), white),
        Kind("lossless.webp", saved(PHOTO, "WEBP", lossless=True), BLOCKS),
        Kind("lossy.webp", saved(PHOTO, "WEBP", quality=95), BLOCKS, 6),
        Kind("moving.webp", saved(PHOTO, "WEBP", lossless=True, save_all=True, append_images=[black]), BLOCKS),
        Kind("clear.webp", saved(clear, "WEBP", lossless=True), white),
        Kind("photo.avif", saved(PHOTO, "AVIF", quality=95, subsampling="4:4:4"), BLOCKS, 4),
        Kind("photo.heic", heif.getvalue(), BLOCKS, 4),
        Kind("photo.jp2", saved(PHOTO, "JPEG2000"), BLOCKS),
        Kind("stream.j2k", saved(red, "JPEG2000", no_jp2=True), np.asarray(red)),
        Kind("16 bits.jp2", saved(Image.fromarray(GREY | 1), "JPEG2000"), np.rint((GREY | 1) / 65535 * 255)),
        Kind("24 bits.bmp", saved(PHOTO, "BMP"), BLOCKS),
        Kind("palette.bmp", saved(few, "BMP"), seen),
        Kind("1 bit.bmp", saved(line, "BMP"), np.asarray(line) * np.uint8(255)),
        Kind("colours.ppm", saved(PHOTO, "PPM"), BLOCKS),
        Kind("plain text.ppm", b"P3 1 1 255 200 40 40", np.uint8([[[200, 40, 40]]])),
        Kind("greys.pgm", saved(grey, "PPM"), np.asarray(grey)),
        Kind("16 bits.pgm", b"P5 48 32 65535 " + GREY.astype(">u2").tobytes(), np.rint(GREY / 65535 * 255)),
        Kind("1 bit.pbm", saved(line, "PPM"), np.asarray(line) * np.uint8(255)),
        Kind("floats.pfm", b"Pf 12 8 -1.0 " + half[::-1].tobytes(), np.rint(half * 255)),
        Kind("IM000001", dicom(BLOCKS), BLOCKS),
        Kind("12 bits.dcm", dicom(GREY >> 4, BitsStored=12), np.rint((GREY >> 4) / 4095 * 255)),
        Kind("camera.dng", raw(), np.uint8([[[255, 0, 53]] * 96] * 64), 8),
    ]


def of_no_use() -> list[Kind]:
    """What is no image, or is one that is not read, by the name of one."""
    words = {
        "an EPS.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage", "a program and is not run"),
        "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage", "export it as PNG"),
        "an EPS of Windows.png": (b"\xc5\xd0\xd3\xc6" + bytes(40), "a program and is not run"),
        "a PDF.jpg": (b"%PDF-1.7\n" + bytes(40), "a PDF; export its pages"),
        "a drawing.svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "drawing .SVG."),
        "a drawing.jpg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "drawing .SVG."),
        "a page.jpg": (b"\n<!DOCTYPE html><html><body>404", "a web page, as servers send it"),
        "layers.psd": (b"8BPS\0\1" + bytes(40), "a Photoshop file; export it"),
        "an icon.png": (saved(PHOTO, "ICO"), "an icon; save it as PNG"),
        "texture.tga": (saved(PHOTO, "TGA"), "not an image in any format that can be read; convert"),
        "old.pcx": (saved(PHOTO, "PCX"), "not an image in any format that can be read; convert"),
        "texture.dds": (saved(PHOTO, "DDS"), r"a texture \(DDS\)"),
        "new.jxl": (b"\xff\x0a" + bytes(40), "a JPEG XL image"),
        "light.exr": (b"v/1\x01" + bytes(40), "an OpenEXR image"),
        "stars.png": (b"SIMPLE  =" + bytes(40), "a FITS file"),
        "array.png": (b"\x93NUMPY\1\0" + bytes(40), "a NumPy array"),
        "many.jpg": (b"PK\3\4" + bytes(40), "a compressed archive; unpack it"),
        "film.jpg": (b"\0\0\0\x20ftypisom" + bytes(40), "a film; save the frames"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid", "run 'git lfs pull'"),
        "zeros.jpg": (bytes(500), "zeros only, so its content is lost"),
        "notes.jpg": (b"what I saw today", "not an image in any format that can be read"),
        "empty.png": (b"", "the file is empty"),
        "half a HEIC.heic": (b"\0\0\0\x18ftypheic", "not an image in any format that can be read"),
        "cut raw.nef": (b"II*\0" + bytes(40), "a camera raw file that LibRaw cannot read"),
        "cut.dcm": (bytes(128) + b"DICM", "no image|damaged"),
        "deflated.dcm": (dicom(GREY).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"), "a deflated DICOM"),
    }
    return [Kind(name, content, pattern) for name, (content, pattern) in words.items()]


def of_the_damaged() -> list[Kind]:
    """Whole files, cut at a tenth, in the middle, and before their last bytes; and some with wrong bytes inside."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8))
    whole = {
        "jpg": saved(photo, "JPEG"), "png": saved(photo, "PNG"), "tif": saved(photo, "TIFF"),
        "lzw.tif": saved(photo, "TIFF", compression="tiff_lzw"), "webp": saved(photo, "WEBP"),
        "gif": saved(photo.quantize(), "GIF"), "bmp": saved(photo, "BMP"), "ppm": saved(photo, "PPM"),
        "avif": saved(photo, "AVIF"), "jp2": saved(photo, "JPEG2000"),
    }  # fmt: skip
    cut = [Kind(f"cut at {share:.0%}.{suffix}", content[: int(share * len(content))], DAMAGED)
           for suffix, content in whole.items() for share in (0.1, 0.5)]  # fmt: skip
    noise = bytearray(whole["png"])
    noise[60:70] = b"0123456789"
    return [
        *cut,
        Kind("only its first bytes.jpg", b"\xff\xd8\xff", DAMAGED),
        Kind("no end.jpg", whole["jpg"][:-40], DAMAGED),
        Kind("other bytes inside.png", bytes(noise), DAMAGED),
        Kind("no pixels.png", png(0, 0, 8, 0, b"\0"), DAMAGED),
    ]


def of_the_huge() -> list[Kind]:
    """Small files that declare far more pixels than they hold."""
    jpeg = bytearray(saved(PHOTO, "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = b"\xff\xdc\xff\xdc"
    gif = bytearray(saved(PHOTO.quantize(4), "GIF"))
    gif[6:10] = b"\xff" * 4
    bmp = bytearray(saved(PHOTO, "BMP"))
    bmp[18:26] = (10**6).to_bytes(4, "little") * 2
    jp2 = bytearray(saved(PHOTO, "JPEG2000"))
    place = jp2.index(b"ihdr") + 4
    jp2[place : place + 8] = (10**6).to_bytes(4, "big") * 2
    less = jp2.copy()
    less[place : place + 8] = (12000).to_bytes(4, "big") * 2
    webp = bytearray(saved(PHOTO, "WEBP"))
    webp[26:30] = (13000).to_bytes(2, "little") * 2
    size, text = [(256, LONG, [10**6]), (257, LONG, [10**6])], b"a\0\0" + zlib.compress(bytes(10**8))
    return [
        Kind("huge.jpg", bytes(jpeg), TOO_MANY),
        Kind("huge.png", png(10**6, 10**6, 8, 2, bytes(99)), TOO_MANY),
        Kind("huge.tif", tiff(GREY, *size), TOO_MANY),
        Kind("huge.gif", bytes(gif), TOO_MANY),
        Kind("huge.bmp", bytes(bmp), TOO_MANY),
        Kind("huge.jp2", bytes(jp2), TOO_MANY),
        Kind("huge.ppm", b"P6 1000000 1000000 255 ", TOO_MANY),
        Kind("huge.dcm", dicom(GREY, Rows=65535, Columns=65535), TOO_MANY),
        Kind("large.jp2", bytes(less), TOO_MANY),  # three numbers a pixel
        Kind("large.webp", bytes(webp), TOO_MANY),  # held twice
        Kind("much text inside.png", png(1, 1, 8, 0, b"\0\7", (b"zTXt", text)), "damaged"),
    ]


KINDS = [*of_png(), *of_jpeg(), *of_tiff(), *of_others(), *of_no_use(), *of_the_damaged(), *of_the_huge()]
