"""An executed notebook as a page: one HTML file that needs nothing else."""

import re
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import jinja2
import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from .. import __version__
from ..files import replacing
from ..runs.run_folder import Run
from . import execution, notebooks, sections

TEMPLATES = Path(str(files("retrainlab.pages"))) / "templates"
STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")
_HEAD = re.compile(r'<header>.*?<main>(\n<p class="outdated">[^<]*</p>)?', re.DOTALL)


def write_page(run: Run, book: Path) -> None:
    """Export a run's executed copy of a notebook, with links to the pages that the run has."""
    executed = nbformat.read(run.folder / book.name, as_version=4)
    made = execution.ended(executed.metadata.get("papermill", {}))
    executed.cells = sections.arranged(executed.cells)
    shown = {
        "title": f"{run.name}: {notebooks.title(book)}",
        "notebook": book.name,
        "head": _head(run, book, made),
        "version": __version__,
        "made": f", {made:%Y-%m-%d %H:%M} UTC" if made else "",
        "style": STYLE,
        "pygments": HtmlFormatter(nobackground=True).get_style_defs(".highlight"),
    }
    exporter = HTMLExporter(template_name="page", extra_template_basedirs=[str(TEMPLATES)], embed_images=True)
    body, _ = exporter.from_notebook_node(executed, resources={"page": shown})
    _write(run, book, body)


def link_page(run: Run, book: Path) -> None:
    """Bring the head of a page up to date: the pages that the run has by now, and whether this one is of before."""
    noted = nbformat.read(run.folder / book.name, as_version=4).metadata.get("papermill", {})
    head = _head(run, book, execution.ended(noted))
    _write(run, book, _HEAD.sub(lambda _: head, execution.page(run, book).read_text(encoding="utf-8"), count=1))


def _head(run: Run, book: Path, made: datetime | None) -> str:
    links = [
        {"file": f"{other.stem}.html", "text": notebooks.title(other), "here": other.stem == book.stem}
        for other in notebooks.every()
        if other.stem == book.stem or execution.page(run, other).exists()
    ]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (TEMPLATES / "head.html.j2").read_text(encoding="utf-8")
    )
    return template.render(run=run.name, links=links, outdated=execution.outdated(run, book.stem, made))


def _write(run: Run, book: Path, body: str) -> None:
    with replacing(execution.page(run, book)) as aside:
        aside.write_text(body, encoding="utf-8")
