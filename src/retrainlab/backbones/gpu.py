"""A network on a GPU, in batches as large as its memory takes.

In float32 without TF32, so that the cache holds the same whoever computed it, and a head meets in use, on a CPU, what
it has learnt from. Mixed precision would make the forward pass a few times as fast on tensor cores, but features would
be off by about 1e-3 instead of 1e-5 of the largest: they would need a digest and a cache of their own, and a head would
learn from another network than the one that is exported. Nor would all of it be won: a core decodes about 300 photos of
500 x 375 a second, so that mostly decoding is the next limit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from sys import modules
from typing import Any, TypeVar

import numpy as np

from ..errors import RetrainLabError
from .backbone import Backbone
from .freezing import INPUT, OUTPUT, freeze
from .runtimes import in_one_line, quiet, tensorflow

BATCH = 64  # images at a time; halved where the memory does not take them
_PROBES = 3  # images by which a batch is compared with one image at a time
_TOLERANCE = 1e-3  # of the largest feature, as between LiteRT and TensorFlow
# Importing TensorFlow takes seconds, which most extractions do without; without a driver it would find no GPU. The
# driver's files: where its module is loaded, where a container was given a GPU, and in Linux on Windows.
_SIGNS = "/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1"
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Gpu:
    """A device of TensorFlow: `place` is its name there, such as "/GPU:0", and `name` what people call it."""

    place: str
    name: str


class Unfit(Exception):
    """Why a network does not run on a GPU as it does elsewhere, as the end of a sentence without its full stop."""


def find() -> Gpu | None:
    """Find the first GPU that TensorFlow may use; without a sign of one, TensorFlow is not imported to ask."""
    if "tensorflow" not in modules and not any(Path(sign).exists() for sign in _SIGNS):
        return None
    config: Any = tensorflow().config
    if not (gpus := config.get_visible_devices("GPU")):
        return None
    details = config.experimental.get_device_details(gpus[0])
    return Gpu("/GPU:0", f"GPU ({details.get('device_name', 'of a kind that is not told')})")


@contextmanager
def enough_memory() -> Iterator[None]:
    """Say in a sentence that a device has no memory left; whoever computes on one does so in here.

    Raises:
        RetrainLabError: that.
    """
    try:
        yield
    except RetrainLabError:
        raise
    except tensorflow().errors.ResourceExhaustedError as error:
        raise RetrainLabError(
            "The memory of the device that computes is exhausted, even by one image at a time. What was computed is "
            "kept: end other programs that use it, or hide the GPU by CUDA_VISIBLE_DEVICES=-1, and run again."
        ) from error


class Portions:
    """What a device is given at a time: half as much whenever its memory was exhausted, down to one image."""

    def __init__(self, most: int) -> None:
        """Begin with so many images."""
        self.most = most

    def each(self, count: int, run: Callable[[slice], _Result]) -> Iterator[_Result]:
        """Run on one portion of `count` images after another; where not even one fits, TensorFlow's error is raised."""
        exhausted, done = tensorflow().errors.ResourceExhaustedError, 0
        while done < count:
            size = min(self.most, count - done)
            try:
                found = run(slice(done, done + size))
            except exhausted:
                if size == 1:
                    raise
                self.most = size // 2
                continue
            yield found
            done += size


class Batched:
    """A network that takes a batch of images: uint8 [n, height, width, 3] -> float32 [n, dim]."""

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], name: str, most: int = BATCH) -> None:
        """Take what runs the network on the device of this name; on exhausted memory, ResourceExhaustedError."""
        self._run, self._name, self._begun, self._portions = run, name, most, Portions(most)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Compute the bottlenecks of images.

        Raises:
            RuntimeError: the network fails on one of them.
            RetrainLabError: the device has no memory.
        """
        try:
            with enough_memory():
                return np.concatenate([*self._portions.each(len(pixels), lambda part: self._run(pixels[part]))])
        except tensorflow().errors.OpError as error:
            raise RuntimeError(in_one_line(error)) from error

    def __str__(self) -> str:
        most = self._portions.most
        shrunk = f", in batches of {most} for want of memory" if most < self._begun else ""
        return f"{self._name}, in float32{shrunk}"


@lru_cache(maxsize=1)  # conditions and distortions follow each other on one network
def open_network(backbone: Backbone, gpu: Gpu) -> Batched:
    """Open a backbone on a GPU, and check it against the CPU.

    Raises:
        Unfit: it fails there, or gives other features.
        RetrainLabError: the GPU has no memory.
    """
    tf = tensorflow()
    tf.config.experimental.enable_tensor_float_32_execution(False)  # also where somebody else imported TensorFlow
    network = Batched(partial(_run, _function(freeze(backbone), backbone.image_size), gpu.place), gpu.name)
    pixels = np.random.default_rng(0).integers(0, 256, (_PROBES, *backbone.image_size, 3), dtype=np.uint8)
    expected = backbone.bottlenecks(pixels)
    try:
        with quiet():  # the first batch brings notes on the libraries that it loads
            apart = float(np.abs(network(pixels) - expected).max())
    except RuntimeError as error:
        raise Unfit(f"the network fails on the {gpu.name}: {str(error)[:-1]}") from error
    if not apart <= _TOLERANCE * max(1.0, np.abs(expected).max()):
        raise Unfit(f"the network gives other features on the {gpu.name} (they differ by up to {apart:.2g})")
    return network


def _function(graph: Any, size: tuple[int, int]) -> Any:
    tf = tensorflow()

    def bottlenecks(pixels: Any) -> Any:
        images = tf.cast(pixels, tf.float32) / 255.0  # there: pixels travel as bytes
        return tf.graph_util.import_graph_def(graph, {f"{INPUT}:0": images}, [f"{OUTPUT}:0"], name="")[0]

    return tf.function(bottlenecks, input_signature=[tf.TensorSpec([None, *size, 3], tf.uint8)], autograph=False)


def _run(function: Any, place: str, pixels: np.ndarray) -> np.ndarray:
    with tensorflow().device(place):
        return function(pixels).numpy()
