"""Papermill over one notebook; and whether what it made still belongs to the run as it is."""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from .. import project
from ..errors import RetrainLabError
from ..runs.run_folder import Run
from . import notebooks

_OF_THE_CODE = ("ImportError", "ModuleNotFoundError", "AttributeError", "NameError", "TypeError")


class _ThisPython(AsyncKernelManager):
    """Starts the Python that runs this, whatever kernel is installed under the name that the notebooks give."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, language="python", display_name="Python 3")


def execute(book: Path, run: Run, values: dict[str, Any]) -> None:
    """Run a notebook headless; its executed copy goes to the run's folder, and an empty page that marks it done.

    Raises:
        RetrainLabError: it failed: with the sentence that it ended in.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of declarations that it cannot read; we do
    out = run.folder / book.name
    try:
        papermill.execute_notebook(
            str(book),
            str(out),
            values,
            cwd=str(project.root()),
            kernel_name="python3",
            kernel_manager_class=_ThisPython,
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],
        )
    except papermill.PapermillExecutionError as error:
        sentence = f"{error.evalue}" if error.ename == RetrainLabError.__name__ else f"{error.ename}: {error.evalue}"
        note = notebooks.others_note() if error.ename in _OF_THE_CODE else ""
        raise RetrainLabError(f"{sentence} (in {book.stem}; see {out}){note}") from error
    except RuntimeError as error:  # of nbclient: the kernel is gone
        raise RetrainLabError(
            f"The Python that ran {book.stem} has ended or never began ({error}). Mostly the memory did not suffice."
        ) from error


def page(run: Run, book: Path) -> Path:
    return run.folder / f"{book.stem}.html"


def is_done(run: Run, book: Path, values: dict[str, Any]) -> bool:
    """Tell whether a run has a notebook's page, made with these parameters, of what the run is now."""
    if not page(run, book).exists():
        return False
    try:
        noted = nbformat.read(run.folder / book.name, as_version=4).metadata.get("papermill", {})
    except (OSError, ValueError):
        return False
    return noted.get("parameters") == values and not outdated(run, book.stem, ended(noted))


def ended(noted: dict[str, Any]) -> datetime | None:
    """Tell when a notebook had been executed, of what papermill noted in it, in UTC; None if it did not."""
    return datetime.fromisoformat(noted["end_time"]).replace(tzinfo=UTC) if noted.get("end_time") else None


def outdated(run: Run, stem: str, made: datetime | None) -> str:
    """Say in a sentence what has happened to a run since a page of it was made; empty if nothing has."""
    info = run.info()
    since, trained = info.get("dataset", {}).get("since"), info.get("trained")
    if since and made and made < datetime.fromisoformat(since):
        again = stem if stem < "03" or not lost_figures(run) else "03_retrain"
        return f"Made from other images or labels than this run has now: run {again} again."
    if trained and made and stem >= "03" and made < datetime.fromisoformat(trained):
        return f"Made before the last training: run {stem} again."
    return ""


def lost_figures(run: Run) -> bool:
    """Tell whether a run was trained, but on other images than it has now; see `Run.begin`."""
    return (run.folder / "predictions.parquet").exists() and not (run.folder / "metrics.json").exists()
