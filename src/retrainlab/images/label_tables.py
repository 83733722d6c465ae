"""A CSV of names and labels, and perhaps splits and groups: its columns are told apart, its rows read.

Which column names the images is told by what it holds; which are labels, splits and groups by their names, or by there
being only one that it can be.
"""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..errors import RetrainLabError
from ..files import opened
from .layouts import split_name
from .matching import Names

_SEPARATORS = ",;\t|"
_KINDS = {
    "label": {"label", "labels", "class", "classname", "category", "target", "breed", "species", "diagnosis", "dx"},
    "split": {"split", "set", "subset", "partition", "usage"},
    "group": {"group", "groupid", "patient", "patientid", "subject", "subjectid", "lesionid", "individualid"},
}
_SAMPLE = 1000  # rows that tell columns apart
_NEARLY = 0.9  # of the cells: what one column does that is as good as another
_EXPECTED = "Expected a table with the columns path,label, and perhaps split and group."


@dataclass(frozen=True)
class LabelTable:
    """A table of labels, read.

    Attributes:
        file: where it lies.
        columns: what they are called, by what they hold: path, label, split, group; all but path may be missing.
        rows: by line (the first of the file is 1), the cells of these, by what they hold.
        spread: the columns of 0 and 1, one a label, that a label is spread over where it has no column of its own.
        unused: the other columns.
    """

    file: Path
    columns: dict[str, str]
    rows: dict[int, dict[str, str]]
    spread: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> bool:
        """Whether it gives labels; else it only says what belongs together, or how to split."""
        return "label" in self.columns or bool(self.spread)

    @property
    def by_name(self) -> bool:
        """Whether its label is called so; else it may be anything that is said of images: no other column is left."""
        return _plain(self.columns.get("label", "")) in _KINDS["label"]


def read(file: Path, names: Names) -> LabelTable:
    """Read a table of labels: UTF-8 or UTF-16, separated by commas, semicolons, tabs or bars, with a line of headings.

    Raises:
        RetrainLabError: it cannot be read, no column names the images, or which one is the label cannot be told.
    """
    lines = _lines(file)
    if len(lines) < 2:
        raise RetrainLabError(f"{file} has no rows. {_EXPECTED}")
    (_, head), *body = lines
    head = [name.strip() for name in head]
    if any(len(names.find(cell)) == 1 for cell in head):  # an image already: there are no headings
        head, body = [f"column {number}" for number in range(1, len(head) + 1)], lines
    named = [name for name in head if name]  # a column without a name numbers the rows, as pandas writes it
    if len(set(named)) < len(named):
        raise RetrainLabError(f"{file} has two columns of the same name, line 1: {', '.join(head)}. Rename one.")
    for line, cells in body:
        if len(cells) != len(head):
            raise RetrainLabError(
                f"{file}, line {line}, has {len(cells)} columns, the first line {len(head)}. A name that holds the "
                "separator needs quotes."
            )
    table = pd.DataFrame([cells for _, cells in body], columns=head, index=[line for line, _ in body])[named]
    columns = _columns(file, table, names)
    chosen = table[list(columns.values())].set_axis(list(columns), axis=1)
    known = {*columns.values(), *_second_paths(table, columns, names)}
    others = [name for name in named if name not in known]
    spread = others if "label" not in columns and len(others) > 1 and _is_one_hot(table[others]) else []
    if spread:
        chosen["label"] = _one_hot(file, table[spread])
    elif "label" not in columns and (others or columns.keys() == {"path"}):
        raise RetrainLabError(
            f"Which column of {file} is the label cannot be told: {', '.join(others) or 'none is left'}. Rename it to "
            "label."
        )
    return LabelTable(file, columns, chosen.to_dict("index"), spread, [] if spread else others)


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Read a file's lines that are not empty: (number of its last line, cells)."""
    try:
        with opened(file) as table:
            content = table.read()
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise RetrainLabError(f"The table of labels '{file}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RetrainLabError(
            f"{file}, line {line}, is not UTF-8 ({content[error.start : error.start + 1]!r}), so its letters cannot be "
            "told. Save it as UTF-8; spreadsheets call that 'CSV UTF-8'."
        ) from error
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise RetrainLabError(f"{file}, line {reader.line_num}, cannot be read: {error}. {_EXPECTED}") from error


