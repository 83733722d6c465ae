"""Camera raw files, developed by the optional package rawpy (LibRaw)."""

import io
from pathlib import PurePath

import numpy as np

from ..errors import RetrainLabError
from .bounds import Hold

# By their content they are TIFF files whose image is a small picture, meant for a preview.
SUFFIXES = {".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dng", ".raw"}

_WEIGHT = 1.5  # LibRaw holds four numbers of 16 bits a pixel, beside what goes in and comes out


def is_raw(name: str) -> bool:
    """Tell by a file's name or path."""
    return PurePath(name).suffix.lower() in SUFFIXES


def read(data: bytes, size: tuple[int, int] | None, hold: Hold) -> tuple[np.ndarray, tuple[int, int]]:
    """Develop a raw file, by the camera's white balance: (uint8 RGB [height, width, 3], its own height and width).

    It is upright, and as bright as it was exposed: it is not brightened by what it shows, so that one scale holds for
    a folder. If it is at least twice as large as `size`, (height, width), it is developed at half its size.

    Raises:
        RetrainLabError: rawpy is not installed, or LibRaw cannot read the file.
    """
    try:
        import rawpy
    except ImportError as error:
        raise RetrainLabError("a camera raw file, which needs the package rawpy: pip install rawpy") from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            own = (raw.sizes.iheight, raw.sizes.iwidth)
            hold(max(own[0] * own[1], raw.sizes.raw_height * raw.sizes.raw_width), _WEIGHT)
            half = size is not None and min(own) >= 2 * max(size)
            pixels = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=8, half_size=half)
    except rawpy.LibRawError as error:
        why = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise RetrainLabError(f"a camera raw file that LibRaw cannot read ({why})") from error
    height, width = pixels.shape[:2]
    return pixels, own if (height < width) == (own[0] < own[1]) else own[::-1]
