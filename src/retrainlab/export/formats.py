"""A backbone with a head on it in the formats of TensorFlow and LiteRT, in float32 and in 8 bits.

`module` is everywhere what `load_module` returned for the backbone.
"""

import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones.backbone import NETWORK, Backbone
from ..backbones.freezing import INPUT, OUTPUT
from ..backbones.runtimes import quiet, tensorflow
from ..errors import RetrainLabError
from ..training.heads import Head

_SCOPE = "final_retrain_ops"  # of the head's nodes
_RANGES = 200  # images that suffice to find the ranges of activations in 8 bits


def check_name(backbone_graph: Any, final_tensor_name: str) -> None:
    """Refuse a name that the output of a graph on this backbone cannot have.

    Raises:
        RetrainLabError: it is no name, or another node's; TensorFlow does not tell capitals from small letters here.
    """
    name = final_tensor_name.lower()
    taken = name in {node.name.lower() for node in backbone_graph.node} or f"{name}/".startswith(f"{_SCOPE}/")
    if taken or not re.fullmatch(r"[a-z0-9.][a-z0-9_.-]*(/[a-z0-9_.-]+)*", name):
        raise RetrainLabError(
            f"final_tensor_name is {final_tensor_name!r}, which the output of this graph cannot be called. Expected "
            f"letters, digits, '_', '-', '.' and '/', and not the name of another node, such as {INPUT}."
        )


def with_head(backbone_graph: Any, head: Head, final_tensor_name: str = "final_result") -> Any:
    """Put a head on a frozen backbone: a GraphDef from `Placeholder` to softmax probabilities `final_tensor_name`.

    Raises:
        RetrainLabError: the name cannot be used; see `check_name`.
    """
    check_name(backbone_graph, final_tensor_name)
    tf = tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        (x,) = tf.import_graph_def(backbone_graph, name="", return_elements=[f"{OUTPUT}:0"])
        tf.nn.softmax(_logits(x, _arrays(head)), name=final_tensor_name)
    return graph.as_graph_def()


def save(folder: Path, backbone: Backbone, head: Head, module: tuple[Any, Any]) -> None:
    """Write a SavedModel; its signatures are those of `exporting.write_saved_model`."""
    tf = tensorflow()
    height, width = backbone.image_size
    features, loaded = module
    owner = tf.Module()
    owner.backbone = loaded  # owns the variables that the signatures use
    owner.head = [tf.Variable(array) for array in _arrays(head)]

    def predict(images: Any) -> Any:
        return {"prediction": tf.nn.softmax(_logits(features(images), owner.head))}

    def decode(data: Any) -> Any:
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        resized = tf.image.resize(tf.cast(image, tf.float32), [height, width], antialias=True)
        return tf.round(resized) / 255.0  # to whole numbers, as the training images were: networks see the difference

    def predict_files(files: Any) -> Any:
        return predict(tf.map_fn(decode, files, fn_output_signature=tf.float32))

    pixels = tf.TensorSpec([None, height, width, 3], tf.float32, "image")
    files = tf.TensorSpec([None], tf.string, "image_bytes")
    signatures = {"serving_default": tf.function(predict, [pixels]), "image_bytes": tf.function(predict_files, [files])}
    with quiet():
        tf.saved_model.save(owner, str(folder), signatures)


def lite(backbone: Backbone, head: Head | None, module: tuple[Any, Any], images: np.ndarray | None = None) -> bytes:
    """Convert to LiteRT: to probabilities, or without a head to bottlenecks.

    Args:
        images: uint8 [n, height, width, 3], examples by which the backbone goes to 8 bits; None leaves it in float32.
            Input, output and the head stay float32: a head's weights differ by factors of thousands between features,
            which 8 bits cannot hold.
    """
    tf = tensorflow()
    features, loaded = module

    def run(image: Any) -> Any:
        return features(image) if head is None else tf.nn.softmax(_logits(features(image), _arrays(head)))

    spec = tf.TensorSpec([1, *backbone.image_size, 3], tf.float32, "image")
    concrete = tf.function(run, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], loaded)
    with quiet():
        if images is None:
            return converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None].astype(np.float32) / 255] for image in images)
        # the one way to leave some operations in float32; it has nothing to do with debugging here
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["FULLY_CONNECTED"])
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
        )
        return debugger.get_nondebug_quantized_model()


def quantized(backbone: Backbone, head: Head, module: tuple[Any, Any], images: np.ndarray) -> bytes:
    """Convert to LiteRT with an 8-bit backbone, and a head that makes up for what 8 bits do to the bottlenecks.

    Args:
        images: uint8 [n, height, width, 3], some hundreds of training images: the ranges of activations are taken
            from them (Jacob et al. 2018, arxiv.org/abs/1712.05877), and the head is fitted to what 8 bits make of them.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        Path(folder, NETWORK).write_bytes(lite(backbone, None, module, images[:_RANGES]))
        small = replace(backbone, folder=Path(folder))
        found, wanted = (np.concatenate([*pool.map(of.bottlenecks, images[:, None])]) for of in (small, backbone))
    kernel, bias = _corrected(*(head.hidden or (head.kernel, head.bias)), found, wanted)
    fitted = replace(head, hidden=(kernel, bias)) if head.hidden else replace(head, kernel=kernel, bias=bias)
    return lite(backbone, fitted, module, images[:_RANGES])


def _corrected(
    kernel: np.ndarray, bias: np.ndarray, found: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a layer on the features `found` that gives what `kernel` and `bias` give on those `wanted`, both [n, dim].

    8 bits shift and shrink every feature a little: a line a feature takes that back (bias correction, Nagel et al.
    2019, arxiv.org/abs/1906.04721, with a slope). What remains is fitted by ridge regression of the outputs.
    """
    centre, target = found.mean(axis=0), wanted.mean(axis=0)
    # the small constant: a feature that hardly varies says nothing of its slope, and is set to its mean
    slope = ((found - centre) * (wanted - target)).mean(axis=0) / (found.var(axis=0) + 1e-4)
    scale = found.std(axis=0) + 0.02  # likewise
    scaled = (found - centre) / scale
    rest = (wanted - target - (found - centre) * slope) @ kernel
    gram = scaled @ scaled.T
    penalty = np.trace(gram) / len(gram) * np.eye(len(gram))
    new = slope[:, None] * kernel + (scaled.T @ np.linalg.solve(gram + penalty, rest)) / scale[:, None]
    return new.astype(np.float32), (bias + target @ kernel - centre @ new).astype(np.float32)


def _arrays(head: Head) -> tuple[np.ndarray, ...]:
    return (*(head.hidden or ()), head.kernel, head.bias)


def _logits(x: Any, arrays: Sequence[Any]) -> Any:
    """Put a head on bottlenecks x [n, dim]; `arrays` are those of `_arrays`, or variables of them."""
    tf = tensorflow()
    *hidden, kernel, bias = arrays
    with tf.name_scope(_SCOPE):
        if hidden:
            x = tf.nn.relu(x @ hidden[0] + hidden[1])
        return tf.add(x @ kernel, bias, name="Wx_plus_b/pre_activations")