def _columns(file: Path, table: pd.DataFrame, names: Names) -> dict[str, str]:
    """Tell what columns hold: path, label, split or group -> its name."""
    path = _path_column(file, table, names)
    columns, rest = {"path": path}, [name for name in table if name != path]
    for kind, known in _KINDS.items():
        fitting = [name for name in rest if _plain(name) in known]
        if kind == "split" and not any(name.lower() == "split" for name in fitting):  # `set` may be of anything else
            fitting = [name for name in fitting if all(split_name(cell) for cell in set(table[name]) - {""})]
        exact = [name for name in fitting if name.lower() == kind]
        if len(exact or fitting) > 1:
            raise RetrainLabError(
                f"{file} has several columns that may be the {kind}: {', '.join(fitting)}. Rename the right one to "
                f"{kind}."
            )
        if fitting:
            columns[kind] = (exact or fitting)[0]
    known_names = {*columns.values(), *_second_paths(table, columns, names)}
    others = [name for name in rest if name not in known_names]
    if "label" not in columns and len(others) == 1:
        columns["label"] = others[0]
    return columns


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


def _path_column(file: Path, table: pd.DataFrame, names: Names) -> str:
    """Tell which column names the images; names with their endings count before others, for a number may be of rows."""
    sample = table.head(_SAMPLE)
    hits = {name: sum(bool(names.find(cell)) for cell in set(sample[name])) for name in table}
    whole = {name: sum(names.is_whole(cell) for cell in set(sample[name])) for name in table}
    usual = {name: name.lower() in ("path", "file", "filename", "file_name") for name in table}
    path = max(table, key=lambda name: (whole[name], hits[name], usual[name]))
    if not hits[path]:
        raise RetrainLabError(f"No column of {file} names images of this folder: {', '.join(table)}. {_EXPECTED}")
    for other in table:
        alike = other != path and hits[other] >= _NEARLY * hits[path] and bool(whole[other]) == bool(whole[path])
        if alike and not _same(sample, path, other, names):
            raise RetrainLabError(
                f"The columns {path} and {other} of {file} both name images, and not the same ones. Remove one of them."
            )
    return path


def _second_paths(table: pd.DataFrame, columns: dict[str, str], names: Names) -> list[str]:
    """List the columns that say once more which image a row is of."""
    sample = table.head(_SAMPLE)
    others = [name for name in table if name not in columns.values()]
    return [name for name in others if _same(sample, columns["path"], name, names)]


def _same(table: pd.DataFrame, one: str, other: str, names: Names) -> bool:
    """Tell whether two columns name the same images, nearly throughout."""
    pairs = [(names.find(a), names.find(b)) for a, b in zip(table[one], table[other], strict=True)]
    return sum(bool(a) and a == b for a, b in pairs) >= _NEARLY * sum(bool(a) for a, _ in pairs)


def _is_one_hot(table: pd.DataFrame) -> bool:
    return bool(table.isin(["0", "1", "0.0", "1.0"]).all(axis=None))


def _one_hot(file: Path, table: pd.DataFrame) -> pd.Series:
    """Turn columns of 0 and 1, one a label, into the name of the one that is 1; RetrainLabError where it is not one."""
    ones = table.isin(["1", "1.0"])
    if not (ones.sum(axis=1) == 1).all():
        line = ones.index[ones.sum(axis=1) != 1][0]
        raise RetrainLabError(
            f"{file}, line {line}, has {ones.loc[line].sum()} labels of the columns {', '.join(table)[:80]}. Expected "
            "exactly one a row."
        )
    return ones.idxmax(axis=1)
