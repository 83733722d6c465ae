"""A handle -> a Backbone: the pretrained network that turns pixels into bottlenecks.

What a handle may be, the kinds say (`backbone.Kind`); they are asked in turn. Every module is converted to LiteRT once,
so that TensorFlow is not imported again, or frozen for TensorFlow where LiteRT cannot run it; what comes of it lies
beside its bottlenecks in `bottleneck_dir/<digest>/`.
"""

import hashlib
import pkgutil
import shutil
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

from .. import backbones
from ..errors import RetrainLabError, writing
from . import converting, derived, hub, modules
from .backbone import Backbone, BackboneSettings, Kind
from .modules import DamagedModule

_LARGEST = 4096  # pixels a side: beyond, what a network has on its way takes gigabytes for each thread


def resolve(
    handle: str,
    bottleneck_dir: Path | str,
    image_size: int = 0,
    depth: str = "last",
    average_views: bool = False,
    tuned: str = "",
) -> Backbone:
    """Find a backbone by its handle; fetch, build and convert it the first time.

    Args:
        handle: an embedded name, a SavedModel's path, or a TF Hub URL or Kaggle handle.
        bottleneck_dir: the cache's root; made if missing.
        image_size: pixels a side, for modules that take any size; 0 = what the module, or its name, says.
        depth, average_views: see `derived.reading`.
        tuned: digest of a network that fine-tuning made of it, which lies in the cache; empty for the network itself.

    Raises:
        RetrainLabError: the handle names nothing, the module cannot be had, or is no image feature vector; or it has no
            such depth; or the fine-tuned network is no longer in the cache.
    """
    if not 0 <= image_size <= _LARGEST:
        raise RetrainLabError(
            f"image_size is {image_size}. Expected pixels a side, up to {_LARGEST:,}, or 0: what the module asks for."
        )
    root = Path(bottleneck_dir).expanduser()
    plain = _resolved(BackboneSettings(handle, image_size), root)
    if tuned:
        settings, folder = replace(plain.settings, tuned=tuned), root / tuned
        plain = converting.opened(settings, folder / "saved_model", folder)  # type: ignore[assignment]
        if plain is None or not modules.is_whole(plain.module):
            raise RetrainLabError(
                f"The fine-tuned network {tuned[:8]} of {handle} is no longer in '{root}', or no longer whole. Set "
                "bottleneck_dir to where it was trained, or train the run again."
            )
    return derived.reading(plain, depth, average_views)


def _resolved(settings: BackboneSettings, root: Path) -> Backbone:
    handle, image_size = settings.handle, settings.image_size
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
            found = converting.opened(settings, module, folder)
            return found or converting.convert(settings, digest, module, folder, hub.image_size(handle))
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
