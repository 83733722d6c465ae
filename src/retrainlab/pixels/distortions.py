"""Random crop, scale, brightness and flip, as retrain.py defines them: pure functions on pixel arrays.

Unlike there, a distorted image does not end the use of the cache: each training image has a fixed number of seeded
variants, and their bottlenecks are kept like any other.
"""

import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from functools import partial

import numpy as np

from ..errors import RetrainLabError
from .decoding import ImageFolder

_MOST_VARIANTS = 255  # they share a number with the distortion that they are made by


@dataclass(frozen=True)
class Drawn:
    """What chance decided for one variant: how to make it from an image."""

    resized: tuple[int, int]
    top: int
    left: int
    flip: bool
    brightness: float


@dataclass(frozen=True)
class Distortion:
    """How far training images may be distorted; all at their defaults means not at all."""

    flip_left_right: bool = False  # mirror every other image
    random_crop: int = 0  # percent by which the image is larger than the box that is cut from it, from 0 up
    random_scale: int = 0  # percent by which the image is enlarged at most, from 0 up
    random_brightness: int = 0  # percent by which values are multiplied up or down at most, 0 to 100

    def __post_init__(self) -> None:
        for name in ("random_crop", "random_scale", "random_brightness"):
            value, most = getattr(self, name), 100 if name == "random_brightness" else 1000
            if not 0 <= value <= most:
                raise RetrainLabError(f"{name} is {value}. Expected a percentage from 0 to {most}.")

    @property
    def what(self) -> str:
        """What it makes, for a sentence with their count."""
        return "distorted images"

    @property
    def active(self) -> bool:
        """Whether anything is distorted at all."""
        return any(astuple(self))

    def apart(self) -> "dict[str, Distortion]":
        """Take them apart: one distortion for each that is on, by name; empty where fewer than two are."""
        on = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name)}
        return {name: Distortion(**{name: value}) for name, value in on.items()} if len(on) > 1 else {}

    def variant(self, number: int) -> int:
        """Name variant `number` (from 1) of this distortion in the cache: an int that is never 0, below 2 to the 31."""
        if not 1 <= number <= _MOST_VARIANTS:
            raise RetrainLabError(f"distortion_variants reaches {number}. Expected 1 to {_MOST_VARIANTS}.")
        return (zlib.crc32(repr(self).encode()) & 0x7FFFFF) << 8 | number

    def draw(self, size: tuple[int, int], sha256: str, number: int) -> Drawn:
        """Decide by chance, the same for the same image content and number, how a variant of `size` is made."""
        random = np.random.default_rng([int(sha256[:15], 16), number])
        factor = (1 + self.random_crop / 100) * random.uniform(1, 1 + self.random_scale / 100)
        height, width = (max(side, round(factor * side)) for side in size)
        top, left = random.integers(0, height - size[0] + 1), random.integers(0, width - size[1] + 1)
        flip = bool(random.random() < 0.5) and self.flip_left_right
        range_ = self.random_brightness / 100
        return Drawn((height, width), int(top), int(left), flip, random.uniform(1 - range_, 1 + range_))

    def make(
        self, read: Callable[[tuple[int, int]], np.ndarray], size: tuple[int, int], sha256: str, number: int
    ) -> np.ndarray:
        """Make variant `number` from an image that `read` gives in any size: see `computing.Change`."""
        drawn = self.draw(size, sha256, number)
        return apply(read(drawn.resized), drawn, size)


class _Mirror(Distortion):
    """Not one of chance: the mirror image, the other view of an image beside itself."""

    def draw(self, size: tuple[int, int], sha256: str, number: int) -> Drawn:
        """Mirror it, whatever its content."""
        return Drawn(size, 0, 0, flip=True, brightness=1.0)


MIRROR = _Mirror()


def apply(pixels: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
    """Make a variant: uint8 [height, width, 3] of `size` from an image that was resized to `drawn.resized`."""
    cut = pixels[drawn.top : drawn.top + size[0], drawn.left : drawn.left + size[1]]
    if drawn.flip:
        cut = cut[:, ::-1]
    return np.clip(np.rint(cut * drawn.brightness), 0, 255).astype(np.uint8)


def examples(
    photos: ImageFolder, path: str, size: tuple[int, int], distortion: Distortion, sha256: str, variants: int
) -> np.ndarray:
    """Read an image and its first variants, at most 11, as the backbone gets them: uint8 [1 + variants, *size, 3]."""
    read = partial(photos.read, path)
    made = [distortion.make(read, size, sha256, number) for number in range(1, min(variants, 11) + 1)]
    return np.stack([read(size), *made])
