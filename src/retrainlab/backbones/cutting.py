"""A network cut in two: the trunk below a cut, whose activations are cached, and the top above it, which is trained.

Both are made from a frozen graph, so that modules of TF1 and TF2, Keras models and embedded networks are treated alike.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..errors import RetrainLabError
from .backbone import Backbone, BackboneSettings
from .cuts import Cut, named, short
from .derived import derive
from .freezing import INPUT, OUTPUT
from .runtimes import quiet, tensorflow

_RECIPE = "1"  # raise it when a trunk changes: cached activations then no longer match
_AUTO = 0.25, 0.5  # share of the arithmetic above the cut that `auto` chooses
_BOTH = (0, 1)
# Which inputs of an operation are weights, where they are constants. The mean and the variance of a batch norm are not:
# they stay as they were measured.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Conv2D": (1,),
    "DepthwiseConv2dNative": (1,),
    "BiasAdd": (1,),
    **dict.fromkeys(["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"], (1, 2)),
    **dict.fromkeys(["MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"], _BOTH),
    **dict.fromkeys(["Add", "AddV2", "Sub", "Mul"], _BOTH),
}


def choose(cuts: Sequence[Cut], name: str) -> Cut:
    """Choose the cut to fine-tune above.

    Args:
        cuts: of the network, as of `cuts.of`.
        name: a cut's name or the unique end of one; or "auto": of those with a quarter to half of the arithmetic above
            them, or else of the nearest to that, the one with nearest to a third.

    Raises:
        RetrainLabError: there is no such cut, or none with arithmetic above it.
    """
    trainable = [cut for cut in cuts if cut.above > 0]
    if not trainable:
        raise RetrainLabError(
            f"fine_tune_from is '{name}', but this network cannot be fine-tuned: it has no cut with arithmetic above "
            "it, where a single tensor of height, width and channels carries everything. Leave fine_tune_from empty, "
            "or use another backbone."
        )
    if name.strip() != "auto":
        return named(trainable, name, "fine_tune_from", "'auto' or")
    least, most = _AUTO
    return min(trainable, key=lambda cut: (max(least - cut.above, cut.above - most, 0), abs(cut.above - 1 / 3)))


def below(graph: Any, cut: Cut) -> Any:
    """Take the part of a frozen GraphDef from `freezing.INPUT` to the cut."""
    return tensorflow().compat.v1.graph_util.extract_sub_graph(graph, [cut.name])


def above(graph: Any, cut: Cut) -> Any:
    """Take the part of a frozen GraphDef from the cut, now a Placeholder of that name, to `freezing.OUTPUT`.

    What depends on constants alone is one constant: batch norm by single operations becomes a scale and a shift.

    Raises:
        RetrainLabError: it is quantized.
    """
    tf = tensorflow()
    with tf.Graph().as_default() as built:
        tf.graph_util.import_graph_def(graph, name="")
    fixed, needed = _fixed(built), set()
    constants: dict[str, Any] = {}
    waiting = [built.get_operation_by_name(OUTPUT)]
    while waiting:
        operation = waiting.pop()
        if operation.name == cut.name or operation in needed:
            continue
        needed.add(operation)
        constants |= {_name(tensor): tensor for tensor in operation.inputs if tensor.op in fixed}
        waiting += [tensor.op for tensor in operation.inputs if tensor.op not in fixed]
    if quantized := sorted({operation.type for operation in needed if "Quant" in operation.type}):
        raise RetrainLabError(
            f"The network is quantized above the cut '{short(cut.name)}' ({', '.join(quantized)}), and cannot be "
            "fine-tuned there. Name a cut above that in fine_tune_from, leave it empty, or use another backbone."
        )
    top = tf.compat.v1.GraphDef(versions=graph.versions)
    entry = top.node.add(name=cut.name, op="Placeholder")
    entry.attr["dtype"].type = tf.float32.as_datatype_enum
    entry.attr["shape"].shape.CopyFrom(tf.TensorShape([None, *cut.shape]).as_proto())
    with quiet(), tf.compat.v1.Session(graph=built) as session:
        for name, value in session.run(constants).items():
            _set(top.node.add(), name, value)
    for operation in built.get_operations():  # in topological order
        if operation in needed:
            _add(top, operation, fixed)
    return top


def _fixed(built: Any) -> set[Any]:
    """Find the operations of a graph that depend on constants alone."""
    fixed: set[Any] = set()
    for operation in built.get_operations():  # each is made after what it takes
        of_fixed = len(operation.inputs) and all(tensor.op in fixed for tensor in operation.inputs)
        if operation.type == "Const" or (of_fixed and not operation.op_def.is_stateful):
            fixed.add(operation)
    return fixed


def _name(tensor: Any) -> str:
    """Name the constant that stands for a tensor."""
    return tensor.op.name if tensor.value_index == 0 else f"{tensor.op.name}/output_{tensor.value_index}"


def _add(top: Any, operation: Any, fixed: set[Any]) -> None:
    """Add an operation to a GraphDef, without the control inputs, the device and the neighbours that it had."""
    node = top.node.add()
    node.CopyFrom(operation.node_def)
    node.device = ""
    for attribute in ("_output_shapes", "_class"):
        node.attr.pop(attribute, None)
    node.ClearField("input")
    node.input.extend(_name(each) if each.op in fixed else each.name.removesuffix(":0") for each in operation.inputs)


def _set(node: Any, name: str, value: np.ndarray) -> None:
    """Make a node a constant."""
    tf = tensorflow()
    node.Clear()
    node.name, node.op = name, "Const"
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    node.attr["dtype"].type = node.attr["value"].tensor.dtype


def kernels(top: Any) -> dict[str, np.ndarray]:
    """Find what can be trained of a GraphDef that `above` gave: float32 constants that are weights, by name.

    Kernels, biases, and the scale and shift of a batch norm; no scalars, shapes or epsilons.
    """
    tf = tensorflow()
    takes_weights: dict[str, list[bool]] = {}
    for node in top.node:
        for place, name in enumerate(node.input):
            takes_weights.setdefault(name, []).append(place in _WEIGHTS.get(node.op, ()))
    found = {}
    for node in top.node:
        if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            value = tf.make_ndarray(node.attr["value"].tensor)
            if value.size > 1 and all(takes_weights[node.name]):
                found[node.name] = value
    return found


def with_values(graph: Any, values: Mapping[str, np.ndarray]) -> Any:
    """Copy a GraphDef with other values of its constants, by name."""
    copy = type(graph)()
    copy.CopyFrom(graph)
    for node in copy.node:
        if node.name in values:
            _set(node, node.name, np.asarray(values[node.name], np.float32))
    return copy


def trunk(backbone: Backbone, cut: Cut) -> Backbone:
    """Make the part of a backbone below a cut a Backbone: its bottleneck is the activation there, [h * w * c].

    Raises:
        RetrainLabError: it cannot be written.
    """
    return derive(backbone, f"trunk {_RECIPE} {cut.name}", partial(_trunk, cut))


def _trunk(cut: Cut, graph: Any) -> Callable[[Any], Any]:
    tf, trunk = tensorflow(), below(graph, cut)

    def activations(images: Any) -> Any:
        return tf.reshape(_run(trunk, INPUT, images, cut.name), [-1, cut.numbers])

    return activations


def tuned(
    backbone: Backbone, cut: Cut, values: Mapping[str, np.ndarray], settings: BackboneSettings | None = None
) -> Backbone:
    """Make a backbone with other weights above a cut.

    Args:
        values: weights by name, as `kernels` gave them.
        settings: see `derive`.

    Raises:
        RetrainLabError: LiteRT gives other numbers than TensorFlow, or it cannot be written.
    """
    found = hashlib.sha256()
    for name, value in sorted(values.items()):
        found.update(f"{name} {value.shape}".encode() + np.ascontiguousarray(value, np.float32).tobytes())
    recipe = f"tuned {_RECIPE} {cut.name} {found.hexdigest()}"
    return derive(backbone, recipe, partial(_tuned, cut, values), settings)


def _tuned(cut: Cut, values: Mapping[str, np.ndarray], graph: Any) -> Callable[[Any], Any]:
    # not the whole graph with other constants: both halves may share one
    trunk, top = below(graph, cut), with_values(above(graph, cut), values)
    return lambda images: _run(top, cut.name, _run(trunk, INPUT, images, cut.name), OUTPUT)


def _run(graph: Any, takes: str, values: Any, gives: str) -> Any:
    return tensorflow().graph_util.import_graph_def(graph, {f"{takes}:0": values}, [f"{gives}:0"], name="")[0]
