"""A Backbone: a pretrained network, ready to run; and the kinds of handles that one may be named by.

To add a kind, write a module with a `KIND` beside this one, such as `keras_files.py`; `registry` finds it. Nothing else
changes.
"""

import time
import timeit
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RetrainLabError
from .runtimes import frozen, litert

NETWORK = "backbone.tflite"
GRAPH = "backbone.pb"  # instead of that, where LiteRT cannot run it


@dataclass(frozen=True)
class BackboneSettings:
    """What a backbone is asked for by.

    Attributes:
        handle: an embedded name, a SavedModel's path, or a TF Hub URL or Kaggle handle.
        image_size: pixels a side, 0 for what the module asks for.
        depth, average_views: what is read from it; see `derived.reading`.
        tuned: digest of the network that fine-tuning made of it, empty for the network as it is.
    """

    handle: str
    image_size: int = 0
    depth: str = "last"
    average_views: bool = False
    tuned: str = ""


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, ready to compute bottlenecks on the CPU.

    Attributes:
        settings: as it was asked for.
        digest: identifies the network's content, 64 hex digits.
        image_size: (height, width) of the pixels that it takes.
        dim: length of a bottleneck.
        module: folder of the SavedModel.
        folder: `bottleneck_dir/<digest>`, where the converted network and the bottlenecks lie.
        no_litert: why TensorFlow runs it, as the beginning of a sentence; empty where LiteRT does.
    """

    settings: BackboneSettings
    digest: str
    image_size: tuple[int, int]
    dim: int
    module: Path
    folder: Path
    no_litert: str = ""

    @property
    def handle(self) -> str:
        """What it was asked for by."""
        return self.settings.handle

    @property
    def record(self) -> dict[str, Any]:
        """What a run keeps of it, to find it again."""
        runtime = "TensorFlow on the CPU" if self.no_litert else "LiteRT on the CPU"
        return asdict(self.settings) | {"digest": self.digest, "runtime": runtime}

    @cached_property
    def network(self) -> Callable[[np.ndarray], np.ndarray]:
        """The converted network, opened: float32 [1, height, width, 3] in [0, 1] -> float32 [1, dim]."""
        return open_network(network_in(self.folder))

    def bottlenecks(self, pixels: np.ndarray) -> np.ndarray:
        """Compute the bottlenecks of images; threads may call this side by side.

        Args:
            pixels: uint8 [n, height, width, 3] of `image_size`, 0 to 255. The network sees them as [0, 1].

        Returns:
            float32 [n, dim].

        Raises:
            RetrainLabError: the network fails on an image.
        """
        try:
            rows = [self.network(image[None].astype(np.float32) / 255.0)[0] for image in pixels]
        except RuntimeError as error:  # such as where a matrix that it makes of an image has no inverse
            raise RetrainLabError(f"the network fails on it: {error}") from error
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def milliseconds(self) -> float:
        """Measure what an image costs on one core, without reading it: the least of 8 times, after one to warm up.

        What counts is the processor's time: TensorFlow shares an image among the cores.
        """
        pixels = np.random.default_rng(0).integers(0, 256, (1, *self.image_size, 3), dtype=np.uint8)
        self.bottlenecks(pixels)
        seconds = timeit.repeat(lambda: self.bottlenecks(pixels), timer=time.process_time, number=1, repeat=8)
        return round(1000 * min(seconds), 2)


def network_in(folder: Path) -> Path:
    """Find the network of a folder: `GRAPH` where there is one, else `NETWORK`."""
    return folder / GRAPH if (folder / GRAPH).exists() else folder / NETWORK


def open_network(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Open a network, by LiteRT or, if it is a frozen graph, by TensorFlow.

    Raises:
        ValueError: it is damaged, or not there.
    """
    return frozen(file) if file.name == GRAPH else litert(file)


@dataclass(frozen=True)
class Kind:
    """A kind of handle: what is known of a backbone before TensorFlow has seen it.

    Attributes:
        order: whose turn it is: names (0) are asked before what lies on this disk (1), and that before addresses (2).
        listed: how an error message lists what may be given, in one part or more.
        recognises: handle -> whether it is of this kind.
        digest: handle -> 64 hex digits that identify the network's content, before anything is built.
        module: (handle, place) -> the folder of its SavedModel. It is fetched if need be, or built within the folder
            `place`, unless it is there already. RetrainLabError where it cannot be had.
        renewable: whether a SavedModel that cannot be loaded is removed, so that the next call fetches or builds it
            anew. What is a person's own is left alone.
    """

    order: int
    listed: tuple[str, ...]
    recognises: Callable[[str], bool]
    digest: Callable[[str], str]
    module: Callable[[str, Path], Path]
    renewable: bool = False
