"""A report: papermill over the notebooks, their pages, and the index."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import RetrainLabError
from ..runs.run_folder import open_run
from . import notebooks, parameters
from .execution import execute, is_done, page
from .index_page import write_index
from .rendering import write_page


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
    every = notebooks.every()
    chosen = [book for book in every if not only or book.name.startswith(tuple(only))]
    if not chosen:
        raise RetrainLabError(f"--only {' '.join(only)} names no notebook. Known: {', '.join(b.stem for b in every)}.")
    known = {book: parameters.declared(book) for book in every}
    together = {name: entry for entries in known.values() for name, entry in entries.items()}
    values = parameters.check(values | {"run": run}, together)
    opened = open_run(values.get("reports_dir", together["reports_dir"]["default"]), run)
    if only:
        values = {n: value for n, value in opened.info().get("parameters", {}).items() if n in together} | values
    mine = {book: {name: value for name, value in values.items() if name in known[book]} for book in chosen}
    for book in chosen:  # begin anew: what an earlier report left does not count as done
        if not (resume and is_done(opened, book, mine[book])):
            page(opened, book).unlink(missing_ok=True)
    opened.replace(parameters=values)
    try:
        for book in chosen:
            if is_done(opened, book, mine[book]):
                say(f"{book.stem}: already there")
                continue
            page(opened, book).unlink(missing_ok=True)  # of a training that one of the notebooks before has replaced
            say(f"{book.stem}: running")
            execute(book, opened, mine[book])
    finally:  # all pages anew, so that their links name every page that is there, also after a failure
        for book in every:
            if page(opened, book).exists():
                write_page(opened, book)
        index = write_index(opened.folder.parent)
    return index
