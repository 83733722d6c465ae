"""Where things are: the root from which relative paths count, the notebooks, and the named data sets."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import RetrainLabError

_FIRST = "01_explore.ipynb"
_DRIVE = re.compile(r"(?:^|/)([A-Za-z]):[\\/](.*)", re.DOTALL)  # C:\Users, C:/Users
_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Find the project: the nearest folder, from the current one upwards, that holds notebooks/; else the current one.

    Within a folder of notebooks of another name it is the folder that this lies in; within a run's, two above it.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / _FIRST).exists():
            return folder
    if not (here / _FIRST).exists():
        return here
    return here.parents[1] if (here / "run.json").exists() else here.parent


def notebooks_dir() -> Path:
    """Find the folder of the notebooks to run: the project's own, else those that come with the package."""
    own = root() / "notebooks"
    return own if (own / _FIRST).exists() else carried_dir()


def carried_dir() -> Path:
    """Find the notebooks of this version: a wheel carries them; else it runs from the checkout that they lie in."""
    return _PACKAGE.parents[1] / "notebooks" if checkout() else _PACKAGE / "notebooks"


def commit() -> str | None:
    """Tell which commit runs; None for an installed package, which may lie in a repository of another project."""
    folder = checkout()
    if folder is None:
        return None
    asked = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def checkout() -> Path | None:
    """Find the git checkout that this code lies in; None if it was installed from a wheel."""
    return None if (_PACKAGE / "notebooks").is_dir() else _PACKAGE.parents[1]


def place(path: str | Path) -> Path:
    """Make a notebook's path parameter absolute: relative ones count from the project's root, `~` is the home folder.

    So a notebook finds the same files whether it runs from the root (papermill) or from notebooks/ (JupyterLab).

    Raises:
        RetrainLabError: it is a path of Windows, and this is not Windows: it would be taken for a name of a file here.
    """
    placed = root() / Path(path).expanduser()
    drive = _DRIVE.search(str(path))  # the command may have put the current folder before it
    if drive and os.name == "posix" and not placed.exists():
        there = f"/mnt/{drive[1].lower()}/{drive[2]}".replace("\\", "/")
        raise RetrainLabError(f"'{drive[0].lstrip('/')}' is a path of Windows. In WSL that is '{there}'.")
    return placed


def command() -> str:
    """Tell how this command can be called from here: by its name, if the shell finds this one, else by its path."""
    own = Path(sys.executable).with_name("retrainlab")
    found = shutil.which(own.name)
    if not own.exists() or (found and Path(found).samefile(own)):
        return own.name
    return shlex.quote(str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own))


def dataset(name: str) -> Path:
    """Tell the folder of a named data set: in data/ of a project with notebooks of its own, else in the user's cache.

    A project that cannot be written, and does not have the data set yet, uses the cache as well.
    """
    own = root() / "data" / name
    if notebooks_dir().parent == root() and (own.is_dir() or os.access(root(), os.W_OK)):
        return own
    return Path.home() / ".cache" / "retrainlab" / "datasets" / name


def module(handle: str) -> str:
    """Find a backbone's folder as `place` finds other paths; names and addresses stay as they are."""
    folder = place(handle)
    return str(folder) if folder.exists() else handle
