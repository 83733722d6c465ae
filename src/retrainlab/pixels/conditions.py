"""Hard conditions in five steps, and masks: what an image becomes when it is taken badly, or when a part is hidden.

After Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, 2019
(arXiv:1903.12261): a few kinds of damage, each in five steps, here from hardly visible to severe. The strengths are
this project's own. Whatever is hidden becomes mid grey, 128, and not the mean colour of the image, which would still
tell something of what is under it.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from ..errors import RetrainLabError

_HIDDEN = 128
_SIDE = 224  # the strength of a blur is told in pixels of an image of this many a side
_Way = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]  # pixels, strength, chance -> pixels


@dataclass(frozen=True)
class Condition:
    """A condition or a mask: turns the pixels that a backbone gets into others, always the same for the same image.

    Raises:
        RetrainLabError: there is no such name, or it has no such step.
    """

    name: str  # of `CONDITIONS` or `MASKS`
    step: int = 1  # 1, hardly visible, to 5, severe; a mask has one

    def __post_init__(self) -> None:
        if self.name not in _WAYS:
            raise RetrainLabError(f"There is no condition '{self.name}'. Choose one of: {', '.join(_WAYS)}.")
        steps = len(_WAYS[self.name][1])
        if not 1 <= self.step <= steps:
            raise RetrainLabError(f"Step {self.step} of '{self.name}' is asked for. Expected 1 to {steps}.")

    def __str__(self) -> str:
        return self.name if self.name in MASKS else f"{self.name}, step {self.step}"

    @property
    def strength(self) -> float:
        """How far it goes, in the unit of its kind."""
        return _WAYS[self.name][1][self.step - 1]

    @property
    def what(self) -> str:
        """What is computed under it, for a sentence with their count."""
        return f"images ({self})"

    def apply(self, pixels: np.ndarray, sha256: str) -> np.ndarray:
        """Show an image under it: uint8 [height, width, 3], both.

        Args:
            sha256: of the image's content, hex digits: noise, and the place of what covers it, are drawn from it and
                from the step.
        """
        chance = np.random.default_rng([int(sha256[:15], 16), self.step])
        made = _WAYS[self.name][0](pixels, self.strength, chance)
        if made.dtype != np.uint8:
            made = np.clip(np.rint(made), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(made)

    def variant(self, number: int = 1) -> int:
        """Name it in the cache, an int below 2 to the 31; it makes but one variant of an image, whatever the `number`.

        The last byte is 0, which it never is for a distortion. The strength counts, so that the cache is not believed
        any more when a later version of this module sets it anew.
        """
        return (zlib.crc32(f"{self.name} {self.strength}".encode()) & 0x7FFFFF) << 8

    def make(
        self, read: Callable[[tuple[int, int]], np.ndarray], size: tuple[int, int], sha256: str, number: int
    ) -> np.ndarray:
        """Make the variant from an image that `read` gives in any size: see `computing.Change`."""
        return self.apply(read(size), sha256)


def _brightened(pixels: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    """Expose it longer, or shorter."""
    return pixels * np.float32(factor)


def _less_contrast(pixels: np.ndarray, kept: float, _: np.random.Generator) -> np.ndarray:
    """Keep a share of each value's distance from the mean colour."""
    mean = pixels.mean(axis=(0, 1), dtype=np.float32)
    return mean + (pixels - mean) * np.float32(kept)


def _blurred(pixels: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    """Blur it by a Gaussian, whose standard deviation is in pixels of an image of 224 a side."""
    radius = sigma * min(pixels.shape[:2]) / _SIDE
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _noisy(pixels: np.ndarray, deviation: float, chance: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise to each value, of a standard deviation in shares of white."""
    return pixels + np.float32(255 * deviation) * chance.standard_normal(pixels.shape, np.float32)


def _jpeg(pixels: np.ndarray, quality: float, _: np.random.Generator) -> np.ndarray:
    """Save it as a JPEG of a quality, 1 to 95, and read it again."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def _low_resolution(pixels: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    """Reduce it to a share of its sides."""
    height, width = pixels.shape[:2]
    return _reduced(pixels, max(1, round(share * height)), max(1, round(share * width)))


def _coarse(pixels: np.ndarray, side: float, _: np.random.Generator) -> np.ndarray:
    """Reduce it to this many pixels a side, unless it has fewer."""
    return _reduced(pixels, min(int(side), pixels.shape[0]), min(int(side), pixels.shape[1]))


def _reduced(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Reduce it to means of boxes, and enlarge those bilinearly, as a small photo is enlarged for a backbone."""
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.resize(pixels.shape[1::-1], Image.Resampling.BILINEAR))


def _rotated(pixels: np.ndarray, degrees: float, _: np.random.Generator) -> np.ndarray:
    """Turn it counterclockwise around its middle; corners that were not in the image are hidden."""
    turned = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(_HIDDEN,) * 3)
    return np.asarray(turned)


def _partly_covered(pixels: np.ndarray, share: float, chance: np.random.Generator) -> np.ndarray:
    """Hide one box of the image's shape that is a share of its area, anywhere in it."""
    height, width = pixels.shape[:2]
    high, wide = (max(1, round(side * share**0.5)) for side in (height, width))
    top, left = chance.integers(0, height - high + 1), chance.integers(0, width - wide + 1)
    covered = pixels.copy()
    covered[top : top + high, left : left + wide] = _HIDDEN
    return covered


def _hidden(pixels: np.ndarray, _: float, __: np.random.Generator, middle: bool) -> np.ndarray:
    """Hide the middle, which is the inner half of both sides' lengths, or all but that."""
    height, width = pixels.shape[:2]
    inner = np.zeros((height, width, 1), bool)
    inner[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return np.where(inner == middle, np.uint8(_HIDDEN), pixels)


def _grey(pixels: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """Take the colour away (ITU-R 601-2 luma)."""
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def _mirrored(pixels: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """Swap left and right."""
    return pixels[:, ::-1]


def _upside_down(pixels: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """Turn it by 180 degrees."""
    return pixels[::-1, ::-1]


_HARD: dict[str, tuple[_Way, tuple[float, ...]]] = {
    "darker": (_brightened, (0.85, 0.65, 0.45, 0.3, 0.15)),
    "lighter": (_brightened, (1.15, 1.35, 1.7, 2.2, 3)),
    "less contrast": (_less_contrast, (0.8, 0.6, 0.4, 0.25, 0.12)),
    "blurred": (_blurred, (0.8, 1.5, 2.5, 4, 6)),
    "noisy": (_noisy, (0.03, 0.07, 0.13, 0.22, 0.35)),
    "JPEG": (_jpeg, (60, 30, 15, 8, 4)),
    "low resolution": (_low_resolution, (0.6, 0.4, 0.25, 0.16, 0.1)),
    "rotated": (_rotated, (3, 8, 15, 25, 45)),
    "partly covered": (_partly_covered, (0.02, 0.08, 0.18, 0.32, 0.5)),
}
_MASKING: dict[str, tuple[_Way, tuple[float, ...]]] = {
    "only the middle": (partial(_hidden, middle=False), (1,)),
    "only the border": (partial(_hidden, middle=True), (1,)),
    "coarse": (_coarse, (16,)),
    "grey": (_grey, (1,)),
    "mirrored": (_mirrored, (1,)),
    "upside down": (_upside_down, (1,)),
}
_WAYS = _HARD | _MASKING

CONDITIONS = {name: tuple(Condition(name, step) for step in range(1, 6)) for name in _HARD}  # name -> its five steps
MASKS = {name: Condition(name) for name in _MASKING}
