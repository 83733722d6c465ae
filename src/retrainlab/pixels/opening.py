"""Open an image file of any kind: by Pillow, pillow-heif, pydicom or rawpy, as its content asks for; or say why not."""

import io
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import RetrainLabError
from ..files import opened
from . import bounds, deep, dicom, formats, raw
from .bounds import Hold
from .deep import Deep
from .levels import Levels

# Of odd metadata in good files, and of sizes, which `bounds` holds. For the whole process: what `catch_warnings` sets
# for a while, another thread may undo meanwhile.
warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\b")

_TIFF: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}  # marks, orders of bytes
_CUT = "the image file is cut short (truncated)"
_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)  # a tag of EXIF; those of its values that change width and height
_JPEG, _PIXELS_BEGIN, _END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_STRIP = 2**20  # pixels that are laid over white at a time
_WHY = {
    UnidentifiedImageError: formats.UNKNOWN,
    FileNotFoundError: "the file does not exist",
    IsADirectoryError: "a folder, not an image file",
    PermissionError: "the file may not be read: permission denied",
    Image.DecompressionBombError: bounds.TOO_MANY,
    MemoryError: "this machine has not enough memory to read it; save it smaller",
}


@dataclass(frozen=True)
class Opened:
    """What an image file holds, upright, before it is made 8 bits.

    Attributes:
        format: "JPEG", "TIFF", "DICOM", "raw" and so on.
        width, height: of the file, in pixels; what was decoded of it may be smaller.
        content: an RGB image, where the file is of 8 bits; else its values.
    """

    format: str
    width: int
    height: int
    content: Image.Image | Deep

    @property
    def deep(self) -> Deep | None:
        """Its values, where they are not of 8 bits."""
        return self.content if isinstance(self.content, Deep) else None

    def pixels(self, size: tuple[int, int] | None, levels: Levels) -> np.ndarray:
        """Make it RGB of a size, (height, width), or its own: uint8 [height, width, 3]."""
        content = self.content
        image = Image.fromarray(levels.apply(content)) if isinstance(content, Deep) else content
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


@contextmanager
def open_image(source: Path | str | bytes, size: tuple[int, int] | None = None, name: str = "") -> Iterator[Opened]:
    """Decode an image file, or its bytes; its pixels are held, as `bounds` says, until the context ends.

    Args:
        size: (height, width) that it will be resized to: large JPEGs and raw files are decoded at a reduced scale.
        name: the file's, where `source` is bytes: camera raw is told by it.

    Raises:
        RetrainLabError: the file cannot be read as an image; the message says why.
    """
    name = name or ("" if isinstance(source, bytes) else str(source))
    with ExitStack() as holding:
        try:
            with warnings.catch_warnings(action="ignore"), _reading(source) as file:  # of odd metadata in good files
                found = _open(file, name, size, lambda *what: holding.enter_context(bounds.pixels(*what)))
        except RetrainLabError:
            raise
        except Exception as error:  # plugins raise nearly anything on damaged files
            raise RetrainLabError(why_unreadable(error)) from error
        yield found


def _open(file: BinaryIO, name: str, size: tuple[int, int] | None, hold: Hold) -> Opened:
    if raw.is_raw(name):
        pixels, (height, width) = raw.read(file.read(), size, hold)
        return Opened("raw", width, height, Image.fromarray(pixels))
    if dicom.is_dicom(_head(file)):
        values, declared = dicom.read(file.read(), hold)
        content = Image.fromarray(values) if values.dtype == np.uint8 else Deep(values, declared).checked()
        return Opened("DICOM", values.shape[1], values.shape[0], content)
    with _pillow(file) as image:
        return _decoded(image, file, size, hold)


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
        with warnings.catch_warnings(action="ignore"), _pillow(io.BytesIO(data)) as image:
            if not image.tile:  # the marks are those of a thumbnail in its head, which is cut off
                return None
            width, height = image.size
            lies = image.getexif().get(_ORIENTATION, 1) in _LYING
            return (height, width, image.format or "") if lies else (width, height, image.format or "")
    except RetrainLabError:
        raise
    except Exception as error:  # as above
        raise RetrainLabError(why_unreadable(error)) from error


