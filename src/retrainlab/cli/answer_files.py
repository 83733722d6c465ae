"""Answers as lines for machines, CSV or JSON; and files of them, which a command that was interrupted goes on with."""

import csv
import io
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypedDict

from .. import shapes
from ..errors import RetrainLabError, writing
from ..escaping import FORMULA
from ..files import replacing
from ..labeling.streaming import Answer

_SUFFIXES = {".csv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
ADVICE = "Name another --output, or move this one away."
_OPINION = ["says", "unlike", "most_like", "most_like_label", "distance"]


class _Record(TypedDict):
    """A line of JSON, as far as it is read again: there may be a million."""

    path: str
    labels: list[Any]
    opinion: dict[str, Any] | None
    problem: str | None
    model: str


@dataclass(frozen=True)
class Form:
    """How answers are written: a row, or a JSON object, an image. Parquet has the columns of CSV.

    JSON: {"path", "labels": [{"label", "probability"}, ...], "opinion", "problem", "model"}. CSV: path, label,
    probability, label_2, probability_2, ..., what the opinion is, problem, model; cells are empty where there is
    nothing to say. An opinion is {"says", "labels", "unlike", "strangeness", "nearest": [{"path", "label",
    "distance"}, ...]}, or null; CSV has of it says, unlike, and the nearest image alone.

    Attributes:
        kind: "csv", "parquet", or "json" for JSON lines.
        count: labels an image.
        model: what tells classifiers, and the settings that they are used with, apart.
    """

    kind: str
    count: int
    model: str

    @property
    def header(self) -> str:
        """The line above all others; empty for JSON."""
        return _row(self.columns) if self.kind == "csv" else ""

    @property
    def columns(self) -> list[str]:
        """The names of what a row has."""
        numbers = ["", *(f"_{rank}" for rank in range(2, self.count + 1))]
        labels = (name + n for n in numbers for name in ("label", "probability"))
        return ["path", *labels, *_OPINION, "problem", "model"]

    def line(self, answer: Answer) -> str:
        """Write an answer; probabilities are rounded to 6 decimals."""
        return self.of(self._told(answer))

    def _told(self, answer: Answer) -> dict[str, Any]:
        labels = [{"label": label, "probability": round(chance, 6)} for label, chance in answer.labels]
        told = {"path": answer.path, "labels": labels, "opinion": _opinion(answer)}
        return told | {"problem": answer.problem, "model": self.model}

    def row(self, answer: Answer) -> dict[str, Any]:
        """Lay an answer out by column; None where there is nothing to say."""
        told = self._told(answer)
        values = [value if value != "" else None for value in self._cells(told)]
        row = dict(zip(self.columns, values, strict=True))
        return row | {"unlike": None if told["opinion"] is None else told["opinion"]["unlike"]}

    def _cells(self, record: dict[str, Any]) -> list[Any]:
        cells = [cell for entry in record["labels"] for cell in (entry["label"], entry["probability"])]
        cells += [""] * (2 * (self.count - len(record["labels"])))
        return [record["path"], *cells, *_cells(record["opinion"]), record["problem"] or "", record["model"]]

    def of(self, record: dict[str, Any]) -> str:
        """Write what `records` reads."""
        if self.kind == "json":
            return json.dumps(record, ensure_ascii=False) + "\n"
        path, *cells = self._cells(record)
        return _row([f"./{path}" if path.startswith(FORMULA) else path, *cells])

    def records(self, text: str) -> Iterator[dict[str, Any]]:
        """Read what `header` and `line` wrote, as what a line of JSON holds; a row cut off at the end is left out.

        Raises:
            ValueError: it is something else. The message says in which line.
        """
        if self.kind == "csv":
            yield from self._rows(text)
            return
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            try:
                record = json.loads(line)
                shapes.check(record, _Record)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} is no answer of this command") from error
            yield record

    def _rows(self, text: str) -> Iterator[dict[str, Any]]:
        rows = csv.reader(io.StringIO(text, newline=""))
        if (columns := next(rows, self.columns)) != self.columns:
            raise ValueError(
                f"its columns are {', '.join(columns)}; with this --top expected {', '.join(self.columns)}"
            )
        cells, line = next(rows, None), rows.line_num
        while cells is not None:
            following, last = next(rows, None), line
            line = rows.line_num
            if following is not None or len(cells) == len(self.columns):  # else it was cut off within quotes
                yield self._record(cells, last)
            cells = following

    def _record(self, row: list[str], line: int) -> dict[str, Any]:
        if len(row) != len(self.columns):
            raise ValueError(f"line {line} has {len(row)} cells, not {len(self.columns)}")
        path, *cells, problem, model = row
        cells, opinion = cells[: -len(_OPINION)], cells[-len(_OPINION) :]
        labels = [
            {"label": label, "probability": float(chance)}
            for label, chance in zip(cells[::2], cells[1::2], strict=True)
            if chance
        ]
        known = {"path": path.removeprefix("./"), "labels": labels, "opinion": _read_opinion(opinion)}
        return known | {"problem": problem or None, "model": model}


