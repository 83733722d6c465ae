"""A handle -> a Backbone: the pretrained network that turns pixels into bottlenecks.

What a handle may be, the kinds say (`kinds`); they are asked in turn. Every module is converted to LiteRT once; the
converted network lies beside its bottlenecks in `bottleneck_dir/<digest>/`, so that TensorFlow is not imported again.
"""

import hashlib
import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from .. import backbones
from ..errors import RetrainLabError, writing
from .backbone import Backbone, opened
from .conversion import convert
from .kinds import Kind
from .modules import DamagedModule


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
    kind = _kind_of(handle)
    digest = kind.digest(handle)
    if image_size:  # another size gives other bottlenecks
        digest = hashlib.sha256(f"{digest} {image_size}".encode()).hexdigest()
    folder = root / digest
    with writing(*into_cache):
        folder.mkdir(exist_ok=True)
        module = kind.module(handle, folder)  # not where a record says: the cache may have moved since
        try:
            return opened(folder, handle, module) or convert(handle, digest, module, folder, image_size)
        except DamagedModule:
            kind.forget(module)
            raise


def _make_cache(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    if not any(root.iterdir()):  # a folder that holds other things is not ours to call a cache
        tag = root / "CACHEDIR.TAG"  # bford.info/cachedir: backups leave it out, and so does images.scan
        tag.write_text("Signature: 8a477f597d28d172789f06886806bc55\n# Bottlenecks of Retrain Lab.\n")


def _kind_of(handle: str) -> Kind:
    for kind in _kinds():
        if kind.recognises(handle):
            return kind
    *others, last = (part for kind in _kinds() for part in kind.listed)
    raise RetrainLabError(f"No backbone '{handle}'. Expected {', '.join(others)}, or {last}.")


@cache
def _kinds() -> list[Kind]:
    """Find the kinds of handles: the modules of this folder that have a `KIND`."""
    found = (
        import_module(f"{backbones.__name__}.{module.name}") for module in pkgutil.iter_modules(backbones.__path__)
    )
    return sorted((module.KIND for module in found if hasattr(module, "KIND")), key=lambda kind: kind.order)
