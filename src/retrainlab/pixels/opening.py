"""Open an image file of any kind: by Pillow, pillow-heif, pydicom or rawpy, as its content asks for; or say why not."""

import io
import struct
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import RetrainLabError
from . import dicom, raw
from .levels import Levels

# Images that people have, by name: if one cannot be read, that is said, and not passed over like a README.
_CLAIMS = raw.SUFFIXES | {".heic", ".heif", ".avif", ".jxl", ".czi", ".nd2", ".lif", ".svs", ".dcm", ".svg"}
_TIFF = (b"II*\0", b"MM\0*")
_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)  # a tag of EXIF; those of its values that change width and height
_JPEG, _PIXELS_BEGIN, _END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_BITS, _KIND, _MOST, _SIGNED_MOST = 258, 339, 281, 341  # tags of TIFF; kinds are 1 unsigned, 2 signed, 3 floating
_WHY = {
    UnidentifiedImageError: "not an image in any format that can be read; convert it to JPEG, PNG or TIFF",
    FileNotFoundError: "the file does not exist",
    IsADirectoryError: "a folder, not an image file",
    PermissionError: "the file may not be read: permission denied",
    Image.DecompressionBombError: "the image has too many pixels to be read safely",
}


@dataclass(frozen=True)
class Opened:
    """What an image file holds, upright, before it is made 8 bits.

    Attributes:
        format: "JPEG", "TIFF", "DICOM", "raw" and so on.
        width, height: of the file, in pixels; what was decoded of it may be smaller.
        content: an RGB image, where the file is of 8 bits; else its values, [height, width].
        declared: the brightest value that the file says it may have, if it says so.
    """

    format: str
    width: int
    height: int
    content: Image.Image | np.ndarray
    declared: float | None = None

    @property
    def dtype(self) -> str | None:
        """The numpy dtype of values that are not of 8 bits."""
        return None if isinstance(self.content, Image.Image) else self.content.dtype.name

    def pixels(self, size: tuple[int, int] | None, levels: Levels) -> np.ndarray:
        """Make it RGB of a size, (height, width), or its own: uint8 [height, width, 3]."""
        image = self.content
        if not isinstance(image, Image.Image):
            image = Image.fromarray(levels.apply(image, self.declared))
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def open_image(source: Path | str | bytes, size: tuple[int, int] | None = None, name: str = "") -> Opened:
    """Decode an image file, or its bytes.

    Args:
        size: (height, width) that it will be resized to: large JPEGs and raw files are decoded at a reduced scale.
        name: the file's, where `source` is bytes: camera raw is told by it.

    Raises:
        RetrainLabError: the file cannot be read as an image; the message says why.
    """
    name = name or ("" if isinstance(source, bytes) else str(source))
    try:
        with warnings.catch_warnings(action="ignore"), _reading(source) as file:  # of odd metadata in good files
            if raw.is_raw(name):
                pixels, (height, width) = raw.read(file.read(), size)
                return Opened("raw", width, height, Image.fromarray(pixels))
            if dicom.is_dicom(_head(file)):
                values, declared = dicom.read(file.read())
                content = Image.fromarray(values) if values.dtype == np.uint8 else _checked(values)
                return Opened("DICOM", values.shape[1], values.shape[0], content, declared)
            with _pillow(file) as image:
                return _decoded(image, file, size)
    except RetrainLabError:
        raise
    except Exception as error:  # plugins raise nearly anything on damaged files
        raise RetrainLabError(why_unreadable(error)) from error


def glance(data: bytes, name: str) -> tuple[int, int, str] | None:
    """Tell width, height and format of a JPEG of which nothing is missing; None of all that must be decoded to tell.

    Nothing is missing where the mark of the end stands behind the last that pixels follow: neither can be among these.
    What else is wrong inside, decoding hardly ever minds; it has the last word.

    Args:
        name: the file's; camera raw is told by it.

    Raises:
        RetrainLabError: it is too large to be read safely, or its head is damaged; the message says why.
    """
    if not data.startswith(_JPEG) or raw.is_raw(name) or not 0 < data.rfind(_PIXELS_BEGIN) < data.rfind(_END):
        return None
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            if not image.tile:  # the marks are those of a thumbnail in its head, which is cut off
                return None
            width, height = image.size
            lies = image.getexif().get(_ORIENTATION, 1) in _LYING
            return (height, width, image.format or "") if lies else (width, height, image.format or "")
    except Exception as error:  # as above
        raise RetrainLabError(why_unreadable(error)) from error


