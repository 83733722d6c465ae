"""The files below a folder, as people have them: what other systems and programs left there is passed over."""

import os
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RetrainLabError

_OWN = {"run.json", "CACHEDIR.TAG", "contract.json"}  # marks of a run, a cache, an exported model: no labels
# Folders that others make in, or beside, folders of images: thumbnails and snapshots of network drives, recycle bins,
# what file systems keep for themselves, the second half of a Mac's archive.
_LEFTOVERS = {"@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "$recycle.bin", "recycler"}
_LEFTOVERS |= {"system volume information", "lost+found", "thumbs", "thumbnails", "__macosx", "__pycache__"}
_HIDDEN_LEFTOVERS = (".trash", ".thumb", ".snapshot", ".ipynb_checkpoints")  # hidden, and full of images
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")  # ends of names


@dataclass(frozen=True)
class Walk:
    """What lies below a folder.

    Attributes:
        files: path, relative and posix -> its stat; by path.
        leftovers: folders that were passed over, relative and posix.
    """

    files: dict[str, os.stat_result] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)

    @property
    def archives(self) -> list[str]:
        """The files that are archives by their names."""
        return [path for path in self.files if path.lower().endswith(ARCHIVES)]


def walk(root: Path) -> Walk:
    """Find the files below a folder; links are followed, never in a circle, and those that lead nowhere are found too.

    Hidden files and folders are passed over, and so are leftovers of other systems, runs (they hold run.json), exports
    (contract.json) and caches (CACHEDIR.TAG).

    Raises:
        RetrainLabError: `root` is no folder, or something in it may not be read.
    """
    _check_folder(root)
    files: dict[str, os.stat_result] = {}
    leftovers: list[str] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen or (folder != str(root) and _OWN & set(names)):
            folders.clear()
            continue
        seen.add(real)
        left = [name for name in folders if _is_leftover(name)]
        leftovers += [Path(folder, name).relative_to(root).as_posix() for name in left]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in left)
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            try:
                if path.is_file():
                    files[path.relative_to(root).as_posix()] = path.stat()
                elif path.is_symlink() and not path.exists():  # as git-annex leaves them
                    files[path.relative_to(root).as_posix()] = path.lstat()
            except OSError as error:
                _refuse(error)
    return Walk(dict(sorted(files.items())), sorted(leftovers))


def _is_leftover(name: str) -> bool:
    return name.lower() in _LEFTOVERS or name.lower().startswith(_HIDDEN_LEFTOVERS)


def _check_folder(root: Path) -> None:
    if root.is_dir():
        return
    wanted = "Expected a folder that holds one folder of images a label; set image_dir."
    if not root.exists():
        raise RetrainLabError(f"Image folder '{root}' does not exist. {wanted}")
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
