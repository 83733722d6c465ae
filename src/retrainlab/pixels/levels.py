"""One scale for a folder: which values become black and white in images that are not of 8 bits.

Such images are as a detector counted: 10, 12 or 14 bits in 16, or numbers with a fraction. Were each stretched by its
own values, a dark image would look like a bright one, and a single hot pixel would darken all others of its image.
"""

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from .deep import Deep

_COUNTS = 128  # numbers with a fraction that go up to it are counts of a detector, like whole numbers
_DIM = 1 / 8  # numbers that stay below it are no dark images in [0, 1], but of another unit
_DARK = 1 / 16  # of the greys: who has no more has lost half of the 8 bits
_OVERSHOOT = 0.05  # of white: as far beyond black or white as sharpening or enlarging an image takes it
_Range = tuple[float, float]


@dataclass(frozen=True)
class Levels:
    """The values that become 0 and 255 in images that are not of 8 bits; None leaves each image to its own.

    Attributes:
        integer: of images of whole numbers.
        floating: of the others.
    """

    integer: _Range | None = None
    floating: _Range | None = None

    @classmethod
    def of(cls, images: pd.DataFrame) -> "Levels":
        """Find the scale of an images table, from the columns dtype, low and high of its rows without a problem.

        White is 2**bits - 1, with as many bits as its images need together, at least 8. Numbers with a fraction that
        stay below 128 are no counts: theirs is 1 if they reach from an eighth of it to a little beyond, else the next
        power of two. Black is 0, or minus white where there are values below 0, and not by a little only.
        """
        if "dtype" not in images:
            return cls()
        rows = images[images["problem"].isna() & images["dtype"].notna()]
        floating = np.array([_floating(dtype) for dtype in rows["dtype"]], bool)
        integers, floats = rows[~floating], rows[floating]
        return cls(
            _range(integers["low"].min(), integers["high"].max(), False) if len(integers) else None,
            _range(floats["low"].min(), floats["high"].max(), True) if len(floats) else None,
        )

    def known(self, dtype: str) -> _Range | None:
        """Tell black and white for images of a dtype; None: there is no common scale for its kind."""
        return self.floating if _floating(dtype) else self.integer

    def apply(self, deep: Deep) -> np.ndarray:
        """Scale an image's values to 8 bits, rounded: uint8 [height, width]; NaN becomes black."""
        black, white = map(float, self.known(deep.dtype.name) or _range(*deep.extremes, deep.dtype.kind == "f"))
        return np.concatenate([_scaled(strip, black, white) for strip in deep.strips()])

    def identify(self, sha256: str, dtype: str | None) -> str:
        """Name the pixels that come of a file, 64 hex digits: its sha256, unless they depend on the scale, too."""
        if not isinstance(dtype, str):
            return sha256
        scale = " ".join(f"{value:.9g}" for value in self.known(dtype) or ())
        return hashlib.sha256(f"{sha256} {scale}".encode()).hexdigest()

    def __str__(self) -> str:
        """Say it to a person; empty where nothing is known."""
        kinds = {"whole numbers": self.integer, "numbers with a fraction": self.floating}
        return ", ".join(
            f"{kind} are seen from {span[0]:,g} (black) to {span[1]:,g} (white)" for kind, span in kinds.items() if span
        )

    def to_json(self) -> dict[str, list[float]]:
        """Write as {"integer": [black, white], "floating": [black, white]}, without the kinds that do not occur."""
        return {kind: list(span) for kind, span in asdict(self).items() if span}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Levels":
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError: it is something else.
        """
        spans = {kind: (black, white) for kind, (black, white) in values.items()}
        if wrong := [kind for kind, (black, white) in spans.items() if not black < white]:
            raise ValueError(f"levels of {wrong[0]} images {values[wrong[0]]}")
        return cls(**spans)


OWN = Levels()  # nothing is known that images share: each has its own scale


def in_the_dark(images: pd.DataFrame) -> list[str]:
    """Say in a sentence each, for whole numbers and for others, which image darkens most others of an images table."""
    rows = images[images["problem"].isna() & images["dtype"].notna()] if "dtype" in images else images[:0]
    said = []
    for _, alike in rows.groupby([_floating(dtype) for dtype in rows["dtype"]]):
        reach = np.maximum(alike["high"], -alike["low"])
        if reach.median() < _DARK * reach.max():
            said.append(
                f"{alike['path'][reach.idxmax()]} reaches {reach.max():,g}, half of the {len(alike):,} images like it "
                f"at most {reach.median():,g}: these look nearly black beside it. If it is not meant so, leave it out."
            )
    return said


def _scaled(values: np.ndarray, black: float, white: float) -> np.ndarray:
    scaled = np.nan_to_num(values.astype(np.float64), copy=False, nan=black, posinf=white, neginf=black)
    scaled -= black
    scaled *= 255 / (white - black)
    return np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)


def _range(low: float, high: float, floating: bool) -> _Range:
    """Tell black and white by the darkest and the brightest value."""
    most = max(high, -low)
    if not floating or most >= _COUNTS:
        white: float = 2 ** max(8, int(most).bit_length()) - 1
    else:
        usual = most == 0 or _DIM < most <= 1 + _OVERSHOOT
        white = 1 if usual else 2.0 ** math.ceil(math.log2(most))
    return (-white if low < -_OVERSHOOT * white else 0), white


def _floating(dtype: str) -> bool:
    return np.dtype(dtype).kind == "f"
