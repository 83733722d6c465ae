"""A module -> a Backbone: converted to LiteRT, checked against TensorFlow, and opened without it from then on.

Where LiteRT cannot run a module, mostly since it lacks an operation, the module's frozen graph stands in for it, and
TensorFlow runs that. Either is kept only if it gives the module's own numbers, so the cache need not tell them apart.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RetrainLabError
from ..files import replacing
from .backbone import GRAPH, NETWORK, Backbone, BackboneSettings, network_in
from .freezing import OUTPUT, freeze
from .modules import load_module, own_size
from .runtimes import frozen, in_one_line, litert, quiet, tensorflow

_RECORD = "backbone.json"
_TOLERANCE = 1e-3  # of the largest feature; LiteRT and TensorFlow differ by about 1e-5


class _NotRun(Exception):
    """Why LiteRT cannot run a module, as a sentence without its full stop."""


def opened(settings: BackboneSettings, module: Path, folder: Path) -> Backbone | None:
    """Open what was converted into a folder; None where nothing was, or where a byte of it has changed since.

    So it is, too, where another network's files were put there.
    """
    try:
        values = json.loads((folder / _RECORD).read_text())
        if values.pop("seal") != _seal(values, folder) or values["digest"] != folder.name:
            return None
        height, width = values["image_size"]
        known = values["digest"], (height, width), values["dim"]
        found = Backbone(settings, *known, module, folder, values.get("no_litert", ""))
        found.network  # noqa: B018 (opens it)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found


def _seal(values: Mapping[str, Any], folder: Path) -> str:
    """SHA-256, in hex digits, of a network and what is said of it: a damaged network gives numbers, too."""
    said = json.dumps(values, sort_keys=True).encode()
    return hashlib.sha256(said + network_in(folder).read_bytes()).hexdigest()


def convert(settings: BackboneSettings, digest: str, module: Path, folder: Path, default_size: int | None) -> Backbone:
    """Write the network and, last, `backbone.json`: where that one is, the conversion was whole and checked.

    The network is a `NETWORK` or, where LiteRT cannot run the module, a `GRAPH`.

    Args:
        digest: identifies what is converted.
        module: folder of its SavedModel.
        folder: where to write to.
        default_size: pixels a side, for modules that take any size and where none was asked for; None if unknown.

    Raises:
        RetrainLabError: the module is no image feature vector of that size, or does not give the same each time.
    """
    function, loaded = load_module(module)
    handle, own = settings.handle, own_size(loaded)
    side = settings.image_size or (None if own else default_size)
    size = (side, side) if side else own
    if size is None:
        raise RetrainLabError(f"The module {handle} takes images of any size. Say which to use: set image_size.")
    probe = np.random.default_rng(0).random((1, *size, 3), np.float32)
    concrete, expected = _traced(handle, function, probe, own)
    found = Backbone(settings, digest, size, expected.shape[1], module, folder)
    try:
        _write_lite(folder, _converted(concrete, loaded), probe, expected)
    except _NotRun as error:
        found = replace(found, no_litert=str(error))
        _write_graph(found, (function, loaded), probe, expected)
    values = {"handle": handle, "digest": digest, "image_size": size, "input_range": [0, 1], "dim": found.dim}
    values["no_litert"] = found.no_litert
    values["seal"] = _seal(values, folder)
    with replacing(folder / _RECORD) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n")
    return found


def _traced(handle: str, function: Any, probe: np.ndarray, own: tuple[int, int] | None) -> tuple[Any, np.ndarray]:
    """Trace a module for images of the shape of `probe`: (concrete function, what it gives for `probe`)."""
    tf = tensorflow()
    height, width = size = probe.shape[1:3]
    try:
        # without autograph, which would change what an error says
        traced = tf.function(function, [tf.TensorSpec(probe.shape, tf.float32)], autograph=False)
        concrete = traced.get_concrete_function()
        found = concrete(tf.constant(probe)).numpy()
    except (ValueError, TypeError, tf.errors.OpError) as error:
        if own and own != size:
            reason = f", but of {own[0]} x {own[1]}. Set image_size to 0, and it gets those."
        elif isinstance(error, tf.errors.OpError):  # it speaks of the nodes of a graph
            reason = ". Set image_size to a size that it takes."
        else:
            reason = f": {str(error).strip().splitlines()[0]}"
        raise RetrainLabError(
            f"The module {handle} does not take images of {height} x {width} pixels{reason}"
        ) from error
    if found.ndim != 2:
        raise RetrainLabError(
            f"The module {handle} returns an array of shape {found.shape}. Expected an image feature vector, "
            "[images, numbers]."
        )
    if not np.isfinite(found).all():
        raise RetrainLabError(
            f"The module {handle} returns numbers that are not finite (inf or nan) for an image of random pixels. "
            "It cannot be used."
        )
    return concrete, found


def _converted(function: Any, module: Any) -> bytes:
    converter = tensorflow().lite.TFLiteConverter.from_concrete_functions([function], module)
    try:
        with quiet():
            return converter.convert()
    except Exception as error:  # the converter's own error has no public name
        operations = re.findall(r"^(?:TF Select|Custom) ops: (.+)", str(error), re.MULTILINE)
        if operations:
            raise _NotRun(f"LiteRT lacks {', '.join(operations)}") from error
        raise _NotRun(f"LiteRT's converter fails ({in_one_line(error)[:-1]})") from error


def _write_lite(folder: Path, converted: bytes, probe: np.ndarray, expected: np.ndarray) -> None:
    with replacing(folder / NETWORK) as aside:
        aside.write_bytes(converted)
        try:
            apart = np.abs(expected - litert(aside)(probe)).max()
        except (ValueError, RuntimeError) as error:
            raise _NotRun(f"LiteRT fails ({in_one_line(error)[:-1]})") from error
        if not _close(apart, expected):
            raise _NotRun(f"LiteRT gives other features (they differ by up to {apart:.2g})")
    (folder / GRAPH).unlink(missing_ok=True)


def _write_graph(backbone: Backbone, module: tuple[Any, Any], probe: np.ndarray, expected: np.ndarray) -> None:
    with replacing(backbone.folder / GRAPH) as aside:
        try:
            graph = tensorflow().compat.v1.graph_util.extract_sub_graph(freeze(backbone, module), [OUTPUT])
            aside.write_bytes(graph.SerializeToString())
            apart = np.abs(expected - frozen(aside)(probe)).max()
        except (ValueError, RuntimeError) as error:
            raise RetrainLabError(
                f"{backbone.no_litert}, and TensorFlow cannot run the module {backbone.handle} as a frozen graph "
                f"({in_one_line(error)[:-1]}). Use another one."
            ) from error
        if not _close(apart, expected):
            raise RetrainLabError(
                f"The module {backbone.handle} gives other features each time (they differ by up to {apart:.2g}). It "
                "cannot be used."
            )


def _close(apart: float, expected: np.ndarray) -> bool:
    return bool(apart <= _TOLERANCE * max(1.0, np.abs(expected).max()))  # not if it is nan
