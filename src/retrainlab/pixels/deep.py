"""Images that are not of 8 bits: their values as the file means them, a strip of rows at a time, for they are wide."""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..errors import RetrainLabError

_STRIP = 2**20  # pixels that are widened at a time
_LEFT_OUT = 1000  # one pixel in so many may be hot or dead
_BITS, _KIND, _MOST, _SIGNED_MOST = 258, 339, 281, 341  # tags of TIFF; kinds are 1 unsigned, 2 signed, 3 floating


@dataclass(frozen=True, eq=False)
class Deep:
    """The values of an image that is not of 8 bits.

    Attributes:
        source: the image as it was decoded, or an array [height, width].
        declared: the brightest value that the file says it may have, if it says so.
        meant: what the decoder gives -> what the file means.
    """

    source: Image.Image | np.ndarray
    declared: float | None = None
    meant: Callable[[np.ndarray], np.ndarray] = field(default=lambda strip: strip)

    @property
    def shape(self) -> tuple[int, int]:
        """Return (height, width)."""
        height, width = self.source.shape if isinstance(self.source, np.ndarray) else self.source.size[::-1]
        return height, width

    @cached_property
    def dtype(self) -> np.dtype:
        """What its values are, in this machine's order of bytes."""
        return next(self.strips()).dtype

    def strips(self) -> Iterator[np.ndarray]:
        """Give the values from top to bottom: [some rows, width] each."""
        height, width = self.shape
        rows = max(1, _STRIP // width)
        for top in range(0, height, rows):
            end = min(top + rows, height)
            strip = self.source
            strip = strip[top:end] if isinstance(strip, np.ndarray) else np.asarray(strip.crop((0, top, width, end)))
            strip = self.meant(strip)
            yield strip.astype(strip.dtype.newbyteorder("="), copy=False)

    def checked(self) -> "Deep":
        """Return itself.

        Raises:
            RetrainLabError: no value is finite.
        """
        if self.dtype.kind == "f" and not any(np.isfinite(strip).any() for strip in self.strips()):
            raise RetrainLabError("it holds no number: all its values are NaN or infinite")
        return self

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """The darkest and the brightest value, of all but the one in a thousand that may be hot, or dead.

        Values that are not finite are left out. What the file declares as its brightest counts, unless it is brighter.
        """
        most = self.shape[0] * self.shape[1] // _LEFT_OUT + 1  # so many, sorted, are enough at either end
        darkest = brightest = np.empty(0, self.dtype)
        count = 0
        for strip in self.strips():
            finite = strip[np.isfinite(strip)] if strip.dtype.kind == "f" else strip.ravel()
            count += finite.size
            darkest = np.sort(np.concatenate([darkest, _least(finite, most)]))[:most]
            brightest = np.sort(np.concatenate([brightest, _greatest(finite, most)]))[-most:]
        few = count // _LEFT_OUT
        low, high = float(darkest[few]), float(brightest[-1 - few])
        return low, high if self.declared is None else max(high, self.declared)


def _least(values: np.ndarray, most: int) -> np.ndarray:
    return values if values.size <= most else np.partition(values, most - 1)[:most]


def _greatest(values: np.ndarray, most: int) -> np.ndarray:
    return values if values.size <= most else np.partition(values, -most)[-most:]


def read(image: Image.Image, upright: Image.Image, decoder: str, file: BinaryIO) -> Deep:
    """Take the values of an image that Pillow has decoded.

    Args:
        image: with what the file says of itself.
        upright: the same, upright.
        decoder: its name, before the image was decoded.
        file: it was read from.

    Raises:
        RetrainLabError: no value is a number.
    """
    deep = Deep(upright, meant=_meant(image))
    return Deep(upright, _declared(image, decoder, file, deep), deep.meant).checked()


def _meant(image: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """Tell how to take values as the file has them: all that can be of 16 and 32 bits is signed, of 32, to Pillow."""
    if image.mode == "I" and image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        signed, wide = tags.get(_KIND, (1,))[0] == 2, tags.get(_BITS, (16,))[0] > 16
        if not wide:
            return lambda strip: strip.astype(np.int16)
        return (lambda strip: strip) if signed else (lambda strip: strip.view(np.uint32))
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return lambda strip: strip.astype(np.uint16)
    return lambda strip: strip


def _declared(image: Image.Image, decoder: str, file: BinaryIO, deep: Deep) -> float | None:
    """Find what a file says is its brightest value; that it has room for 16 or 32 bits says nothing.

    Fewer bits of a PGM or a JPEG 2000 file are stretched to all 16, by Pillow, which then has the last bits 0 in the
    latter; those of a PNG by who wrote it, as its specification wants it.
    """
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if (found := tags.get(_SIGNED_MOST) or tags.get(_MOST)) is not None:
            most = float(np.max(found))
            room = np.inf if deep.dtype.kind == "f" else np.iinfo(deep.dtype).max
            return most if most < room else None
        bits = tags.get(_BITS, (16,))[0]
        return 2.0**bits - 1 if bits < 16 else None
    if decoder == "ppm" or (image.format == "JPEG2000" and not any((strip & 1).any() for strip in deep.strips())):
        return 65535.0
    if image.format == "PNG" and 0 < (bits := _significant_bits(file)) < 16:
        most = 2.0**bits - 1
        return most if max(strip.max() for strip in deep.strips()) <= most else 65535.0
    return None


def _significant_bits(file: BinaryIO) -> int:
    """Read the chunk sBIT of a PNG, which stands before the pixels; 0 without one."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"sBIT":
            return max(file.read(min(length, 4)), default=0)
        if kind == b"IDAT":
            break
        file.seek(length + 4, io.SEEK_CUR)
    return 0
