"""The files below a folder, as people have them: what other systems and programs left there is passed over."""

import errno
import os
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISLNK
from typing import NamedTuple

from ..errors import RetrainLabError
from ..files import not_a_file

_OWN = {"run.json", "CACHEDIR.TAG", "contract.json"}  # marks of a run, a cache, an exported model: no labels
# Folders that others make in, or beside, folders of images: thumbnails and snapshots of network drives, recycle bins,
# what file systems keep for themselves, the second half of a Mac's archive.
_LEFTOVERS = {"@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "$recycle.bin", "recycler"}
_LEFTOVERS |= {"system volume information", "lost+found", "thumbs", "thumbnails", "__macosx", "__pycache__"}
_HIDDEN_LEFTOVERS = (".trash", ".thumb", ".snapshot", ".ipynb_checkpoints")  # hidden, and full of images
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")  # ends of names


class File(NamedTuple):
    """What the disk says of a file: as little as tells whether it has changed, since there may be a million.

    `modified`: when it was last written or renamed, in nanoseconds: files that change places keep the time of writing.
    """

    bytes: int
    modified: int
    problem: str | None  # why it cannot be read, as far as the disk knows: a link that leads nowhere, a pipe


@dataclass(frozen=True)
class Walk:
    """What lies below a folder.

    Attributes:
        files: by path, relative and posix, and in its order.
        leftovers: folders that were passed over, relative and posix.
    """

    files: dict[str, File] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)

    @property
    def archives(self) -> list[str]:
        """The files that are archives by their names."""
        return [path for path in self.files if path.lower().endswith(ARCHIVES)]


def walk(root: Path) -> Walk:
    """Find the files below a folder; links are followed, never in a circle.

    Links that lead nowhere, pipes and devices are found, too, each with its problem.
    Hidden files and folders are passed over, and so are leftovers of other systems, runs (they hold run.json), exports
    (contract.json) and caches (CACHEDIR.TAG).

    Raises:
        RetrainLabError: `root` is no folder, or something in it may not be read.
    """
    _check_folder(root)
    files: dict[str, File] = {}
    leftovers: list[str] = []
    seen: set[str] = set()
    waiting = [""]  # folders to look into, as they begin the paths of what they hold; the next one is the last
    while waiting:
        place = waiting.pop()
        folder = root / place
        real = os.path.realpath(folder)
        if real in seen:
            continue
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            inside = [entry.name for entry in entries if _is_folder(entry)]
            if place and _OWN & {entry.name for entry in entries}:
                continue
            seen.add(real)
            leftovers += [place + name for name in inside if _is_leftover(name)]
            deeper = [name for name in inside if not name.startswith(".") and not _is_leftover(name)]
            waiting += [f"{place}{name}/" for name in reversed(deeper)]
            others = set(inside)
            for entry in entries:
                if not entry.name.startswith(".") and entry.name not in others and (file := _file(entry)):
                    files[place + entry.name] = file
        except OSError as error:
            _refuse(error)
    return Walk(dict(sorted(files.items())), sorted(leftovers))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(entry: os.DirEntry[str]) -> File | None:
    """Ask the disk once; None for a folder, or what has just gone. Links that git-annex leaves lead nowhere."""
    try:
        stat = entry.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        if not entry.is_symlink():
            return None
        stat = entry.stat(follow_symlinks=False)
    problem = "it is a link to a file that does not exist" if S_ISLNK(stat.st_mode) else not_a_file(stat.st_mode)
    if S_ISDIR(stat.st_mode):
        return None
    return File(stat.st_size, max(stat.st_mtime_ns, stat.st_ctime_ns), problem)


def _is_leftover(name: str) -> bool:
    return name.lower() in _LEFTOVERS or name.lower().startswith(_HIDDEN_LEFTOVERS)


def _check_folder(root: Path) -> None:
    if root.is_dir():
        return
    wanted = "Expected a folder that holds one folder of images a label; set image_dir."
    if not root.exists():
        raise RetrainLabError(f"Image folder '{root}' does not exist. {wanted}")
    if not root.is_file():
        raise RetrainLabError(f"Image folder '{root}' is neither a folder nor a file. {wanted}")
    if zipfile.is_zipfile(root):
        what, unpack = "a zip archive", f"unzip '{root.name}' -d '{root.stem}'"
    elif tarfile.is_tarfile(root):
        folder = root.name.partition(".")[0]
        what, unpack = "a tar archive", f"mkdir '{folder}'; tar -xf '{root.name}' -C '{folder}'"
    elif root.name.lower().endswith(ARCHIVES):
        raise RetrainLabError(f"Image folder '{root}' is an archive by its name. Unpack it. {wanted}")
    else:
        raise RetrainLabError(f"Image folder '{root}' is a file. {wanted}")
    raise RetrainLabError(f"Image folder '{root}' is {what}. Unpack it ({unpack}) and set image_dir to the folder.")


def _refuse(error: OSError) -> None:
    raise RetrainLabError(
        f"'{error.filename}' may not be read: {error.strerror}. Change its permissions, or move it elsewhere."
    ) from error
