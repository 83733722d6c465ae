"""Read an image file, whatever its format, as upright RGB pixels; or say why that cannot be done."""

import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import RetrainLabError

_WHY = {
    UnidentifiedImageError: "not an image in any format that can be read; convert it to JPEG, PNG or TIFF",
    FileNotFoundError: "the file does not exist",
    IsADirectoryError: "a folder, not an image file",
    PermissionError: "the file may not be read: permission denied",
    Image.DecompressionBombError: "the image has too many pixels to be read safely",
}


def read_pixels(source: Path | str | bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image file, or its bytes, as upright RGB: uint8 [height, width, 3]. Its content decides the format.

    Rotated by EXIF; alpha is laid over white; 16 bits become 8; the first frame of an animation.

    Args:
        size: (height, width) to resize to, bilinearly and without keeping the aspect, as retrain.py does.
            Large JPEGs are decoded at a reduced scale of at least twice that. None keeps the image's own size.

    Raises:
        RetrainLabError: the file cannot be read as an image; the message says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata in files that it reads well
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if size is not None:
                    image.draft("RGB", (2 * size[1], 2 * size[0]))
                rgb = _to_rgb(ImageOps.exif_transpose(image))
            if size is not None and rgb.size != (size[1], size[0]):
                rgb = rgb.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise RetrainLabError(why_unreadable(error)) from error


def read_many(sources: Sequence[Path | str | bytes], size: tuple[int, int] = (48, 48)) -> np.ndarray:
    """Read images as `read_pixels` does, by threads: uint8 [n, height, width, 3]; grey where one cannot be read."""

    def read(source: Path | str | bytes) -> np.ndarray:
        try:
            return read_pixels(source, size)
        except RetrainLabError:
            return np.full((*size, 3), 128, np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array(list(pool.map(read, sources)), np.uint8).reshape(-1, *size, 3)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16-bit greys and floats; Pillow's own conversion would clip them at 255
        values = np.nan_to_num(np.asarray(image, None if image.mode == "F" else np.float64))
        most = float(values.max(initial=0))  # floats reach 1, 255, or, as from microscopes, what 10 to 16 bits hold
        # cameras put 10, 12 or 14 bits into 16: keep the upper eight of those that are used
        scale = 255 if image.mode == "F" and most <= 1 else 2.0 ** -max(0, int(most).bit_length() - 8)
        image = Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return image.convert("RGB")


def why_unreadable(error: Exception) -> str:
    """Say in words a person can act on why Pillow, or the disk, gave up on a file."""
    for kind, why in _WHY.items():
        if isinstance(error, kind):
            return why
    if "truncated" in str(error).lower():
        return "the image file is cut short (truncated)"
    return f"the image file is damaged ({str(error) or type(error).__name__})"
