"""A report: papermill over the notebooks, their pages, and the index."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from jupyter_client.manager import KernelManager

from ..errors import RetrainLabError
from ..runs.run_folder import Run, named, open_run
from . import notebooks, parameters
from .execution import execute, is_done, page, start
from .index_page import write_index
from .rendering import link_page, write_page
from .repeating import in_force
from .watching import Watch

_FREE = "04"  # from here on notebooks read what training left, and nothing of each other
_SIDE_BY_SIDE = 2  # each uses several cores at times, and one at others


def report(
    run: str,
    values: dict[str, Any],
    only: Sequence[str] = (),
    resume: bool = False,
    anew: bool = False,
    say: Callable[[str], None] = print,
    screen: TextIO | None = None,
) -> Path:
    """Run the notebooks headless for one run and write their pages and the index.

    Every notebook is given all of its parameters, and the run keeps them. Those that a notebook refuses are not kept,
    unless the run has other images or another training by then.

    Args:
        run: the run's name.
        values: notebook parameters; what is not given stays as the run was given it before, see `repeating.in_force`.
        only: beginnings of notebook names, such as "03"; none = all.
        resume: pass over notebooks whose page is already there, made with the same parameters from the last training.
        anew: forget what the run was given before; it may be of other images than it was.
        say: told a line at each step.
        screen: the terminal on which these lines appear, if there is one: it shows what runs; see `Watch`.

    Returns:
        `reports/index.html`.

    Raises:
        RetrainLabError: a parameter is wrong, the run is of other images, or a notebook failed: with the sentence that
            the notebook ended in.
    """
    every, chosen = notebooks.every(), notebooks.chosen(only)
    declared = {book: parameters.declared(book) for book in every}
    known = {name: entry for entries in declared.values() for name, entry in entries.items()}
    given, defaults = parameters.check(values, known), parameters.defaults(declared[book] for book in chosen)
    place = given.get("reports_dir", known["reports_dir"]["default"])
    in_all, said = in_force(named(place, run), given, known, defaults, anew)
    opened = open_run(place, run)
    mine = {book: {name: value for name, value in in_all.items() if name in declared[book]} for book in chosen}
    for book in chosen:  # begin anew: what an earlier report left does not count as done
        if not (resume and is_done(opened, book, mine[book])):
            page(opened, book).unlink(missing_ok=True)
    for line in said:
        say(line)
    before = opened.info()
    opened.replace(parameters=in_all)
    try:
        watch = Watch(say, screen)
        with watch.drawing():
            _run_all(opened, mine, watch)
    except RetrainLabError:
        _take_back(opened, before, given, say)
        raise
    finally:  # so that the links of all pages name every page that is there by now, also after a failure
        for book in every:
            if page(opened, book).exists():
                link_page(opened, book)
        index = write_index(opened.folder.parent)
    return index


def _run_all(run: Run, values: Mapping[Path, dict[str, Any]], watch: Watch) -> None:
    """Run notebooks, each with its parameters: up to the training one after the other, the rest side by side.

    While one runs, the Python of the next imports what it will need, and the page of the one before is written.
    """
    kernels: dict[Path, KernelManager] = {}

    def begin(book: Path) -> None:
        if book not in kernels:
            kernels[book] = start(book)

    def execute_one(book: Path) -> None:
        page(run, book).unlink(missing_ok=True)  # of a training that one of the notebooks before has replaced
        with watch.running(book.stem) as tell:
            begin(book)
            execute(book, run, values[book], kernels[book], tell)

    def finish(book: Path) -> None:
        execute_one(book)
        write_page(run, book)

    books, made = list(values), list[Future[None]]()
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        try:
            for book, after in zip_longest(books, books[1:]):
                if is_done(run, book, values[book]):
                    watch.say(f"{book.stem}: already there")
                    continue
                if book.stem >= _FREE:
                    made.append(pool.submit(finish, book))
                    continue
                begin(book)
                if after is not None and not is_done(run, after, values[after]):
                    begin(after)
                execute_one(book)
                made.append(pool.submit(write_page, run, book))
            for each in made:
                each.result()
        except BaseException:  # an interrupt, too: nothing may go on behind the prompt
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(each.done() for each in made):
                for kernel in list(kernels.values()):
                    kernel.shutdown_kernel(now=True)
                wait(made, timeout=1)
            raise


def _take_back(run: Run, before: dict[str, Any], given: dict[str, Any], say: Callable[[str], None]) -> None:
    """Give a run the parameters again that it had, unless its images or its training are new: then it is made of these.

    before: what its run.json said.
    """
    now = run.info()
    if any(now.get(key) != before.get(key) for key in ("dataset", "trained")):
        return
    own = before.get("parameters", {})
    run.replace(parameters=own)
    if any(own.get(name) != value for name, value in given.items() if name not in parameters.PLACE):
        stays = "is what it was, and " if own else ""
        say(f"Run '{run.name}' {stays}keeps none of the parameters that were given now.")
