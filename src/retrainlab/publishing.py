"""New parts of a folder that take their places together: whoever looks finds the old ones or the new ones.

They are made in a folder aside. Renaming that one to `.published` is the step that counts; before it, nothing has
happened, and after it, they are the ones that are there. Moving them into their places is done at once, or, where the
process ends before, by whoever opens the folder next.
"""

import os
from pathlib import Path

from . import asides
from .errors import writing
from .files import alone, check_mounts

_PUBLISHED = ".published"
_LAST = "run.json"  # what says that it is there


def publish(folder: Path, made: Path) -> None:
    """Let the parts in `made`, a folder aside in `folder`, take the places of those of the same names.

    Raises:
        RetrainLabError: one of the places cannot be replaced, see `files.check_mounts`; nothing has happened.
    """
    for part in made.iterdir():
        check_mounts(folder / part.name)
    _sync(made)
    with alone(folder):
        complete(folder)  # what a process before this one had published
        made.rename(folder / _PUBLISHED)
        _sync_one(folder)
        complete(folder)


def settle(folder: Path) -> None:
    """Complete what was published in a folder, if a process ended before it had: to be called by whoever opens it.

    Raises:
        RetrainLabError: the folder cannot be written.
    """
    if (folder / _PUBLISHED).is_dir():
        advice = "What was trained last waits there to take its place: open it once as somebody who may write there."
        with writing(f"'{folder}'", advice), alone(folder):
            complete(folder)


def complete(folder: Path) -> None:
    """Do the same without a word; the folder must be held `alone`.

    Every step may be the last one of this process, and then the first one of the next.
    """
    published = folder / _PUBLISHED
    if not published.is_dir():
        return
    parts = [part for part in published.iterdir() if not part.name.startswith(".")]
    for part in sorted(parts, key=lambda part: (part.name == _LAST, part.name)):
        place, before = folder / part.name, published / f".{part.name}"
        if place.exists() and (place.is_dir() or part.is_dir()):  # only a file takes the place of another in one step
            asides.remove(before)
            place.rename(before)
        part.replace(place)
    asides.remove(published)


def _sync(folder: Path) -> None:
    """Have a folder and all that is in it written to the disk: a power failure takes the latest renaming first."""
    for place, _, files in os.walk(folder):
        for name in (*files, "."):
            _sync_one(Path(place, name))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