def claims(name: str) -> bool:
    """Tell whether a file says by its name that it is an image."""
    suffix = PurePath(name).suffix.lower()
    return suffix in _CLAIMS or suffix in Image.registered_extensions()


def recognised(path: Path) -> bool:
    """Tell whether a file begins like an image, without reading all of it."""
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            if dicom.is_dicom(_head(file)):
                return True
            with _pillow(file):
                return True
    except Exception:  # as above
        return False


def why_unreadable(error: Exception) -> str:
    """Say in words a person can act on why Pillow, or the disk, gave up on a file."""
    for kind, why in _WHY.items():
        if isinstance(error, kind):
            return why
    if "truncated" in str(error).lower():
        return "the image file is cut short (truncated)"
    return f"the image file is damaged ({str(error) or type(error).__name__})"


def _reading(source: Path | str | bytes) -> AbstractContextManager[BinaryIO]:
    return nullcontext(io.BytesIO(source)) if isinstance(source, bytes) else Path(source).open("rb")


def _head(file: BinaryIO) -> bytes:
    head = file.read(132)
    file.seek(0)
    return head


def _pillow(file: BinaryIO) -> ImageFile.ImageFile:
    head = _head(file)
    if head[4:8] == b"ftyp":  # HEIC, and a film; importing what reads it takes 30 ms
        import pillow_heif

        pillow_heif.register_heif_opener()
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if head[:4] not in _TIFF:
            raise
        raise RetrainLabError(
            "a TIFF of a kind that cannot be read, such as of numbers of 64 bits; save it with whole numbers of 8 or "
            "16 bits, or floats of 32"
        ) from None


def _decoded(image: ImageFile.ImageFile, file: BinaryIO, size: tuple[int, int] | None) -> Opened:
    own, decoder = image.size, image.tile[0][0] if image.tile else ""
    if size is not None:
        image.draft("RGB", (2 * size[1], 2 * size[0]))
    image.load()  # Pillow turns a TIFF upright here, other files below
    upright = image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
    width, height = own if upright.size == image.size else own[::-1]
    if not image.mode.startswith(("I", "F")):
        return Opened(image.format or "", width, height, _rgb(upright))
    values = _checked(_values(image, upright))
    return Opened(image.format or "", width, height, values, _declared(image, decoder, file, values))


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return image if image.mode == "RGB" else image.convert("RGB")


def _values(image: Image.Image, upright: Image.Image) -> np.ndarray:
    """Give the values as the file has them: Pillow makes all that it can of 16 and 32 bits signed ones of 32."""
    values = np.asarray(upright)
    if values.dtype == np.int32 and image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        signed, wide = tags.get(_KIND, (1,))[0] == 2, tags.get(_BITS, (16,))[0] > 16
        return values.view(np.uint32) if wide and not signed else values if wide else values.astype(np.int16)
    if values.dtype == np.int32 and image.format in ("PNG", "PPM"):
        return values.astype(np.uint16)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _checked(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).any():
        raise RetrainLabError("it holds no number: all its values are NaN or infinite")
    return values


def _declared(image: Image.Image, decoder: str, file: BinaryIO, values: np.ndarray) -> float | None:
    """Find what a file says is its brightest value; that it has room for 16 or 32 bits says nothing.

    Fewer bits of a PGM or a JPEG 2000 file are stretched to all 16, by Pillow, which then has the last bits 0 in the
    latter; those of a PNG by who wrote it, as its specification wants it.
    """
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if (found := tags.get(_SIGNED_MOST) or tags.get(_MOST)) is not None:
            most = float(np.max(found))
            room = np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).max
            return most if most < room else None
        bits = tags.get(_BITS, (16,))[0]
        return 2.0**bits - 1 if bits < 16 else None
    if decoder == "ppm" or (image.format == "JPEG2000" and not (values & 1).any()):
        return 65535.0
    if image.format == "PNG" and 0 < (bits := _significant_bits(file)) < 16:
        most = 2.0**bits - 1
        return most if values.max() <= most else 65535.0
    return None


def _significant_bits(file: BinaryIO) -> int:
    """Read the chunk sBIT of a PNG, which stands before the pixels; 0 without one."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"sBIT":
            return max(file.read(length), default=0)
        if kind == b"IDAT":
            break
        file.seek(length + 4, io.SEEK_CUR)
    return 0
