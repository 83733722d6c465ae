"""A Backbone: a pretrained network, converted to LiteRT, in the folder of the cache where its bottlenecks lie too."""

import json
import os
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .runtimes import litert

NETWORK = "backbone.tflite"
_RECORD = "backbone.json"


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, ready to compute bottlenecks on the CPU.

    Attributes:
        handle: as it was asked for.
        digest: identifies the network's content, 64 hex digits.
        image_size: (height, width) of the pixels that it takes.
        dim: length of a bottleneck.
        module: folder of the SavedModel.
        folder: `bottleneck_dir/<digest>`, where the converted network and the bottlenecks lie.
    """

    handle: str
    digest: str
    image_size: tuple[int, int]
    dim: int
    module: Path
    folder: Path

    @cached_property
    def _run(self) -> Callable[[np.ndarray], np.ndarray]:
        return litert(self.folder / NETWORK)

    def bottlenecks(self, pixels: np.ndarray) -> np.ndarray:
        """Compute the bottlenecks of images; threads may call this side by side, each gets its own interpreter.

        Args:
            pixels: uint8 [n, height, width, 3] of `image_size`, 0 to 255. The network sees them as [0, 1].

        Returns:
            float32 [n, dim].
        """
        rows = [self._run(image[None].astype(np.float32) / 255.0)[0] for image in pixels]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def milliseconds(self, times: int = 8) -> float:
        """Measure what an image costs on one core, without reading it: the least of `times`, after one to warm up."""
        pixels = np.random.default_rng(0).integers(0, 256, (1, *self.image_size, 3), dtype=np.uint8)
        self.bottlenecks(pixels)
        return round(1000 * min(timeit.repeat(lambda: self.bottlenecks(pixels), number=1, repeat=times)), 2)


def record(backbone: Backbone) -> None:
    """Write `backbone.json` beside the converted network, for `opened`."""
    values = {
        "handle": backbone.handle,
        "digest": backbone.digest,
        "image_size": list(backbone.image_size),
        "input_range": [0, 1],
        "dim": backbone.dim,
    }
    aside = backbone.folder / f"{_RECORD}.{os.getpid()}"
    aside.write_text(json.dumps(values, indent=1) + "\n")
    aside.replace(backbone.folder / _RECORD)


def opened(folder: Path, handle: str, module: Path) -> Backbone | None:
    """Open what was converted into a folder; None where nothing was, or where it was damaged since."""
    try:
        values = json.loads((folder / _RECORD).read_text())
        height, width = values["image_size"]
        found = Backbone(handle, values["digest"], (height, width), values["dim"], module, folder)
        found._run  # noqa: B018 (opens the network)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found
