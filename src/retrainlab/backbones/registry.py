"""A handle -> a Backbone: the pretrained network that turns pixels into bottlenecks.

A handle is an embedded name (`efficientnet_lite0`), the path of a SavedModel, or an address that `hub` fetches. Every
module is converted to LiteRT once; the converted network lies beside its bottlenecks in `bottleneck_dir/<digest>/`, so
that TensorFlow is not imported again.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RetrainLabError, writing
from . import embedded, hub
from .runtimes import litert, quiet, tensorflow, tensorflow_hub, without_wildcards

_RECORD, _NETWORK = "backbone.json", "backbone.tflite"
_TOLERANCE = 1e-3  # of the largest feature; LiteRT and TensorFlow differ by about 1e-5


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, ready to compute bottlenecks on the CPU.

    Attributes:
        handle: as it was asked for.
        digest: identifies the network's content, 64 hex digits.
        image_size: (height, width) of the pixels that it takes.
        dim: length of a bottleneck.
        module: folder of the SavedModel.
        folder: `bottleneck_dir/<digest>`, where the converted network and the bottlenecks lie.
    """

    handle: str
    digest: str
    image_size: tuple[int, int]
    dim: int
    module: Path
    folder: Path

    @cached_property
    def _run(self) -> Callable[[np.ndarray], np.ndarray]:
        return litert(self.folder / _NETWORK)

    def bottlenecks(self, pixels: np.ndarray) -> np.ndarray:
        """Compute the bottlenecks of images; threads may call this side by side, each gets its own interpreter.

        Args:
            pixels: uint8 [n, height, width, 3] of `image_size`, 0 to 255. The network sees them as [0, 1].

        Returns:
            float32 [n, dim].
        """
        rows = [self._run(image[None].astype(np.float32) / 255.0)[0] for image in pixels]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def milliseconds(self, times: int = 8) -> float:
        """Measure what an image costs on one core, without reading it: the least of `times`, after one to warm up."""
        pixels = np.random.default_rng(0).integers(0, 256, (1, *self.image_size, 3), dtype=np.uint8)
        self.bottlenecks(pixels)
        took = []
        for _ in range(times):
            began = time.perf_counter()
            self.bottlenecks(pixels)
            took.append(1000 * (time.perf_counter() - began))
        return round(min(took), 2)


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
        _make_cache(root)
    if handle in embedded.NETWORKS:
        digest, module = embedded.digest(handle), None
    elif Path(handle).expanduser().is_dir():
        module = Path(handle).expanduser().resolve()
        digest = _module_digest(module)
    elif hub.is_handle(handle):
        known = _recorded(root, handle, image_size)
        if known:
            return known
        module = hub.fetch(handle)
        digest = _module_digest(module)
    else:
        raise RetrainLabError(
            f"No backbone '{handle}'. Expected one of {', '.join(embedded.NETWORKS)}, the folder of a SavedModel, "
            "the address of a TF Hub module (https://...), or a Kaggle handle (owner/model/framework/variation/1)."
        )
    if image_size:  # another size gives other bottlenecks
        digest = hashlib.sha256(f"{digest} {image_size}".encode()).hexdigest()
    folder = root / digest
    with writing(*into_cache):
        folder.mkdir(exist_ok=True)
        if module is None:
            module = folder / "saved_model"  # not where a record says: the cache may have moved since
            if not (module / "saved_model.pb").exists():
                embedded.build(handle, module)
        return _opened(folder, handle, module) or _convert(handle, digest, module, folder, image_size)


