"""A module -> one frozen graph, from images to bottlenecks."""

from typing import Any

from .backbone import Backbone
from .modules import load_module
from .runtimes import quiet, tensorflow

INPUT = "Placeholder"  # retrain.py's name for the frozen graph's input
OUTPUT = "bottleneck"  # node of the frozen backbone that a head goes on


def freeze(backbone: Backbone, module: tuple[Any, Any] | None = None) -> Any:
    """Freeze a backbone into a GraphDef, from `INPUT` to `OUTPUT`, with constants for variables and no functions."""
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
