"""A module -> one frozen graph, from images to bottlenecks."""

import contextlib
from typing import Any

from .. import sealing
from ..files import replacing
from ..sealing import DamagedFile
from .backbone import Backbone
from .modules import load_module
from .runtimes import quiet, tensorflow

INPUT = "Placeholder"  # retrain.py's name for the frozen graph's input
_KEPT = "frozen.pb"
OUTPUT = "bottleneck"  # node of the frozen backbone that a head goes on


def freeze(backbone: Backbone, module: tuple[Any, Any] | None = None) -> Any:
    """Freeze a backbone into a GraphDef, from `INPUT` to `OUTPUT`, with constants for variables and no functions.

    It is kept beside the bottlenecks: loading and freezing a module anew takes seconds.
    """
    tf = tensorflow()
    kept = backbone.folder / _KEPT
    with contextlib.suppress(OSError, DamagedFile):  # not there, or another
        return tf.compat.v1.GraphDef.FromString(sealing.read_bytes(kept, backbone.digest))
    graph = _frozen(backbone, module)
    with (
        contextlib.suppress(OSError),
        replacing(kept) as aside,
    ):  # in a cache that only others may write, it is not kept
        aside.write_bytes(sealing.with_seal(graph.SerializeToString(), backbone.digest))
    return graph


def _frozen(backbone: Backbone, module: tuple[Any, Any] | None) -> Any:
    tf = tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    features, _ = module or load_module(backbone.module)
    spec = tf.TensorSpec([None, *backbone.image_size, 3], tf.float32, INPUT)
    function = tf.function(lambda images: tf.identity(features(images), OUTPUT), input_signature=[spec])
    with quiet():
        graph = convert_variables_to_constants_v2(function.get_concrete_function()).graph.as_graph_def()
    for node in graph.node:  # nothing is left that an order would matter to, and cut in two, it could not be kept
        kept = [name for name in node.input if not name.startswith("^")]
        node.ClearField("input")
        node.input.extend(kept)
    return graph