@contextmanager
def header(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Open an image file without decoding it, as far as it is Pillow that reads it.

    Raises:
        Exception: nearly anything on damaged files.
    """
    with warnings.catch_warnings(action="ignore"), opened(path) as file, _pillow(file) as image:
        yield image


def recognised(path: Path) -> bool:
    """Tell whether a file begins like an image, without reading all of it."""
    try:
        with opened(path) as file:
            if dicom.is_dicom(_head(file)):
                return True
        with header(path):
            return True
    except Exception:  # as above
        return False


def why_unreadable(error: Exception) -> str:
    """Say in words a person can act on why Pillow, or the disk, gave up on a file."""
    for kind, why in _WHY.items():
        if isinstance(error, kind):
            return why
    if isinstance(error, OSError) and error.errno and error.strerror:
        return f"the file cannot be read: {error.strerror}"
    if "truncated" in str(error).lower():
        return _CUT
    return f"the image file is damaged ({str(error) or type(error).__name__})"


def _reading(source: Path | str | bytes) -> AbstractContextManager[BinaryIO]:
    return nullcontext(io.BytesIO(source)) if isinstance(source, bytes) else opened(Path(source))


def _head(file: BinaryIO) -> bytes:
    head = file.read(1024)
    file.seek(0)
    return head


def _pillow(file: BinaryIO) -> ImageFile.ImageFile:
    head, known = _head(file), formats.FORMATS
    if head[4:8] == b"ftyp":  # HEIC, and a film; importing what reads it takes 30 ms
        import pillow_heif

        pillow_heif.register_heif_opener()
        known = (*known, "HEIF")
    try:
        return Image.open(file, formats=known)
    except UnidentifiedImageError:
        if (order := _TIFF.get(head[:4])) is None:
            raise RetrainLabError(formats.otherwise(head)) from None
        if len(head) < 8 or int.from_bytes(head[4:8], order) >= file.seek(0, io.SEEK_END):  # where it says what it is
            raise RetrainLabError(_CUT) from None
        raise RetrainLabError(
            "a TIFF of a kind that cannot be read, such as of numbers of 64 bits; save it with whole numbers of 8 or "
            "16 bits, or floats of 32"
        ) from None


def _decoded(image: ImageFile.ImageFile, file: BinaryIO, size: tuple[int, int] | None, hold: Hold) -> Opened:
    own, decoder = image.size, image.tile[0][0] if image.tile else ""
    if size is not None:
        image.draft("RGB", (2 * size[1], 2 * size[0]))
    reduced = image.size
    width, height = own if image.info.get("progressive") else reduced  # the former is held whole before it is reduced
    hold(width * height, _weight(image))
    image.load()  # Pillow turns a TIFF upright here, other files below
    orientation = image.getexif().get(_ORIENTATION, 1)
    upright = image if orientation == 1 else ImageOps.exif_transpose(image)
    if reduced == own:
        width, height = upright.size
    else:
        width, height = own[::-1] if orientation in _LYING else own
    content = deep.read(image, upright, decoder, file) if image.mode.startswith(("I", "F")) else _rgb(upright)
    return Opened(image.format or "", width, height, content)


def _weight(image: ImageFile.ImageFile) -> float:
    """Tell how many bytes a pixel takes at most, in dozens: as measured, for what holds several copies of it."""
    if image.format == "JPEG2000":
        return len(image.getbands()) / 2
    return 4 / 3 if image.format == "WEBP" else 1


def _rgb(image: Image.Image) -> Image.Image:
    """Make it RGB, over white where it is transparent, a strip at a time: such images are wide."""
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    (width, height), rows = image.size, max(1, _STRIP // image.width)
    whole = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        white.alpha_composite(strip)
        whole.paste(white.convert("RGB"), (0, top))
    return whole
