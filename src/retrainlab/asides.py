"""Where things are written before they take their places, and what dead processes have left there.

A name aside is `.<name>.<machine>-<token>.retrainlab`, beside what it will replace. As long as a process writes it, it
holds a lock (flock), which ends with that process, however it ends. So whoever sweeps need not guess from numbers of
processes, which mean nothing to another machine and are given anew: what is locked is alive.

Some shared drives have no locks, or keep them on each machine for itself. There, only age can tell. So the name says
on which machine it was begun: what another machine began, or what cannot be locked, is dead once it is a day old.
"""

import contextlib
import fcntl
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

NEW, OLD = "new", "old"  # what a folder aside holds when it is to replace another one
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_NAME = re.compile(r"\.(.+)\.([0-9a-f]{8})-[0-9a-f]{8}\.retrainlab", re.DOTALL)
_HELD = ".held"  # the file in a folder aside that is locked
_OPENED = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
_DAY = 86400.0
_LONGEST = 50  # characters of a name that go into the name aside: disks take 255 bytes


@contextmanager
def beside(target: Path, folder: bool = False) -> Iterator[Path]:
    """Give a new, empty file or folder aside of `target`; what is there in the end goes."""
    swept(target.parent)
    path, handle = begin(target, folder)
    try:
        yield path
    finally:
        end(path, handle)


def begin(target: Path, folder: bool = False) -> tuple[Path, int]:
    """Make an empty file or folder aside of `target`, and lock it: (its path, the handle that holds the lock)."""
    name = target.name if folder else target.name[-_LONGEST:]
    while True:
        path = target.with_name(f".{name}.{_MACHINE}-{secrets.token_hex(4)}.retrainlab")
        if folder:
            path.mkdir()
        lock = path / _HELD if folder else path
        try:
            handle = os.open(lock, _OPENED, 0o666)
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise
            continue  # swept between being made and being locked
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # likewise
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return path, handle
        os.close(handle)


def end(path: Path, handle: int) -> None:
    """Remove what is left aside, and give the lock back."""
    with contextlib.suppress(OSError):
        remove(path)
    os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what dead processes left aside in a folder; a replacement that one of them had begun is completed."""
    with contextlib.suppress(OSError):  # somebody else's folder
        left = [(path, found) for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]
        for path, found in left:
            with contextlib.suppress(OSError):  # somebody else's, or swept by another process meanwhile
                _sweep(path, *found.groups())


@cache
def swept(folder: Path) -> None:
    """Sweep a folder, once a process: a folder of a million files takes its time to list."""
    sweep(folder)


def _sweep(path: Path, name: str, machine: str) -> None:
    handle = os.open(path / _HELD if path.is_dir() else path, _OPENED, 0o666)
    try:
        known = machine == _MACHINE
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            known = False
        if known or time.time() - os.fstat(handle).st_mtime > _DAY:
            _put_back(path, path.with_name(name))
            remove(path)
    finally:
        os.close(handle)


def _put_back(path: Path, target: Path) -> None:
    """Complete a replacement that ended when the old folder had been taken away: the new one was whole by then."""
    if (path / OLD).exists() and (path / NEW).exists() and not target.exists():
        (path / NEW).rename(target)
