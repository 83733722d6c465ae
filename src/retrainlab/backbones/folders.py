"""Handles that are the folder of a SavedModel on this disk: it is used where it lies."""

from pathlib import Path

from . import modules
from .kinds import Kind


def _module(handle: str) -> Path:
    return Path(handle).expanduser().resolve()


KIND = Kind(
    order=1,
    listed=("the folder of a SavedModel",),
    recognises=lambda handle: Path(handle).expanduser().is_dir(),
    digest=lambda handle: modules.digest(_module(handle)),
    module=lambda handle, place: _module(handle),
)
