"""label_image.py's part: open a frozen graph that anybody's retrain.py made, as its flags describe it."""

import contextlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import RetrainLabError
from ..export import contracts
from ..export.contracts import Contract, Preprocessing
from ..sealing import digest
from . import graphs
from .labelers import Labeler, check, read_labels, same_size

_SIDE = 299  # pixels, label_image.py's default, for graphs that take any size


def load(
    graph: Path | str,
    labels: Path | str | None = None,
    input_layer: str | None = None,
    output_layer: str | None = None,
    input_height: int | None = None,
    input_width: int | None = None,
    input_mean: float | None = None,
    input_std: float | None = None,
) -> Labeler:
    """Open a frozen graph, in label_image.py's terms; what is None is found in the graph or beside it, or assumed.

    A graph that Retrain Lab exported, with its contract beside it, is held to that. Of others nothing is known: they
    are fed 0 to 1 (mean 0, std 255), or -1 to 1 (128, 128) at a node named `Mul`, as it was usual for Inception.

    Args:
        labels: file of labels, one a line, in class order. None: output_labels.txt beside the graph.
        input_layer, output_layer: nodes to feed and to read; see `graphs.read`.
        input_height, input_width: in pixels. None: what the graph says, else 299.
        input_mean, input_std: the graph is fed (pixels - mean) / std.

    Raises:
        RetrainLabError: no graph, no labels, or flags or labels that do not go with the graph.
    """
    file = Path(graph).expanduser()
    stated = _stated(file)
    network = graphs.read(file, input_layer, output_layer)
    same = stated is not None and (network.input, network.output) == (stated.input, stated.output)
    contract = stated if same else None
    names = _labels(file, labels, contract)
    usual = Preprocessing(128, 128) if network.input == "Mul" else Preprocessing(0, 255)
    how = _scaling(contract.preprocessing if contract else usual, input_mean, input_std)
    height, width = input_height or network.size[0], input_width or network.size[1]
    size, assumed = (height or _SIDE, width or _SIDE), not (network.decoded or (height and width))
    if network.decoded:
        labeler = Labeler(names, None, network.run)
    else:
        labeler = Labeler(names, size, lambda pixels: network.run(how(pixels)))
        same_size(file, network.size, size, "--input_height and --input_width ask for")
    if contract:
        check(file, contract, how, network.run)
    _check_count(file, network, labeler, size, assumed)
    if contract:
        return replace(labeler, levels=contract.levels)
    note = []
    if not (input_layer and output_layer):
        note.append(f"Images go into '{network.input}', probabilities come from '{network.output}'.")
    if network.decoded:
        note.append("The graph resizes and scales images itself.")
    if assumed:
        note.append(f"Assumed: images of {size[0]} x {size[1]} pixels.")
    if None in (input_mean, input_std) and not network.decoded:
        other = "0 and 255 are" if usual.mean else "128 and 128 are"
        note.append(f"Assumed: --input_mean {how.mean:g} and --input_std {how.std:g}; {other} the other usual pair.")
    return replace(labeler, note=" ".join(note))


def _check_count(file: Path, network: graphs.Graph, labeler: Labeler, size: tuple[int, int], assumed: bool) -> None:
    """Run a grey image: does the graph take it, and does it give as many probabilities as there are labels?"""
    try:
        count = len(labeler.probabilities(np.full((*size, 3), 128, np.uint8)))
    except RetrainLabError as error:
        hint = f" It was given {size[0]} x {size[1]} pixels: try --input_height and --input_width." if assumed else ""
        raise RetrainLabError(f"{error}{hint}") from error
    if count != len(labeler.labels):
        raise RetrainLabError(
            f"There are {len(labeler.labels)} labels, but '{file}' gives {count} probabilities at '{network.output}'. "
            "Expected one label a line, in class order, in the file that retrain.py's --output_labels wrote for this "
            "graph."
        )


def _stated(file: Path) -> Contract | None:
    """Read the contract beside a graph, if it is about this graph, by name or content.

    Raises:
        RetrainLabError: it is damaged, or it is about another content.
    """
    if not (file.is_file() and (file.parent / contracts.FILE).exists()):
        return None
    contract = contracts.read(file.parent)
    contracts.verify(file.parent, contract, [file.name])
    with contextlib.suppress(OSError):  # which `graphs.read` says
        if file.name in contract.files or digest(file) in contract.files.values():
            return contract
    return None


def _scaling(stated: Preprocessing, mean: float | None, std: float | None) -> Preprocessing:
    """Change the scaling that is stated, or usual, to what was asked for."""
    chosen = replace(stated, mean=stated.mean if mean is None else mean, std=stated.std if std is None else std)
    if not (math.isfinite(chosen.mean) and math.isfinite(chosen.std) and chosen.std):
        raise RetrainLabError(
            f"Pixels cannot be scaled by --input_mean {chosen.mean:g} and --input_std {chosen.std:g}. Expected two "
            "numbers, the second not 0; 0 and 255, or 128 and 128, are usual."
        )
    return chosen


def _labels(file: Path, labels: Path | str | None, contract: Contract | None) -> list[str]:
    if labels is None and contract:
        return contract.labels
    if labels is None:
        # retrained_graph.pb with retrained_labels.txt is another usual pair
        beside = [file.with_name(name) for name in (f"{file.stem.replace('graph', 'labels')}.txt", "output_labels.txt")]
        found = [path for path in beside if path.exists()]
        if not found:
            raise RetrainLabError(
                f"There is no output_labels.txt beside '{file}', so its labels are unknown. Name the file that "
                "retrain.py's --output_labels wrote: --labels FILE."
            )
        return read_labels(found[0])
    names = read_labels(Path(labels).expanduser())
    if contract and names != contract.labels and sorted(names) == sorted(contract.labels):
        raise RetrainLabError(
            f"'{labels}' lists the labels in another order than the contract.json of '{file}'. Leave --labels out, or "
            "give the output_labels.txt that was exported with it."
        )
    return names
