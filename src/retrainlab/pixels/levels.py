"""One scale for a folder: which values become black and white in images that are not of 8 bits.

Such images are as a detector counted: 10, 12 or 14 bits in 16, or numbers with a fraction. Were each stretched by its
own values, a dark image would look like a bright one, and a single hot pixel would darken all others of its image.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

_LEFT_OUT = 1000  # one pixel in so many may be hot or dead
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

        White is 2**bits - 1, with as many bits as its images need together, at least 8; or 1, where all are of
        numbers up to 1. Black is 0, or minus white where there are values below 0.
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

    def apply(self, values: np.ndarray, declared: float | None = None) -> np.ndarray:
        """Scale values [height, width] to uint8, rounded; NaN becomes black. `declared`: see `extremes`."""
        known = self.known(values.dtype.name) or _range(*extremes(values, declared), values.dtype.kind == "f")
        black, white = map(float, known)
        scaled = np.nan_to_num(values.astype(np.float32), copy=False, nan=black, posinf=white, neginf=black)
        scaled -= black
        scaled *= 255 / (white - black)
        return np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)

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


def extremes(values: np.ndarray, declared: float | None = None) -> tuple[float, float]:
    """Find an image's darkest and brightest value, of all but the one in a thousand that may be hot, or dead.

    Args:
        values: [height, width], some of them finite; the others are left out.
        declared: what the file says is its brightest; it counts unless the image itself is brighter.
    """
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    few = finite.size // _LEFT_OUT
    ordered = np.partition(finite, (few, finite.size - 1 - few))
    low, high = float(ordered[few]), float(ordered[-1 - few])
    return low, high if declared is None else max(high, declared)


def _range(low: float, high: float, floating: bool) -> _Range:
    most = max(high, -low)
    white = 1 if floating and most <= 1 else 2 ** max(8, int(most).bit_length()) - 1
    return (-white if low < 0 else 0), white


def _floating(dtype: str) -> bool:
    return np.dtype(dtype).kind == "f"
