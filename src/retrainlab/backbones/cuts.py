"""Cuts of a network: the places where a single tensor carries all that the rest needs.

They are found from a frozen graph alone, so that modules of TF1 and TF2, Keras models and embedded networks are treated
alike. Below a cut lies the trunk, above it the top.
"""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, TypedDict

import pandas as pd

from .. import sealing
from ..errors import RetrainLabError, writing
from ..files import replacing
from ..sealing import DamagedFile
from .backbone import Backbone
from .freezing import INPUT, OUTPUT, freeze
from .runtimes import tensorflow


@dataclass(frozen=True)
class Cut:
    """A place to cut a network at.

    Attributes:
        name: what the graph calls the operation whose output it is.
        shape: (height, width, channels) of that.
        above: share of the network's multiplications that lies above it, 0 to 1.
    """

    name: str
    shape: tuple[int, int, int]
    above: float

    @property
    def numbers(self) -> int:
        """How many numbers an image has there."""
        return math.prod(self.shape)


class _KeptCut(TypedDict):
    name: str
    shape: tuple[int, int, int]
    above: float


class _Kept(TypedDict):
    backbone: str
    cuts: list[_KeptCut]
    last_map: _KeptCut | None


def find(graph: Any, image_size: tuple[int, int]) -> list[Cut]:
    """Find the cuts of a frozen graph, lowest first: operations with an output of rank 4 that no edge jumps over.

    One walk in topological order, with the furthest consumer of all that was seen so far: where that is the next
    operation, nothing jumps over. Of neighbours in a chain without a branch, those stand for the others that have fewer
    numbers, as the narrow ends of an inverted bottleneck do.

    Args:
        graph: GraphDef from `freezing.INPUT` to `freezing.OUTPUT`.
        image_size: (height, width).
    """
    return [cut for chain in _chains(graph, image_size) for cut in _narrow(chain)]


def last_map(backbone: Backbone) -> Cut | None:
    """Find the last cut that still has height and width, however many numbers it has; None where there is none."""
    return _kept(backbone)[1]


def _chains(graph: Any, image_size: tuple[int, int]) -> list[list[Cut]]:
    """Find all cuts, lowest first, in chains without a branch."""
    tf = tensorflow()
    with tf.Graph().as_default() as built:
        images = tf.compat.v1.placeholder(tf.float32, [1, *image_size, 3])
        tf.graph_util.import_graph_def(graph, {f"{INPUT}:0": images}, name="")
    order = _order(built.get_operation_by_name(OUTPUT), images.op)
    work = [_multiplications(operation) for operation in order]
    whole, below, broken = sum(work), 0, True
    chains: list[list[Cut]] = []
    for operation, alone, multiplied in zip(order, _alone(order), work, strict=True):
        below += multiplied
        if not alone:
            broken = True
        elif below and _carries(operation):
            cut = Cut(operation.name, tuple(operation.outputs[0].shape[1:]), 1 - below / whole)
            if broken or chains[-1][-1].shape[:2] != cut.shape[:2]:
                chains.append([])
            elif chains[-1][-1].above == cut.above:  # the same numbers, each by itself made into another
                chains[-1].pop()
            chains[-1].append(cut)
            broken = False
    return chains


def _order(output: Any, images: Any) -> list[Any]:
    """List the operations that lead from the images to the output, in topological order."""
    operations = output.graph.get_operations()  # which is one: an operation is made after what it takes
    reached, needed = {images}, {output}
    for operation in operations:
        if any(each.op in reached for each in operation.inputs):
            reached.add(operation)
    for operation in reversed(operations):
        if operation in needed:
            needed.update(each.op for each in operation.inputs)
    return [operation for operation in operations if operation in reached and operation in needed]


def _alone(order: Sequence[Any]) -> list[bool]:
    """Tell of each operation whether no edge jumps over it, from one before it to one after it."""
    place = {operation: number for number, operation in enumerate(order)}
    alone, furthest = [], 0
    for number, operation in enumerate(order):
        alone.append(furthest <= number)
        consumers = (place[each] for output in operation.outputs for each in output.consumers() if each in place)
        furthest = max(furthest, *consumers, number)
    return alone


def _carries(operation: Any) -> bool:
    """Tell whether an operation has one output, numbers over height, width and channels, and does more than pad."""
    if operation.type == "Pad" or len(operation.outputs) != 1 or operation.outputs[0].dtype.name != "float32":
        return False
    shape = operation.outputs[0].shape
    return shape.rank == 4 and None not in shape[1:].as_list()


