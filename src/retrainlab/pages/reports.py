"""Papermill over the notebooks, their pages as HTML, and the index page."""

import ast
import contextlib
import difflib
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import papermill
import yaml
from markupsafe import Markup
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from .. import __version__, project
from ..errors import RetrainLabError
from ..runs import listing, run_folder

_WIDGET = "application/vnd.jupyter.widget-view+json"
_TEMPLATES = files("retrainlab.pages") / "templates"
_COLOURS = {"train": "#0173b2", "validation": "#de8f05", "test": "#029e73"}  # as in `plots`, which is slow to import


def notebooks() -> list[Path]:
    """Find the project's notebooks, in order.

    Raises:
        RetrainLabError: there are none: the command was started outside the project and is not installed from it.
    """
    found = sorted((project.root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise RetrainLabError(
            "No notebooks found. Expected the project's folder notebooks/; run this from the project."
        )
    return found


def parameters(notebook: Path) -> dict[str, dict[str, Any]]:
    """Read a notebook's parameters: name -> {default, type, help}, as its cell tagged `parameters` declares them."""
    found = {}
    for name, entry in papermill.inspect_notebook(str(notebook)).items():
        default = ast.literal_eval(entry["default"])
        found[name] = {"default": default, "type": type(default), "help": entry["help"]}
    return found


def all_parameters() -> dict[str, dict[str, Any]]:
    """Read the parameters of all notebooks together; see `parameters`."""
    return {name: entry for book in notebooks() for name, entry in parameters(book).items()}


def read_parameters(
    pairs: Sequence[tuple[str, str]], known: dict[str, dict[str, Any]], file: Path | None = None
) -> dict[str, Any]:
    """Combine a YAML file of parameters with `-p NAME VALUE` pairs, which win.

    The value of a pair is taken as it is where the parameter is a text (`image_dir 2024-05-01` is a folder, no date),
    or a list of texts and does not begin with `[`; else it is read as YAML.

    Raises:
        RetrainLabError: the file is missing or no mapping, or a value cannot be read.
    """
    values: dict[str, Any] = {}
    try:
        if file is not None:
            loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
            if not isinstance(loaded, dict):
                raise RetrainLabError(f"{file} holds no parameters. Expected lines of `name: value`.")
            values |= loaded
        for name, text in pairs:
            values[name] = text if _is_text(text, known.get(name, {})) else yaml.safe_load(text)
    except OSError as error:
        raise RetrainLabError(f"The parameters file '{file}' cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RetrainLabError(f"A parameter cannot be read as YAML: {' '.join(str(error).split())}.") from error
    return values


def _is_text(text: str, entry: dict[str, Any]) -> bool:
    """Tell whether a parameter's value is the text itself. A list without a default is one of names or paths."""
    texts = entry.get("type") is list and not entry["default"]
    return entry.get("type") is str or (texts and not text.lstrip().startswith("["))


def check_parameters(values: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Check names and types against the notebooks' own; returns the values, made to fit (2 for a float becomes 2.0).

    Raises:
        RetrainLabError: an unknown name, with the nearest known one; or a value of the wrong type.
    """
    fitted = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise RetrainLabError(f"Unknown parameter '{name}'.{hint} Known: {', '.join(sorted(known))}.")
        wanted = known[name]["type"]
        if wanted is list:
            value = _numbers(value) if known[name]["default"] else _texts(value, commas=name not in _PATHS)
        elif wanted is float and isinstance(value, int | str):
            with contextlib.suppress(ValueError):
                value = float(value)  # YAML reads 1e-4, without a dot, as text
        elif wanted is str and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise RetrainLabError(
                f"Parameter {name} is {values[name]!r}. Expected {_KINDS[wanted]}: {known[name]['help']}."
            )
        fitted[name] = value
    return fitted


def _texts(value: Any, commas: bool) -> list[str] | None:
    """Make a list of a single text, none of an empty one; with `commas`, of each text between two of them.

    Returns:
        None where something is no text: the caller says what was expected.
    """
    if isinstance(value, str):
        value = [part for part in (map(str.strip, value.split(",")) if commas else [value]) if part]
    values = value if isinstance(value, list) else [value]
    plain = all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values)
    return [str(one) for one in values] if plain else None


def _numbers(value: Any) -> list[float] | None:
    """Make a list of numbers of one, or of a text with commas, as the command gives it; see `_texts`."""
    values = value if isinstance(value, list) else [value]
    try:
        return [float(part) for one in values for part in (one.split(",") if isinstance(one, str) else [one])]
    except (TypeError, ValueError):
        return None


_PATHS = {"images"}  # lists of paths, which may hold commas
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list"}


def report(
    run: str,
    values: dict[str, Any],
    only: Sequence[str] = (),
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Run the notebooks headless for one run and write their pages and the index.

    Args:
        run: the run's name.
        values: notebook parameters; each notebook is given those that it knows.
        only: beginnings of notebook names, such as "03"; none = all. What the run was given before and is not given
            now stays as it was.
        resume: pass over notebooks whose page is already there, made with the same parameters from the last training.
        say: told a line at each step.

    Returns:
        `reports/index.html`.

    Raises:
        RetrainLabError: a parameter is wrong, or a notebook failed: with the sentence that the notebook ended in.
    """
    every = notebooks()
    chosen = [book for book in every if not only or book.name.startswith(tuple(only))]
    if not chosen:
        raise RetrainLabError(f"--only {' '.join(only)} names no notebook. Known: {', '.join(b.stem for b in every)}.")
    known = {book: parameters(book) for book in every}
    together = {name: entry for entries in known.values() for name, entry in entries.items()}
    values = check_parameters(values | {"run": run}, together)
    opened = run_folder.open_run(values.get("reports_dir", together["reports_dir"]["default"]), run)
    if only:
        values = {n: value for n, value in opened.info().get("parameters", {}).items() if n in together} | values
    mine = {book: {name: value for name, value in values.items() if name in known[book]} for book in chosen}
    for book in chosen:  # begin anew: what an earlier report left does not count as done
        if not (resume and _is_done(opened, book, mine[book])):
            _page(opened, book).unlink(missing_ok=True)
    opened.replace(parameters=values)
    try:
        for book in chosen:
            if _is_done(opened, book, mine[book]):
                say(f"{book.stem}: already there")
                continue
            _page(opened, book).unlink(missing_ok=True)  # of a training that one of the notebooks before has replaced
            say(f"{book.stem}: running")
            _execute(book, opened, mine[book])
    finally:  # all pages anew, so that their links name every page that is there, also after a failure
        for book in every:
            if _page(opened, book).exists():
                _write_page(opened, opened.folder / book.name)
        index = write_index(opened.folder.parent)
    return index


def _page(run: run_folder.Run, book: Path) -> Path:
    return run.folder / f"{book.stem}.html"


def _is_done(run: run_folder.Run, book: Path, values: dict[str, Any]) -> bool:
    """Tell whether a run has a notebook's page, made with these parameters, of what the run is now."""
    if not _page(run, book).exists():
        return False
    noted = _noted(run.folder / book.name)
    return noted.get("parameters") == values and not _outdated(run, book.stem, _ended(noted))


def _noted(executed: Path) -> dict[str, Any]:
    """Read what papermill noted in a notebook that it executed: parameters, end_time, ...; empty if nothing."""
    try:
        return nbformat.read(executed, as_version=4).metadata.get("papermill", {})
    except (OSError, ValueError):
        return {}


def _ended(noted: dict[str, Any]) -> datetime | None:
    """When a notebook had been executed; papermill notes it in UTC."""
    return datetime.fromisoformat(noted["end_time"]).replace(tzinfo=UTC) if noted.get("end_time") else None


def _outdated(run: run_folder.Run, stem: str, ended: datetime | None) -> str:
    """Say in a sentence what has happened to a run since a page of it was made; empty if nothing has."""
    info = run.info()
    since, trained = info.get("dataset", {}).get("since"), info.get("trained")
    if since and ended and ended < datetime.fromisoformat(since):
        again = stem if stem < "03" or not _lost_figures(run.folder) else "03_retrain"
        return f"Made from other images or labels than this run has now: run {again} again."
    if trained and ended and stem >= "03" and ended < datetime.fromisoformat(trained):
        return f"Made before the last training: run {stem} again."
    return ""


def _lost_figures(folder: Path) -> bool:
    """Tell whether a run was trained, but on other images than it has now; see `Run.begin`."""
    return (folder / "predictions.parquet").exists() and not (folder / "metrics.json").exists()


def _execute(book: Path, run: run_folder.Run, values: dict[str, Any]) -> None:
    logging.getLogger("papermill").setLevel(logging.WARNING)
    out = run.folder / book.name
    try:
        papermill.execute_notebook(
            str(book),
            str(out),
            values,
            cwd=str(project.root()),
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],
        )
    except papermill.PapermillExecutionError as error:
        sentence = f"{error.evalue}" if error.ename == RetrainLabError.__name__ else f"{error.ename}: {error.evalue}"
        raise RetrainLabError(f"{sentence} (in {book.stem}; see {out})") from error
    _page(run, book).touch()  # marks it done; the page itself follows with the others


def _write_page(run: run_folder.Run, notebook: Path) -> None:
    """Export an executed notebook as one self-contained HTML file."""
    book = nbformat.read(notebook, as_version=4)
    ended = _ended(book.metadata.get("papermill", {}))
    for cell in book.cells:  # progress bars are for those who watch; a page has no use for them
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
    for cell in book.cells:
        if cell.cell_type == "markdown":  # on a page, notebooks link to pages
            cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb\)", r"](\1.html)", cell.source)
    book.cells = _folded(_summary_first(book.cells))
    links = [
        {"file": f"{other.stem}.html", "text": title(other), "here": other.stem == notebook.stem}
        for other in notebooks()
        if (run.folder / f"{other.stem}.html").exists()
    ]
    page = {
        "title": f"{run.name}: {title(notebook)}",
        "run": run.name,
        "notebook": notebook.name,
        "links": links,
        "version": __version__,
        "made": f", {ended:%Y-%m-%d %H:%M} UTC" if ended else "",
        "outdated": _outdated(run, notebook.stem, ended),
        "style": (_TEMPLATES / "style.css").read_text(encoding="utf-8"),
        "pygments": HtmlFormatter(nobackground=True).get_style_defs(".highlight"),
    }
    exporter = HTMLExporter(template_name="page", extra_template_basedirs=[str(_TEMPLATES)], embed_images=True)
    body, _ = exporter.from_notebook_node(book, resources={"page": page})
    (run.folder / f"{notebook.stem}.html").write_text(body, encoding="utf-8")


def _summary_first(cells: list[Any]) -> list[Any]:
    """Put the cells tagged `summary` right after the title: a notebook finds at its end what a page says first."""
    summary = [cell for cell in cells if "summary" in cell.metadata.get("tags", [])]
    others = [cell for cell in cells if cell not in summary]
    return others[:1] + summary + others[1:]


def _folded(cells: list[Any]) -> list[Any]:
    """Join neighbouring code cells that show nothing into one: on a page they are one thing to unfold."""
    joined: list[Any] = []
    for cell in cells:
        before = joined[-1] if joined else None
        if before and before.cell_type == cell.cell_type == "code" and not before.outputs:
            before.source += f"\n\n{cell.source}"
            before.outputs = cell.outputs
        else:
            joined.append(cell)
    return joined


def title(notebook: Path) -> str:
    """Turn `04_overfitting.ipynb` into `Overfitting`."""
    return notebook.stem.split("_", 1)[1].replace("_", " ").capitalize()


def write_index(reports_dir: Path) -> Path:
    """Write `index.html`: every run with its accuracies, intervals and links to its pages."""
    listed = listing.list_runs(reports_dir)
    lows = listed[[f"{split} low" for split in _COLOURS]].astype(float).min(axis=None)
    floor = 0.0 if lows != lows else max(0.0, int(lows * 10) / 10)  # one scale for all runs
    entries = []
    for name, row in listed.iterrows():
        figures = []
        for split, colour in _COLOURS.items():
            accuracy, low, high = (_number(row[f"{split}{part}"]) for part in ("", " low", " high"))
            figure = {"split": split, "accuracy": accuracy, "low": low, "high": high, "n": int(row[f"{split} n"])}
            for key, value in (("x", accuracy), ("x_low", low), ("x_high", high)):
                figure[key] = None if value is None else round(5 + 200 * (value - floor) / (1 - floor), 1)
            figures.append(figure | {"colour": colour})
        entries.append(
            {
                "name": name,
                "sweep": row["sweep"] if isinstance(row["sweep"], str) else None,
                "backbone": row["backbone"],
                "updated": str(row["updated"])[:16].replace("T", " "),
                "images": Path(row["images"]).name if isinstance(row["images"], str) else "",
                "labels": row["labels"],
                "figures": figures,
                "gap": _number(row["gap"]),
                "gap_low": _number(row["gap low"]),
                "gap_high": _number(row["gap high"]),
                "verdict": row["verdict"] if isinstance(row["verdict"], str) else None,
                "sentence": row["sentence"],
                "advice": _promising(row["advice"]),
                "pages": _pages(reports_dir / str(name)),
            }
        )
    sweeps = [
        {"name": name, "pages": _pages(reports_dir / name), "runs": mine,
         "chosen": run_folder.Run(reports_dir / name).info().get("sweep", {}).get("chosen")}
        for name in sorted(set(listed["sweep"].dropna()))
        if (mine := sorted((entry for entry in entries if entry["sweep"] == name), key=itemgetter("name")))
    ]  # fmt: skip
    shown = {*listed.index, *(sweep["name"] for sweep in sweeps)}
    untrained = [
        {"name": folder.name, "pages": _pages(folder), "before": _lost_figures(folder)}
        for folder in sorted(reports_dir.iterdir())
        if folder.name not in shown and any(folder.glob("[0-9][0-9]_*.html"))
    ]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (_TEMPLATES / "index.html.j2").read_text(encoding="utf-8")
    )
    html = template.render(
        runs=[entry for entry in entries if not entry["sweep"]],
        sweeps=sweeps,
        untrained=untrained,
        floor=round(100 * floor),
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    file = reports_dir / "index.html"
    file.write_text(html, encoding="utf-8")
    return file


def _promising(advice: Any) -> str:
    """Pick the first advice of a run's, if what it says it brings is above 0; see `evaluation.points`."""
    first = advice[0] if isinstance(advice, list) and advice else ""
    gain = re.search(r"([+-]\d+\.\d) points", first)
    return first if gain and float(gain[1]) > 0 else ""


def _pages(folder: Path) -> list[dict[str, str]]:
    pages = sorted(folder.glob("[0-9][0-9]_*.html"))
    return [{"file": f"{folder.name}/{page.name}", "text": title(page)} for page in pages]


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
