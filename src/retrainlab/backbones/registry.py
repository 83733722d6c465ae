"""A handle -> a Backbone: the pretrained network that turns pixels into bottlenecks.

What a handle may be, the kinds say (`backbone.Kind`); they are asked in turn. Every module is converted to LiteRT once;
the converted network lies beside its bottlenecks in `bottleneck_dir/<digest>/`, so that TensorFlow is not imported
again.
"""

import hashlib
import json
import pkgutil
import re
import shutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .. import backbones
from ..errors import RetrainLabError, writing
from ..files import replacing
from . import hub
from .backbone import NETWORK, Backbone, Kind
from .modules import DamagedModule, load_module, own_size
from .runtimes import litert, quiet, tensorflow

_RECORD = "backbone.json"
_TOLERANCE = 1e-3  # of the largest feature; LiteRT and TensorFlow differ by about 1e-5


def resolve(handle: str, bottleneck_dir: Path | str, image_size: int = 0) -> Backbone:
    """Find a backbone by its handle; fetch, build and convert it the first time.

    Args:
        handle: an embedded name, a SavedModel's path, or a TF Hub URL or Kaggle handle.
        bottleneck_dir: the cache's root; made if missing.
        image_size: pixels a side, for modules that take any size; 0 = what the module, or its name, says.

    Raises:
        RetrainLabError: the handle names nothing, the module cannot be had, or is no image feature vector.
    """
    if image_size < 0:
        raise RetrainLabError(f"image_size is {image_size}. Expected pixels a side, or 0 for what the module asks for.")
    root = Path(bottleneck_dir).expanduser()
    into_cache = f"The bottleneck folder '{root}'", "Set bottleneck_dir to one that can."
    with writing(*into_cache):
        root.mkdir(parents=True, exist_ok=True)
        if all(path.name == "datasets" for path in root.iterdir()):  # with other things in it, it is not ours to mark
            tag = root / "CACHEDIR.TAG"  # bford.info/cachedir: backups leave it out, and so does images.scan
            tag.write_text("Signature: 8a477f597d28d172789f06886806bc55\n# Bottlenecks of Retrain Lab.\n")
    kind = _kind_of(handle)
    digest = kind.digest(handle)
    if image_size:  # another size gives other bottlenecks
        digest = hashlib.sha256(f"{digest} {image_size}".encode()).hexdigest()
    folder = root / digest
    with writing(*into_cache):
        folder.mkdir(exist_ok=True)
        module = kind.module(handle, folder)  # not where a record says: the cache may have moved since
        try:
            return _opened(handle, module, folder) or _convert(handle, digest, module, folder, image_size)
        except DamagedModule:
            if kind.renewable:
                shutil.rmtree(module, ignore_errors=True)
            raise


def _kind_of(handle: str) -> Kind:
    for kind in _kinds():
        if kind.recognises(handle):
            return kind
    *others, last = (part for kind in _kinds() for part in kind.listed)
    raise RetrainLabError(f"No backbone '{handle}'. Expected {', '.join(others)}, or {last}.")


@cache
def _kinds() -> list[Kind]:
    """Find the kinds of handles: the modules of this folder that have a `KIND`."""
    names = (module.name for module in pkgutil.iter_modules(backbones.__path__))
    found = (import_module(f"{backbones.__name__}.{name}") for name in names)
    return sorted((module.KIND for module in found if hasattr(module, "KIND")), key=lambda kind: kind.order)


def _opened(handle: str, module: Path, folder: Path) -> Backbone | None:
    """Open what was converted into a folder; None where nothing was, or where it was damaged since."""
    try:
        values = json.loads((folder / _RECORD).read_text())
        height, width = values["image_size"]
        found = Backbone(handle, values["digest"], (height, width), values["dim"], module, folder)
        found.network  # noqa: B018 (opens it)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


# --------------------------------------------------------------------------------------------- conversion


def _convert(handle: str, digest: str, module: Path, folder: Path, asked_size: int) -> Backbone:
    """Write `backbone.tflite` and, last, `backbone.json`: where that one is, the conversion was whole and checked."""
    function, loaded = load_module(module)
    own = own_size(loaded)
    side = asked_size or (None if own else hub.image_size(handle))
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
    return Backbone(handle, digest, size, dim, module, folder)


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