def _opinion(answer: Answer) -> dict[str, Any] | None:
    if (held := answer.opinion) is None:
        return None
    near = [{"path": path, "label": label, "distance": round(far, 4)} for path, label, far in held.nearest]
    told = {"says": held.said, "labels": held.held, "unlike": held.unlike}
    return told | {"strangeness": round(held.strangeness, 4), "nearest": near}


def _cells(opinion: dict[str, Any] | None) -> list[Any]:
    """What a row has of an opinion."""
    if opinion is None:
        return [""] * len(_OPINION)
    nearest = opinion["nearest"][0] if opinion["nearest"] else {"path": "", "label": "", "distance": ""}
    return [opinion["says"], "yes" if opinion["unlike"] else "no", *nearest.values()]


def _read_opinion(cells: list[str]) -> dict[str, Any] | None:
    """The same back, as far as a row has it."""
    says, unlike, path, label, far = cells
    nearest = [{"path": path, "label": label, "distance": float(far)}] if far else []
    return {"says": says, "unlike": unlike == "yes", "nearest": nearest} if says else None


def kind_of(as_csv: bool, as_json: bool, output: Path | None) -> str:
    """Tell how answers are to be written: "csv", "json", "parquet", or "" for people.

    Raises:
        RetrainLabError: both are asked for, or a file's name says neither.
    """
    if as_csv and as_json:
        raise RetrainLabError("Answers are either CSV or JSON lines: leave out --csv or --json.")
    if as_csv or as_json or output is None:
        return "csv" if as_csv else "json" if as_json else ""
    if output.suffix.lower() not in _SUFFIXES:
        raise RetrainLabError(
            f"'{output}' does not say what to write. Expected a name that ends in .csv, .jsonl or .parquet, or "
            "--csv or --json."
        )
    return _SUFFIXES[output.suffix.lower()]


def go_on(file: Path, form: Form, asked: Collection[str]) -> set[str]:
    """Prepare a file to be gone on with: what was cut off, and problems with what is asked for again, are taken out.

    Returns:
        The paths that it has answers to.

    Raises:
        RetrainLabError: it is something else, or of another model or another number of labels; it is left as it is.
    """
    if file.exists() and (not file.is_file() or file.is_relative_to("/dev") or file.is_relative_to("/proc")):
        raise RetrainLabError(f"'{file}' is no file. Leave --output out to write to the standard output.")
    if not file.is_file():
        return set()
    file = file.resolve()  # a link stays one
    try:
        records = list(_read(file.read_bytes(), form))
    except (ValueError, csv.Error) as error:
        raise RetrainLabError(f"'{file}' does not hold such answers: {error}. {ADVICE}") from error
    for record in records:
        if record["model"] != form.model:
            raise of_another_model(file, record["model"], form)
        if len(record["labels"]) not in (form.count, 0):
            raise RetrainLabError(
                f"'{file}' holds {len(record['labels'])} labels an image, not {form.count}. Repeat that --top, or "
                "name another --output."
            )
    kept = [record for record in records if not (record["problem"] and record["path"] in asked)]
    whole = (form.header + "".join(form.of(record) for record in kept)).encode()
    if whole != file.read_bytes():
        with writing(f"'{file}'", "It is left as it was."), replacing(file) as aside:
            aside.write_bytes(whole)
            shutil.copymode(file, aside)
    return {record["path"] for record in kept}


def of_another_model(file: Path, model: str, form: Form) -> RetrainLabError:
    """Say that answers are there, and not of the model in use."""
    return RetrainLabError(
        f"'{file}' holds answers of another model, or of the same one with other settings ({model}, not {form.model}). "
        f"{ADVICE}"
    )


def _read(data: bytes, form: Form) -> Iterator[dict[str, Any]]:
    """Read the whole lines of a file of answers; raises ValueError or csv.Error where it is none."""
    begins = (form.header or '{"path": ').encode()
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and not begins.startswith(data[: len(begins)]):
        raise ValueError("its first line is no answer of this command")
    try:
        text = whole.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    return form.records(text)


@contextmanager
def appending(file: Path, form: Form) -> Iterator[TextIO]:
    """Open a file of answers to write lines to, each as it comes; a new one gets its header.

    Raises:
        RetrainLabError: a full disk, a folder that is not there, and the like.
    """
    kept = "What is labelled already is kept: put that right, and run the same again."
    with writing(f"'{file}'", kept), file.open("a", encoding="utf-8", newline="", buffering=1) as lines:
        if not os.fstat(lines.fileno()).st_size:
            lines.write(form.header)
        yield lines


def _row(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # so that a cell that holds either sign is quoted
    return text.getvalue().removesuffix("\r\n") + "\n"
