"""The page that lists all runs."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from .. import __version__, project
from ..errors import RetrainLabError
from ..runs import listing
from ..runs.run_folder import Run
from .notebooks import title
from .rendering import STYLE, TEMPLATES

_COLOURS = {"train": "#0173b2", "validation": "#de8f05", "test": "#029e73"}  # as in `plots`, which is slow to import


def write_index(reports_dir: Path) -> Path:
    """Write `index.html`: every run with its accuracies, intervals, verdict, and links to its pages.

    One that cannot be read has a row, too, which says why.
    """
    runs, broken = listing.read_runs(reports_dir)
    lows = [run[f"{split} low"] for run in runs for split in _COLOURS if run[f"{split} low"] is not None]
    trained = {name for run in runs for name in (run["run"], run["sweep"])} | broken.keys()
    others = [folder for folder in sorted(reports_dir.iterdir()) if folder.name not in trained and _pages(folder)]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((TEMPLATES / "index.html.j2").read_text(encoding="utf-8"))
    html = template.render(
        runs=runs,
        best=_best(runs),
        broken=broken,
        untrained=[folder.name for folder in others],
        chosen=lambda sweep: _chosen(Run(reports_dir / sweep)),
        pages=lambda run: _pages(reports_dir / run),
        floor=int(10 * min(lows, default=0)) / 10,  # one scale for all runs
        colours=_COLOURS,
        style=Markup(STYLE),
        command=project.command(),
        quote=shlex.quote,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    file = reports_dir / "index.html"
    file.write_text(html, encoding="utf-8")
    return file


def _best(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Choose, of the runs on the images that were trained on last, the one that is best on validation."""
    whole = [run for run in runs if not run["sweep"]]
    last = max(whole, key=lambda run: run["updated"] or "", default=None)
    rivals = [run for run in whole if run["images"] == last["images"]] if last else []
    return max(rivals, key=lambda run: (run["validation"] or 0, run["updated"] or ""), default=None)


def _chosen(sweep: Run) -> str | None:
    with suppress(RetrainLabError):  # its own row says so
        return sweep.info().get("sweep", {}).get("chosen")
    return None


def _pages(folder: Path) -> list[dict[str, str]]:
    pages = sorted(folder.glob("[0-9][0-9]_*.html"))
    return [{"file": f"{folder.name}/{page.name}", "text": title(page)} for page in pages]
