"""Pixels of image files, whatever their format: upright RGB of 8 bits, on one scale for a folder."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import RetrainLabError
from .levels import OWN, Levels
from .opening import glance, open_image

_LOOK = (64, 64)  # as large as an image must be to be looked at


def read_pixels(
    source: Path | str | bytes, size: tuple[int, int] | None = None, levels: Levels = OWN, name: str = ""
) -> np.ndarray:
    """Read an image file, or its bytes, as upright RGB: uint8 [height, width, 3]. Its content decides the format.

    Rotated by EXIF; alpha is laid over white; the first frame of an animation. Greys of 16 or 32 bits, and with a
    fraction, become 8 bits by `levels`; of colours of 16 bits, Pillow gives the upper 8.

    Args:
        size: (height, width) to resize to, bilinearly and without keeping the aspect, as retrain.py does.
            Large JPEGs are decoded at a reduced scale of at least twice that. None keeps the image's own size.
        levels: the scale of images that are not of 8 bits.
        name: the file's, where `source` is bytes: camera raw is told by it.

    Raises:
        RetrainLabError: the file cannot be read as an image; the message says why.
    """
    with open_image(source, size, name) as image:
        return image.pixels(size, levels)


def read_many(
    sources: Sequence[Path | str | bytes], size: tuple[int, int] = (48, 48), levels: Levels = OWN
) -> np.ndarray:
    """Read images as `read_pixels` does, by threads: uint8 [n, height, width, 3]; grey where one cannot be read."""

    found = _read_each(lambda source: read_pixels(source, size, levels), sources, size)
    return np.array(found, np.uint8).reshape(-1, *size, 3)


def read_whole(sources: Sequence[Path | str | bytes], side: int, levels: Levels = OWN) -> list[np.ndarray]:
    """Read images for people to look at, by threads: uint8 [height, width, 3] each, the longer one `side` pixels.

    Proportions stay; what cannot be read is a grey square.
    """

    def read(source: Path | str | bytes) -> np.ndarray:
        with open_image(source, (side, side)) as image:
            scale = side / max(image.width, image.height)
            return image.pixels((max(1, round(image.height * scale)), max(1, round(image.width * scale))), levels)

    return _read_each(read, sources, (side, side))


def _read_each(
    read: Callable[[Path | str | bytes], np.ndarray], sources: Sequence[Path | str | bytes], size: tuple[int, int]
) -> list[np.ndarray]:
    """Read images by threads; grey of this size where one cannot be read."""

    def shown(source: Path | str | bytes) -> np.ndarray:
        try:
            return read(source)
        except RetrainLabError:
            return np.full((*size, 3), 128, np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(shown, sources))


@dataclass(frozen=True)
class ImageFolder:
    """A folder whose images are read on one scale.

    Attributes:
        root: what the paths in its images table count from.
        levels: the scale of those that are not of 8 bits.
    """

    root: Path
    levels: Levels = OWN

    @classmethod
    def of(cls, root: Path, images: pd.DataFrame) -> "ImageFolder":
        """Take the scale that the images table of a folder asks for."""
        return cls(root, Levels.of(images))

    def read(self, path: str, size: tuple[int, int] | None = None) -> np.ndarray:
        """Read an image as `read_pixels` does; `path` as in the images table."""
        return read_pixels(self.root / path, size, self.levels)

    def read_many(self, paths: Iterable[str], size: tuple[int, int] = (48, 48)) -> np.ndarray:
        """Read images as the function `read_many` does."""
        return read_many([self.root / path for path in paths], size, self.levels)

    def read_whole(self, paths: Iterable[str], side: int) -> list[np.ndarray]:
        """Read images as the function `read_whole` does."""
        return read_whole([self.root / path for path in paths], side, self.levels)


@dataclass(frozen=True)
class Look:
    """What the images table says of an image: its size, upright; its format; where it is not of 8 bits, its values.

    Attributes:
        dtype: of the values, "uint16" and the like; None for 8 bits.
        low, high: the darkest and the brightest value; see `deep.Deep`.
    """

    width: int
    height: int
    format: str
    dtype: str | None
    low: float | None
    high: float | None


def look(data: bytes, name: str) -> Look:
    """Look at the content of an image file, for the images table; `name` is its name or path.

    A JPEG that is whole is not decoded: that takes most of the time, and is done when its bottleneck is computed.

    Raises:
        RetrainLabError: it cannot be read as an image; the message says why.
    """
    if seen := glance(data, name):
        return Look(*seen, None, None, None)
    with open_image(data, _LOOK, name) as found:
        dtype, low, high = (None,) * 3 if (deep := found.deep) is None else (deep.dtype.name, *deep.extremes)
        return Look(found.width, found.height, found.format, dtype, low, high)
