"""The notebooks as files: which there are, what they are called, a copy of them."""

import ast
import io
import shutil
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from .. import __version__, project
from ..errors import RetrainLabError, writing


def every(folder: Path | None = None) -> list[Path]:
    """List the notebooks of a folder, those to run if it is None, in order."""
    return sorted((folder or project.notebooks_dir()).glob("[0-9][0-9]_*.ipynb"))


def chosen(only: Sequence[str]) -> list[Path]:
    """List the notebooks to run whose names begin with one of `only`, such as "03"; all without one."""
    books = every()
    if found := [book for book in books if not only or book.name.startswith(tuple(only))]:
        return found
    raise RetrainLabError(f"--only {' '.join(only)} names no notebook. Known: {', '.join(b.stem for b in books)}.")


def title(notebook: Path) -> str:
    """Turn `04_overfitting.ipynb` into `Overfitting`."""
    return notebook.stem.split("_", 1)[1].replace("_", " ").capitalize()


def declarations(notebook: Path) -> list[tuple[str, Any, str]]:
    """Read the lines `name: type = value  # help` of a notebook's cell tagged `parameters`: [(name, value, help)].

    Python's own grammar reads them: papermill passes over a line whose value holds a `=` (its issue 864), and over
    a whole notebook without the tag (its issue 245), which would then run with its defaults, as the run `demo`.

    Raises:
        ValueError, SyntaxError: it is no notebook, has not one such cell, or a line is more than a plain value.
    """
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{len(tagged)} cells have the tag")
    lines = ast.parse(tagged[0]).body
    tokens = tokenize.generate_tokens(io.StringIO(tagged[0]).readline)
    comments = {token.start[0]: token.string.strip("# ") for token in tokens if token.type == tokenize.COMMENT}
    found = []
    for line in lines:
        if not isinstance(line, ast.AnnAssign) or line.value is None:
            raise ValueError(f"line {line.lineno} of the cell declares no parameter")
        found.append((ast.unparse(line.target), ast.literal_eval(line.value), comments.get(line.end_lineno or 0, "")))
    return found


def imports(notebook: Path) -> str:
    """Collect what the code cells of a notebook import at their beginning, as code; "" where it cannot be read."""
    try:
        cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
        lines = [line for cell in cells for line in ast.parse(cell).body]
    except (ValueError, SyntaxError):
        return ""
    return "\n".join(ast.unparse(line) for line in lines if isinstance(line, ast.Import | ast.ImportFrom))


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
            f"Name another folder: {project.command()} notebooks DIR"
        )
    with writing(f"The folder '{folder}'", f"Name another one: {project.command()} notebooks DIR"):
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
        f"To compare: {project.command()} notebooks DIR copies those."
    )
