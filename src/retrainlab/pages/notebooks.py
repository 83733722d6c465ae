"""The notebooks as files: which there are, what they are called, a copy of them."""

import shutil
from pathlib import Path

from .. import __version__, project
from ..errors import RetrainLabError, writing


def every(folder: Path | None = None) -> list[Path]:
    """List the notebooks of a folder, those to run if it is None, in order."""
    return sorted((folder or project.notebooks_dir()).glob("[0-9][0-9]_*.ipynb"))


def title(notebook: Path) -> str:
    """Turn `04_overfitting.ipynb` into `Overfitting`."""
    return notebook.stem.split("_", 1)[1].replace("_", " ").capitalize()


def copy(folder: Path) -> list[Path]:
    """Copy the notebooks of this version into a folder; returns those that were not there yet.

    Raises:
        RetrainLabError: the folder cannot be written, or has files of these names that differ; then it stays as it is.
    """
    books = every(project.carried_dir())
    others = [book.name for book in books if _differs(book, folder / book.name)]
    if others:
        raise RetrainLabError(
            f"'{folder}' has {', '.join(others)} already, with other content, and nothing is overwritten. "
            "Name another folder: retrainlab notebooks DIR"
        )
    with writing(f"The folder '{folder}'", "Name another one: retrainlab notebooks DIR"):
        folder.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(book, folder / book.name)) for book in books if not (folder / book.name).exists()]


def _differs(book: Path, other: Path) -> bool:
    return other.exists() and other.read_bytes() != book.read_bytes()


def others_note() -> str:
    """Say that the notebooks that run are not those of this version, as a reason for what went wrong; else empty."""
    own, carried = project.notebooks_dir(), project.carried_dir()
    if not any(_differs(book, own / book.name) for book in every(carried)):
        return ""
    return (
        f" The notebooks in '{own}' are not those of Retrain Lab {__version__}: changed, or of another version. "
        "To compare: retrainlab notebooks DIR copies those."
    )