def _make_cache(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    if not any(root.iterdir()):  # a folder that holds other things is not ours to call a cache
        tag = root / "CACHEDIR.TAG"  # bford.info/cachedir: backups leave it out, and so does images.scan
        tag.write_text("Signature: 8a477f597d28d172789f06886806bc55\n# Bottlenecks of Retrain Lab.\n")


def _opened(folder: Path, handle: str, module: Path) -> Backbone | None:
    """Open what `_convert` wrote into a folder; None where it did not, or where that was damaged since."""
    record = _record(folder)
    try:
        size = (record["image_size"][0], record["image_size"][1])
        found = Backbone(handle, record["digest"], size, record["dim"], module, folder)
        found._run  # noqa: B018 (opens the network)
    except (OSError, ValueError, KeyError):
        return None
    return found


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _recorded(root: Path, handle: str, image_size: int) -> Backbone | None:
    for file in root.glob(f"*/{_RECORD}"):
        known = _record(file.parent)
        if (known.get("handle"), known.get("asked_size")) == (handle, image_size) and Path(known["module"]).exists():
            return _opened(file.parent, handle, Path(known["module"]))
    return None


def _module_digest(module: Path) -> str:
    if not (module / "saved_model.pb").exists():
        raise RetrainLabError(
            f"'{module}' is no SavedModel: it holds no saved_model.pb. Expected a TF Hub module's folder."
        )
    digest = hashlib.sha256()
    for file in sorted(p for p in module.rglob("*") if p.is_file()):
        digest.update(file.relative_to(module).as_posix().encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------- TensorFlow


class DamagedModule(RetrainLabError):
    """A module that TensorFlow cannot load: a sound one, of whatever kind, is not worth fetching again."""


def load_module(module: Path) -> tuple[Any, Any]:
    """Load a TF1- or TF2-format image feature vector module with TensorFlow.

    Returns:
        (function, module): the function maps float32 [n, h, w, 3] in [0, 1] to float32 [n, dim]; the module must be
        kept alive as long as the function is used, since it owns the variables.

    Raises:
        RetrainLabError: the module maps no images to vectors; DamagedModule where it cannot be loaded at all.
    """
    tf = tensorflow()
    try:
        with without_wildcards(module) as place:
            loaded = tensorflow_hub().load(str(place))
    except (OSError, ValueError, RuntimeError, IndexError, tf.errors.OpError) as error:
        raise DamagedModule(
            f"The module in '{module}' cannot be loaded ({str(error).strip().splitlines()[0]}). It may be damaged or "
            "incomplete; fetch it again."
        ) from error
    functions = _functions(loaded)
    if not functions:
        raise RetrainLabError(
            f"The module in '{module}' is no image feature vector: it can neither be called nor has it the signature "
            f"`default` from `images` to `default`. It has: {', '.join(_signatures(loaded)) or 'no signature'}."
        )
    taken = [spec for function in functions for spec in _inputs(function)]
    if not any(_takes_images(spec) for spec in taken):
        what = ", ".join(dict.fromkeys(f"{spec.dtype.name} {spec.shape}" for spec in taken))
        raise RetrainLabError(
            f"The module in '{module}' is no image feature vector: it takes {what or 'nothing'}. Expected one that "
            "takes float32 [images, height, width, 3]."
        )

    def features(images: Any) -> Any:
        found = loaded(images) if callable(loaded) else functions[0](images=images)["default"]
        if not isinstance(found, tf.Tensor):
            named = f" of {', '.join(sorted(map(str, found)))}" if isinstance(found, dict) else ""
            raise RetrainLabError(
                f"The module in '{module}' is no image feature vector: it returns a {type(found).__name__}{named}. "
                "Expected one array, [images, numbers]."
            )
        return found

    return features, loaded


def _signatures(loaded: Any) -> dict[str, Any]:
    return dict(getattr(loaded, "signatures", {}))


def _functions(loaded: Any) -> list[Any]:
    """List what `load_module` has a choice of: the traces of a callable module, or the TF1 signature."""
    if callable(loaded):
        return list(getattr(loaded.__call__, "concrete_functions", [loaded.__call__]))
    signature = _signatures(loaded).get("default")
    if signature is None:
        return []
    takes, gives = signature.structured_input_signature[1], signature.structured_outputs
    return [signature] if "images" in takes and "default" in gives else []


def _inputs(function: Any) -> list[Any]:
    """List the tensors that a function takes: dtype and shape."""
    tf = tensorflow()
    return [s for s in tf.nest.flatten(function.structured_input_signature) if isinstance(s, tf.TensorSpec)]


def _takes_images(spec: Any) -> bool:
    shape = spec.shape
    return spec.dtype.name == "float32" and (shape.rank is None or (shape.rank == 4 and shape[3] in (None, 3)))


def _convert(handle: str, digest: str, module: Path, folder: Path, asked_size: int) -> Backbone:
    """Write `backbone.tflite` and, last, `backbone.json`: where that one is, the conversion was whole and checked."""
    tf = tensorflow()
    try:
        function, loaded = load_module(module)
    except DamagedModule:
        if hub.is_handle(handle):
            hub.forget(module)
        elif handle in embedded.NETWORKS:
            shutil.rmtree(module, ignore_errors=True)
        raise
    own = _own_size(loaded)
    height, width = (asked_size, asked_size) if asked_size else own or _named_size(handle)
    probe = np.random.default_rng(0).random((1, height, width, 3), np.float32)
    spec = tf.TensorSpec(probe.shape, tf.float32)
    try:
        # without autograph, which would change what an error says
        concrete = tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
        expected = concrete(tf.constant(probe)).numpy()
    except (ValueError, TypeError, tf.errors.OpError) as error:
        if own and own != (height, width):
            reason = f", but of {own[0]} x {own[1]}. Set image_size to 0, and it gets those."
        elif isinstance(error, tf.errors.OpError):  # it speaks of the nodes of a graph
            reason = ". Set image_size to a size that it takes."
        else:
            reason = f": {str(error).strip().splitlines()[0]}"
        raise RetrainLabError(
            f"The module {handle} does not take images of {height} x {width} pixels{reason}"
        ) from error
    if expected.ndim != 2:
        raise RetrainLabError(
            f"The module {handle} returns an array of shape {expected.shape}. Expected an image feature vector, "
            "[images, numbers]."
        )
    if not np.isfinite(expected).all():
        raise RetrainLabError(
            f"The module {handle} returns numbers that are not finite (inf or nan) for an image of random pixels. "
            "It cannot be used."
        )
    aside = folder / f"{_NETWORK}.{os.getpid()}"
    aside.write_bytes(_converted(handle, concrete, loaded))
    apart = np.abs(expected - litert(aside)(probe)).max()
    if not apart <= _TOLERANCE * max(1.0, np.abs(expected).max()):  # nor if it is nan
        aside.unlink()
        raise RetrainLabError(
            f"The module {handle} gives other features in LiteRT than in TensorFlow (they differ by up to "
            f"{apart:.2g}). It cannot be used."
        )
    aside.replace(folder / _NETWORK)
    record: dict[str, Any] = {
        "handle": handle,
        "digest": digest,
        "image_size": [height, width],
        "asked_size": asked_size,
        "input_range": [0, 1],
        "dim": expected.shape[1],
        "module": str(module.resolve()),
    }
    aside = folder / f"{_RECORD}.{os.getpid()}"
    aside.write_text(json.dumps(record, indent=1) + "\n")
    aside.replace(folder / _RECORD)
    return Backbone(handle, digest, (height, width), record["dim"], module, folder)


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


def _own_size(loaded: Any) -> tuple[int, int] | None:
    """Tell the (height, width) that a module says it takes; None where it takes any size, or does not say."""
    for function in (*_functions(loaded), *_signatures(loaded).values()):
        for spec in _inputs(function):
            if _takes_images(spec) and spec.shape.rank == 4 and spec.shape[1] and spec.shape[2]:
                return int(spec.shape[1]), int(spec.shape[2])
    return None


def _named_size(handle: str) -> tuple[int, int]:
    """Tell the (height, width) that a module of this name takes."""
    side = hub.image_size(handle)
    if side is not None:
        return side, side
    raise RetrainLabError(f"The module {handle} takes images of any size. Say which to use: set image_size.")
