"""Answers in Parquet: a folder of immutable parts, each written whole, that one command fills and another goes on with.

pandas, Arrow, Dask and DuckDB read such a folder as one table. Its columns are those of CSV.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .. import sealing
from ..errors import RetrainLabError, writing
from ..files import replacing
from ..labeling.streaming import Answer
from ..sealing import DamagedFile
from .answer_files import ADVICE, Form, of_another_model

_ROWS_A_PART, _SECONDS_A_PART = 10_000, 20.0  # the most work that a crash can lose
_KINDS = {"probability": pa.float64(), "distance": pa.float64(), "unlike": pa.bool_()}


def go_on(folder: Path, form: Form, asked: Collection[str]) -> set[str]:
    """Prepare a folder of parts to be gone on with: problems with what is asked for again are taken out.

    Returns:
        The paths that it has answers to.

    Raises:
        RetrainLabError: it is something else, or of another model or another number of labels; it is left as it is.
    """
    if folder.exists() and not folder.is_dir():
        raise RetrainLabError(f"'{folder}' is a file, and answers in Parquet are a folder of them. {ADVICE}")
    parts = {part: _read(part, form) for part in sorted(folder.glob("*.parquet"))}
    known: set[str] = set()
    for part, table in parts.items():
        again = pc.and_(pc.is_valid(table["problem"]), pc.is_in(table["path"], pa.array(asked, pa.string())))
        kept = table.filter(pc.invert(again))
        if len(kept) < len(table):
            with writing(f"'{part}'", "It is left as it was."), replacing(part) as aside:
                aside.write_bytes(sealing.table_bytes(kept))
        known |= set(kept["path"].to_pylist())
    return known


def _read(part: Path, form: Form) -> pa.Table:
    try:
        table = sealing.read_table(part)
    except (OSError, DamagedFile) as error:
        raise RetrainLabError(f"'{part}' is no whole file of answers ({error}). {ADVICE}") from error
    if table.column_names != form.columns:
        raise RetrainLabError(
            f"'{part}' does not hold such answers: its columns are {', '.join(table.column_names)}; with this --top "
            f"expected {', '.join(form.columns)}. {ADVICE}"
        )
    for model in set(table["model"].to_pylist()) - {form.model}:
        raise of_another_model(part, model, form)
    return table


@contextmanager
def adding(folder: Path, form: Form) -> Iterator[Callable[[Answer], None]]:
    """Give a function that adds an answer to a folder of parts; a part is written every 10,000, or after 20 seconds.

    Raises:
        RetrainLabError: a full disk, a folder that may not be made, and the like.
    """
    kept = "What is labelled already is kept: put that right, and run the same again."
    rows: list[dict[str, Any]] = []
    schema = pa.schema([(name, _KINDS.get(name.rstrip("_0123456789"), pa.string())) for name in form.columns])
    with writing(f"'{folder}'", kept):
        folder.mkdir(exist_ok=True)
    number = max((int(part.name.split("-")[1]) for part in folder.glob("part-*-*.parquet")), default=0)
    written = time.monotonic()

    def write() -> None:
        nonlocal number, written
        number, written = number + 1, time.monotonic()
        told = hashlib.sha256("\n".join(row["path"] for row in rows).encode()).hexdigest()[:8]
        part = folder / f"part-{number:06}-{told}.parquet"  # told: of two commands that fill it, none writes over parts
        with writing(f"'{part}'", kept), replacing(part) as aside:
            aside.write_bytes(sealing.table_bytes(pa.Table.from_pylist(rows, schema)))
        rows.clear()

    def add(answer: Answer) -> None:
        rows.append(form.row(answer))
        if len(rows) >= _ROWS_A_PART or time.monotonic() - written > _SECONDS_A_PART:
            write()

    try:
        yield add
    finally:
        if rows:
            write()