def _multiplications(operation: Any) -> int:
    """Count what an operation multiplies for one image; only products with a kernel count."""
    if operation.type not in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
        return 0
    given, kernel = (each.shape.as_list() for each in operation.inputs[:2])
    positions = math.prod(operation.outputs[0].shape.as_list()[1:3]) if len(given) == 4 else 1
    return positions * math.prod(kernel)


def _narrow(chain: Sequence[Cut]) -> list[Cut]:
    """Keep the cuts of a chain with fewer numbers than their neighbours; where several have equally few, all."""
    levels = [list(group) for _, group in groupby(chain, key=lambda cut: cut.numbers)]
    sizes = [level[0].numbers for level in levels]
    low = [size == min(sizes[max(place - 1, 0) : place + 2]) for place, size in enumerate(sizes)]
    return [cut for level, kept in zip(levels, low, strict=True) if kept for cut in level]


def of(backbone: Backbone) -> list[Cut]:
    """Find the cuts of a backbone, lowest first."""
    return _kept(backbone)[0]


def _kept(backbone: Backbone) -> tuple[list[Cut], Cut | None]:
    """Find the cuts and the last map; `cuts.json` beside the bottlenecks keeps both, so it is frozen for them once."""
    file = backbone.folder / "cuts.json"
    try:
        known = sealing.read_json(file, _Kept)
        if known["backbone"] != backbone.digest:
            raise DamagedFile("it is of another network")
        return [_cut(each) for each in known["cuts"]], None if known["last_map"] is None else _cut(known["last_map"])
    except (OSError, DamagedFile):  # none yet, or damaged
        chains = _chains(freeze(backbone), backbone.image_size)
    found = [cut for chain in chains for cut in _narrow(chain)]
    maps = [cut for chain in chains for cut in chain if cut.shape[0] * cut.shape[1] > 1]
    last = maps[-1] if maps else None
    with (
        writing(f"The bottleneck folder '{file.parent}'", "Set bottleneck_dir to one that can."),
        replacing(file) as aside,
    ):
        kept = {"backbone": backbone.digest, "cuts": [asdict(cut) for cut in found], "last_map": last and asdict(last)}
        aside.write_text(sealing.json_text(kept), encoding="utf-8")
    return found, last


def _cut(kept: _KeptCut) -> Cut:
    return Cut(kept["name"], (*kept["shape"],), kept["above"])


def table(backbone: Backbone) -> pd.DataFrame:
    """Show the cuts of a backbone: one row each, lowest first; `activations` is what float16 takes on disk an image."""
    rows = [
        {
            "cut": short(cut.name),
            "height x width x channels": " x ".join(map(str, cut.shape)),
            "arithmetic below": f"{1 - cut.above:.0%}",
            "arithmetic above": f"{cut.above:.0%}",
            "activations": f"{2 * cut.numbers / 1000:,.0f} kB",
        }
        for cut in of(backbone)
    ]
    return pd.DataFrame(rows).set_index("cut") if rows else pd.DataFrame()


def named(cuts: Sequence[Cut], name: str, parameter: str, others: str = "") -> Cut:
    """Find a cut by its name, or by what only its name ends with, such as `mixed7`.

    Args:
        parameter, others: what the name was given as, and what else may be given for it, for what an error says.

    Raises:
        RetrainLabError: there is none, or several; the message names the nearest.
    """
    name = name.strip()
    found = [cut for cut in cuts if cut.name == name] or [cut for cut in cuts if f"/{cut.name}".endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if not cuts:
        raise RetrainLabError(
            f"{parameter} is '{name}', but this network has no cut below its last layer: nowhere does a single tensor "
            f"of height, width and channels carry everything. Expected {others.removesuffix(' or') or 'none'}."
        )
    names = [short(cut.name) for cut in cuts]
    near = difflib.get_close_matches(name, names, 1, 0)[0]
    raise RetrainLabError(
        f"{parameter} is '{name}'. Expected {others} a cut of this network; the nearest is '{near}'. "
        f"There are: {', '.join(names)}."
    )


def short(name: str) -> str:
    """Leave out what calls of functions put before a name."""
    return re.sub(r"^((Func|StatefulPartitionedCall|PartitionedCall)/)+", "", name)
