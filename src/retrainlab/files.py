"""Files and folders that appear whole or not at all; files that are files; arrays that need not fit into memory."""

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import writing

_IN_MEMORY = 2**27  # bytes of an array
BLOCK = 2**22  # numbers of a large array that are worked on at a time: 16 MiB
_KINDS = {
    stat.S_IFIFO: "it is a named pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}


def not_a_file(mode: int) -> str | None:
    """Say what else than a file or a folder something is, by the `st_mode` of its stat; None for those."""
    return _KINDS.get(stat.S_IFMT(mode))


def opened(path: Path) -> BinaryIO:
    """Open what a person has put there, to read it: a regular file only, for a pipe in its place would hang for ever.

    Raises:
        OSError: as `open` raises it; for a pipe, a device or a socket, its `strerror` says so.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # non-blocking: a pipe is opened at once
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, _KINDS[stat.S_IFSOCK], str(path)) from error
        raise
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, not_a_file(mode), str(path))


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


def room(shape: tuple[int, int], dtype: type[np.floating] = np.float32) -> np.ndarray:
    """Make an array to be filled: beyond 128 MiB in a nameless, mapped temporary file, whose pages may leave memory.

    Raises:
        RetrainLabError: the disk of temporary files is too small.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= _IN_MEMORY:
        return np.empty(shape, dtype)
    advice = "Make room, or set TMPDIR to a folder on a larger disk, and run again."
    what = f"A temporary file of {size / 1e9:.1f} GB in '{tempfile.gettempdir()}'"
    with writing(what, advice), tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # a disk that fills later would end the process
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)


def blocks(rows: int, dim: int) -> Iterator[slice]:
    """Cut so many rows of `dim` numbers into parts that are worked on at a time."""
    step = max(1, BLOCK // max(dim, 1))
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))


def taken(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Copy rows of a matrix, by bool [n] or their numbers, to where there is `room`; all of them are not copied."""
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    if len(rows) == len(matrix) and (rows == np.arange(len(rows))).all():
        return matrix
    copied = room((len(rows), matrix.shape[1]), matrix.dtype.type)
    for part in blocks(*copied.shape):
        copied[part] = matrix[rows[part]]
    return copied
