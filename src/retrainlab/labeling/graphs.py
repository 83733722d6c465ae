"""A frozen graph made by anybody's retrain.py -> a function: finds where images go in and probabilities come out.

Old graphs too: the input may be `input`, `Mul` or `Placeholder`, or `DecodeJpeg/contents`, which takes a whole file, as
in the Inception of 2015; between the backbone and the head lies a placeholder for bottlenecks, which is left alone.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones.runtimes import in_one_line, quiet, tensorflow
from ..errors import RetrainLabError
from ..files import opened

OUTPUT = "final_result"  # retrain.py's name for the output, unless --final_tensor_name says otherwise
_MUST_BE_FED = {"Placeholder", "PlaceholderV2"}
_PLACEHOLDERS = _MUST_BE_FED | {"PlaceholderWithDefault"}
_DECODERS = {"DecodeJpeg", "DecodePng", "DecodeImage"}
_VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}
_PASSES_ON = {"Identity", "Reshape", "Squeeze"}  # what slim's networks do to probabilities after the softmax


@dataclass(frozen=True)
class Graph:
    """A frozen graph, ready to run.

    Attributes:
        input: name of the node that images are fed to.
        output: name of the node that probabilities are read from.
        size: (height, width) of the pixels that it takes; None where it takes any.
        decoded: the graph scales and resizes by itself: it takes the pixels of one image as they are in the file.
        run: float32 [1, height, width, 3], or uint8 [height, width, 3] if `decoded`, -> float32 [labels]. Raises
            RetrainLabError where the graph cannot be run so.
    """

    input: str
    output: str
    size: tuple[int | None, int | None]
    decoded: bool
    run: Callable[[np.ndarray], np.ndarray]


def read(file: Path, input_layer: str | None = None, output_layer: str | None = None) -> Graph:
    """Read a frozen graph.

    Args:
        input_layer: node to feed, with or without `import/` before it and `:0` behind it; any node may be fed, not
            only placeholders. None finds the placeholder of images that the output depends on.
        output_layer: node to read. None finds `final_result`, or else the softmax that nothing goes on from.

    Raises:
        RetrainLabError: the file is no frozen graph, has no such node, or several that fit: they are listed.
    """
    graph, tf = _graph(file), tensorflow()
    output = _find(file, graph, output_layer, _outputs(graph.get_operations()), "output")
    needed = _needed(output.op)
    if variables := [op.name for op in needed if op.type in _VARIABLES]:
        raise RetrainLabError(
            f"'{file}' is not frozen: it still has variables, such as '{variables[0]}'. Expected a graph in which they "
            "are constants, as retrain.py's --output_graph writes it."
        )
    fed = _find(file, graph, input_layer, _inputs(needed), "input")
    name = fed.op.name
    if fed.dtype == tf.string:  # a whole file: it is decoded here, since Pillow reads more formats than the graph
        decoders = [user for user in fed.consumers() if user.type in _DECODERS]
        if not decoders:
            raise RetrainLabError(
                f"The node '{name}' of '{file}' takes text, which the graph does not decode as an image. Name another "
                "node with --input_layer."
            )
        fed = decoders[0].outputs[0]
    _check_input(file, name, fed, output)
    # One image at a time is no work for a GPU, and the CPU's numbers are those that the export was checked with.
    session = tf.compat.v1.Session(graph=graph, config=tf.compat.v1.ConfigProto(device_count={"GPU": 0}))

    def run(images: np.ndarray) -> np.ndarray:
        try:
            with quiet():
                return session.run(output, {fed: images}).astype(np.float32).reshape(-1)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise RetrainLabError(
                f"'{file}' cannot be run from '{name}' to '{output.op.name}': {in_one_line(error)}"
            ) from error

    size = (fed.shape[1], fed.shape[2]) if fed.shape.rank == 4 else (None, None)
    return Graph(name, output.op.name, size, fed.dtype == tf.uint8, run)


def _check_input(file: Path, name: str, fed: Any, output: Any) -> None:
    """Refuse a tensor that takes no images, be they decoded or not, or that the output does not depend on alone."""
    rank, decoded = fed.shape.rank, fed.dtype.name == "uint8"
    fits = rank in (None, 3) if decoded else fed.dtype.is_floating and rank in (None, 4)
    if not fits or (rank and fed.shape[-1] not in (3, None)):
        raise RetrainLabError(
            f"The node '{name}' of '{file}' takes {fed.dtype.name} of shape {_shape(fed)}. Expected float32 of "
            "shape [?, height, width, 3]. Name another node with --input_layer."
        )
    others = [op.name for op in _needed(output.op, fed.op) if op is not fed.op and op.type in _MUST_BE_FED]
    if others:
        raise RetrainLabError(
            f"'{file}' needs more than images: the output '{output.op.name}' also depends on {', '.join(others)}. "
            "Choose other nodes with --input_layer and --output_layer, or freeze the graph without those."
        )


def _graph(file: Path) -> Any:
    """Read a GraphDef. Protocol buffers carry no mark of their kind, so that much else parses, to nothing."""
    if file.is_dir():
        raise RetrainLabError(
            f"'{file}' is a folder. --graph takes one file; the model folder of a run goes with --model."
        )
    if not file.exists():
        raise RetrainLabError(f"No graph at '{file}'. Expected the file that retrain.py's --output_graph names.")
    tf = tensorflow()
    try:
        with opened(file) as whole:
            content = whole.read()
    except OSError as error:
        raise RetrainLabError(f"The graph '{file}' cannot be read: {error.strerror}.") from error
    try:
        definition = tf.compat.v1.GraphDef.FromString(content)
    except Exception:  # protobuf's DecodeError, from a module without types
        definition = tf.compat.v1.GraphDef()
    if definition.node:
        try:
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(definition, name="")
            return graph
        except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
            raise RetrainLabError(f"'{file}' holds a graph that cannot be read: {in_one_line(error)}") from error
    found = "it is empty" if not content else "its content is something else, or damaged"
    if file.name == "saved_model.pb":
        found = "it is a SavedModel"
    elif content[4:8] == b"TFL3":
        found = "it is a LiteRT model"
    raise RetrainLabError(
        f"'{file}' is no frozen graph: {found}. Expected the file that retrain.py's --output_graph names, often "
        "output_graph.pb. What Retrain Lab exported goes with --model."
    )


def _find(file: Path, graph: Any, name: str | None, candidates: list[Any], what: str) -> Any:
    """Find a tensor by the name that a person gave, or else the only one that fits as input or output."""
    if name:
        return _named(file, graph, name, candidates, what)
    if len(candidates) == 1:
        return candidates[0].outputs[0]
    if candidates:
        listed = ", ".join(f"'{op.name}' {_shape(op.outputs[0])}" for op in sorted(candidates, key=lambda op: op.name))
        raise RetrainLabError(
            f"'{file}' has several nodes that fit as {what}: {listed}. Say which: --{what}_layer NAME."
        )
    expected = "a placeholder of images, [?, height, width, 3]," if what == "input" else "a softmax"
    raise RetrainLabError(
        f"'{file}' has no node that fits as {what}. Expected {expected}; if another node serves, name it with "
        f"--{what}_layer."
    )


def _named(file: Path, graph: Any, name: str, candidates: list[Any], what: str) -> Any:
    """Find a tensor by name: `import/NAME:0` is what label_image.py's own code calls NAME."""
    operations = {op.name: op for op in graph.get_operations()}
    node, _, index = name.partition(":")
    if node not in operations:
        node = node.removeprefix("import/")
    if node in operations and (index or "0").isdecimal() and int(index or 0) < len(operations[node].outputs):
        return operations[node].outputs[int(index or 0)]
    near = difflib.get_close_matches(node, operations, 1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    likely = ", ".join(op.name for op in candidates) or "none"
    raise RetrainLabError(
        f"'{file}' has no {what} node '{name}'.{hint} Its candidates: {likely}. "
        f"Give one of them as --{what}_layer, or leave the flag out."
    )


def _outputs(operations: Iterable[Any]) -> list[Any]:
    """Find what may be the probabilities: by retrain.py's name, else by softmaxes, else what is left over."""

    def is_softmax(op: Any) -> bool:
        while op.type in _PASSES_ON:
            op = op.inputs[0].op
        return op.type == "Softmax"

    floats = [op for op in operations if op.outputs and op.outputs[0].dtype.is_floating]
    ends = [op for op in floats if not any(tensor.consumers() for tensor in op.outputs)]
    named = [op for op in floats if op.name == OUTPUT]
    last = [op for op in ends if is_softmax(op)]
    any_softmax = [op for op in floats if op.type == "Softmax"]
    computed = [op for op in ends if op.type not in _PLACEHOLDERS | {"Const"} and op.outputs[0].shape.rank in (None, 2)]
    return named or last or any_softmax or computed


def _needed(op: Any, fed: Any = None) -> list[Any]:
    """List the operations that an output depends on, itself included; what comes before a node that is fed is not."""
    needed = {op.name: op}
    waiting = [op]
    while waiting:
        current = waiting.pop()
        before = [] if current is fed else [*(tensor.op for tensor in current.inputs), *current.control_inputs]
        waiting += [other for other in before if other.name not in needed]
        needed |= {other.name: other for other in before}
    return list(needed.values())


def _inputs(operations: Iterable[Any]) -> list[Any]:
    """Find what may be the images among the placeholders; others are for bottlenecks, dropout, the training phase."""
    placeholders = [op for op in operations if op.type in _PLACEHOLDERS]
    floats = [op for op in placeholders if op.outputs[0].dtype.is_floating]
    images = [op for op in floats if op.outputs[0].shape.rank == 4 and op.outputs[0].shape[-1] in (3, None)]
    files = [op for op in placeholders if any(user.type in _DECODERS for user in op.outputs[0].consumers())]
    return images + files or [op for op in floats if op.outputs[0].shape.rank is None]


def _shape(tensor: Any) -> str:
    shape = tensor.shape
    return "[any shape]" if shape.rank is None else str(shape.as_list()).replace("None", "?")
