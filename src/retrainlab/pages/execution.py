"""Papermill over one notebook; and whether what it made still belongs to the run as it is."""

import contextlib
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from traitlets import DottedObjectName, Unicode

from .. import project, sealing
from ..errors import RetrainLabError
from ..runs.run_folder import Run
from ..sealing import DamagedFile
from . import engine, notebooks

_LAUNCH = """import os, runpy, sys
del sys.path[0]  # the folder that we are in, as ipykernel does
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # likewise, lest figures be shown nowhere
first = sys.argv.pop(1)
try:
    import tqdm.autonotebook, tqdm.notebook
    tqdm.autonotebook.tqdm = tqdm.notebook.tqdm  # it looks whether this is a kernel, and will be one only later
    exec(first, {})
except Exception:
    pass  # the notebook will come to it, too, and say so
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""
_TRAINING = ("03", "04")  # the notebooks that need TensorFlow, which takes seconds to import
_WAKE = "\nfrom retrainlab.backbones.runtimes import tensorflow; tensorflow()"
_PATIENCE = 300  # seconds until a kernel is there: it imports on a busy machine
_OF_THE_CODE = ("ImportError", "ModuleNotFoundError", "AttributeError", "NameError", "TypeError")


class _ThisPython(KernelManager):
    """Starts the Python that runs this, whatever kernel is installed under the name that the notebooks give."""

    client_class = DottedObjectName("jupyter_client.asynchronous.AsyncKernelClient")  # what nbclient asks for
    first = Unicode(help="code that it runs before it is ready")

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-c", _LAUNCH, self.first, "-f", "{connection_file}"]
        return KernelSpec(argv=argv, language="python", display_name="Python 3")


def start(book: Path) -> KernelManager:
    """Start a kernel that imports what a notebook does, without waiting for it: so another one may run meanwhile."""
    kernel = _ThisPython(first=notebooks.imports(book) + (_WAKE if book.stem.startswith(_TRAINING) else ""))
    kernel.start_kernel(extra_arguments=["--log-level=CRITICAL"], cwd=str(project.root()))
    return kernel


def execute(
    book: Path,
    run: Run,
    values: dict[str, Any],
    kernel: KernelManager | None = None,
    tell: engine.Tell = lambda heading, bar: None,
) -> None:
    """Run a notebook headless; its executed copy goes to the run's folder, and an empty page that marks it done.

    Args:
        kernel: as of `start`, which ends with it; None for a new one.
        tell: told what it is doing, while it runs.

    Raises:
        RetrainLabError: it failed: with the sentence that it ended in.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of declarations that it cannot read; we do
    out, kernel = run.folder / book.name, kernel or start(book)
    try:
        papermill.execute_notebook(
            str(book),
            str(out),
            values,
            cwd=str(project.root()),
            kernel_name="python3",
            engine_name=engine.NAME,
            km=kernel,
            tell=tell,
            progress_bar=False,
            start_timeout=_PATIENCE,
        )
    except papermill.PapermillExecutionError as error:
        sentence = f"{error.evalue}" if error.ename == RetrainLabError.__name__ else f"{error.ename}: {error.evalue}"
        note = notebooks.others_note() if error.ename in _OF_THE_CODE else ""
        raise RetrainLabError(f"{sentence} (in {book.stem}; see {out}){note}") from error
    except RuntimeError as error:  # of nbclient: the kernel is gone
        raise RetrainLabError(
            f"The Python that ran {book.stem} has ended or never began ({error}). Mostly the memory did not suffice."
        ) from error
    finally:
        kernel.shutdown_kernel(now=True)


def page(run: Run, book: Path) -> Path:
    return run.folder / f"{book.stem}.html"


def is_done(run: Run, book: Path, values: dict[str, Any]) -> bool:
    """Tell whether a run has a notebook's page, made with these parameters, of what the run is now."""
    if not page(run, book).exists():
        return False
    noted = _noted(run, book)
    return noted.get("parameters") == values and not outdated(run, book.stem, ended(run, book))


def ended(run: Run, book: Path) -> datetime | None:
    """Tell when a run's copy of a notebook had been executed, in UTC; None if it was not, or is damaged."""
    with contextlib.suppress(ValueError):
        if said := _noted(run, book).get("end_time"):
            return datetime.fromisoformat(said).replace(tzinfo=UTC)
    return None


class _Noted(TypedDict, total=False):
    parameters: dict[str, Any]
    end_time: str | None


class _Metadata(TypedDict, total=False):
    papermill: _Noted


class _Executed(TypedDict):
    metadata: _Metadata


def _noted(run: Run, book: Path) -> _Noted:
    """Read what papermill noted in a run's copy of a notebook."""
    try:
        return sealing.read_json(run.folder / book.name, _Executed)["metadata"].get("papermill", {})
    except (OSError, DamagedFile):
        return {}


def outdated(run: Run, stem: str, made: datetime | None) -> str:
    """Say in a sentence what has happened to a run since a page of it was made; empty if nothing has."""
    info = run.info()
    since, trained = info.get("dataset", {}).get("since"), info.get("trained")
    if since and made and made < datetime.fromisoformat(since):
        return f"Made from other images or labels than this run has now: run {stem} again."
    if trained and made and stem >= "03" and made < datetime.fromisoformat(trained):
        return f"Made before the last training: run {stem} again."
    return ""
