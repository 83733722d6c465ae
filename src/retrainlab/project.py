"""Where things are: the project's root, from which the relative paths of notebooks count."""

from pathlib import Path


def root() -> Path:
    """Find the project: the nearest folder, from the current one upwards, with the notebooks; else this checkout."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "notebooks" / "01_explore.ipynb").exists():
            return folder
    return here


def place(path: str | Path) -> Path:
    """Make a notebook's path parameter absolute: relative ones count from the project's root, `~` is the home folder.

    So a notebook finds the same files whether it runs from the root (papermill) or from notebooks/ (JupyterLab).
    """
    return root() / Path(path).expanduser()


def module(handle: str) -> str:
    """Find a backbone's folder as `place` finds other paths; names and addresses stay as they are."""
    folder = place(handle)
    return str(folder) if folder.is_dir() else handle
