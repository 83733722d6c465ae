"""Files and folders that appear whole or not at all."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `file` when all is written; else nothing is left of it.

    A reader sees the old file or the new one, never half of it; two processes do not meet.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield aside
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a path to make a folder at, which takes the place of `folder` when all is written; else nothing is left."""
    folder = folder.resolve()  # a link stays one; `.` has a name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        aside = Path(place) / folder.name
        yield aside
        if folder.exists():
            folder.replace(Path(place) / "before")  # goes with the place
        aside.replace(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder, for the moment of reading, changing and writing.

    Where a drive has no locks, nothing is kept out.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # which gives the lock back
