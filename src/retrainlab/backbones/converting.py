"""A module -> a Backbone: converted to LiteRT, checked against TensorFlow, and opened without it from then on."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RetrainLabError
from ..files import replacing
from .backbone import NETWORK, Backbone, BackboneSettings
from .modules import load_module, own_size
from .runtimes import litert, quiet, tensorflow

_RECORD = "backbone.json"
_TOLERANCE = 1e-3  # of the largest feature; LiteRT and TensorFlow differ by about 1e-5


def opened(settings: BackboneSettings, module: Path, folder: Path) -> Backbone | None:
    """Open what was converted into a folder; None where nothing was, or where it was damaged since."""
    try:
        values = json.loads((folder / _RECORD).read_text())
        height, width = values["image_size"]
        found = Backbone(settings, values["digest"], (height, width), values["dim"], module, folder)
        found.network  # noqa: B018 (opens it)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def convert(settings: BackboneSettings, digest: str, module: Path, folder: Path, default_size: int | None) -> Backbone:
    """Write `backbone.tflite` and, last, `backbone.json`: where that one is, the conversion was whole and checked.

    Args:
        digest: identifies what is converted.
        module: folder of its SavedModel.
        folder: where to write to.
        default_size: pixels a side, for modules that take any size and where none was asked for; None if unknown.

    Raises:
        RetrainLabError: the module is no image feature vector of that size, or LiteRT cannot run it.
    """
    function, loaded = load_module(module)
    handle, own = settings.handle, own_size(loaded)
    side = settings.image_size or (None if own else default_size)
    size = (side, side) if side else own
    if size is None:
        raise RetrainLabError(f"The module {handle} takes images of any size. Say which to use: set image_size.")
    probe = np.random.default_rng(0).random((1, *size, 3), np.float32)
    concrete, expected = _traced(handle, function, probe, own)
    with replacing(folder / NETWORK) as aside:
        aside.write_bytes(_converted(handle, concrete, loaded))
        apart = np.abs(expected - litert(aside)(probe)).max()
        if not apart <= _TOLERANCE * max(1.0, np.abs(expected).max()):  # nor if it is nan
            raise RetrainLabError(
                f"The module {handle} gives other features in LiteRT than in TensorFlow (they differ by up to "
                f"{apart:.2g}). It cannot be used."
            )
    dim = expected.shape[1]
    values = {"handle": handle, "digest": digest, "image_size": size, "input_range": [0, 1], "dim": dim}
    with replacing(folder / _RECORD) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n")
    return Backbone(settings, digest, size, dim, module, folder)


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


def _converted(handle: str, function: Any, module: Any) -> bytes:
    converter = tensorflow().lite.TFLiteConverter.from_concrete_functions([function], module)
    try:
        with quiet():
            return converter.convert()
    except Exception as error:  # the converter's own error has no public name
        operations = re.findall(r"^(?:TF Select|Custom) ops: (.+)", str(error), re.MULTILINE)
        reason = f"it uses {', '.join(operations)}" if operations else str(error).strip().splitlines()[0]
        raise RetrainLabError(
            f"The module {handle} cannot be run by LiteRT, which computes the bottlenecks: {reason}. Use another one."
        ) from error
