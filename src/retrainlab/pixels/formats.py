"""Which formats are read, and what the others are that people meet: told by content, and only claimed by a name.

Pillow knows 40 formats. Those are read here that photos, microscopes and data sets come in, and that are told by their
first bytes; none that starts another program (EPS is run by Ghostscript), or is told by nothing but its name (TGA).
"""

from pathlib import PurePath

from PIL import (  # each registers what it reads; `Image.open` would import all 40 to look for them
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from . import raw

_PLUGINS = (AvifImagePlugin.AvifImageFile, BmpImagePlugin.BmpImageFile, GifImagePlugin.GifImageFile,
            Jpeg2KImagePlugin.Jpeg2KImageFile, JpegImagePlugin.JpegImageFile, PngImagePlugin.PngImageFile,
            PpmImagePlugin.PpmImageFile, TiffImagePlugin.TiffImageFile, WebPImagePlugin.WebPImageFile)  # fmt: skip
FORMATS = tuple(plugin.format for plugin in _PLUGINS)  # by Pillow; HEIF comes from pillow-heif, on demand

# Names of images: if such a file cannot be read, that is said, and not passed over like a README.
_READ = """.jpg .jpeg .jpe .jfif .mpo .png .apng .tif .tiff .webp .gif .bmp .dib .avif .avifs .heic .heif .hif .jp2 .j2k
           .j2c .jpc .jpf .jpx .ppm .pgm .pbm .pnm .pfm .dcm"""
_UNREAD = """.svg .svgz .eps .ps .psd .psb .ico .cur .icns .tga .jxl .dds .exr .hdr .pcx .qoi .sgi .rgb .wmf .emf .xbm
             .xpm .xcf .fits .czi .nd2 .lif .svs"""
SUFFIXES = raw.SUFFIXES.union(_READ.split(), _UNREAD.split())

_PROGRAM = "a PostScript file (EPS), which is a program and is not run; export it as PNG"
_ZIPPED = "a compressed archive; unpack it"
_FILM = "a film; save the frames that you want as JPEG or PNG"
_OTHERS: tuple[tuple[int, bytes, str], ...] = (  # where a mark begins, the mark, what has it and what to do
    (0, b"%!PS", _PROGRAM),
    (0, b"\xc5\xd0\xd3\xc6", _PROGRAM),
    (0, b"%PDF", "a PDF; export its pages as PNG"),
    (0, b"8BPS", "a Photoshop file; export it as PNG or TIFF"),
    (0, b"gimp xcf", "a GIMP file; export it as PNG or TIFF"),
    (0, b"\xff\x0a", "a JPEG XL image; convert it to JPEG or PNG"),
    (4, b"JXL ", "a JPEG XL image; convert it to JPEG or PNG"),
    (0, b"\0\0\1\0", "an icon; save it as PNG"),
    (0, b"icns", "an icon; save it as PNG"),
    (0, b"DDS ", "a texture (DDS); save it as PNG"),
    (0, b"v/1\x01", "an OpenEXR image; save it as a TIFF of 32-bit floats"),
    (0, b"#?R", "a Radiance HDR image; save it as a TIFF of 32-bit floats"),
    (0, b"SIMPLE  =", "a FITS file; save its image as a TIFF of 16-bit or float values"),
    (0, b"\x89HDF", "an HDF5 file; save its images as PNG or TIFF"),
    (0, b"\x93NUMPY", "a NumPy array; save it as PNG or TIFF"),
    (0, b"ZISRAWFILE", "a Zeiss microscope file (CZI); export it as TIFF"),
    (0, b"qoif", "a QOI image; save it as PNG"),
    (0, b"version https://git-lfs", "a pointer that Git LFS left in place of the file; run 'git lfs pull'"),
    (0, b"PK\3\4", _ZIPPED),
    (0, b"\x1f\x8b", _ZIPPED),
    (0, b"Rar!", _ZIPPED),
    (0, b"7z\xbc\xaf", _ZIPPED),
    (8, b"AVI ", _FILM),
    (0, b"\x1aE\xdf\xa3", _FILM),
    (0, b"\0\0\1\xba", _FILM),
    *((4, b"ftyp" + brand, _FILM) for brand in (b"qt", b"isom", b"mp4", b"avc1", b"M4V", b"3gp", b"iso2")),
)
_HEAD = 1024  # bytes in which text says what it is
UNKNOWN = "not an image in any format that can be read; convert it to JPEG, PNG or TIFF"


def claims(name: str) -> bool:
    """Tell whether a file says by its name that it is an image, be it of a format that can be read or not."""
    return PurePath(name).suffix.lower() in SUFFIXES


def otherwise(head: bytes) -> str:
    """Say what a file is that is no image in a format that is read, and what to do, by its first 1,024 bytes."""
    for place, mark, what in _OTHERS:
        if head[place:].startswith(mark):
            return f"not an image that can be read, but {what}"
    text = head[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        return "not an image that can be read, but a drawing (SVG), which has no pixels; export it as PNG"
    if text.startswith((b"<!doctype html", b"<html")):
        return "not an image, but a web page, as servers send it in an image's place; download the image again"
    if head and not any(head):
        return "not an image: it begins with zeros only, so its content is lost; restore it from its source"
    return UNKNOWN
