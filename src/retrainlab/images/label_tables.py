"""What a table says of images: a CSV of names and labels, and perhaps splits and groups, beside the images or above.

Which column names the images is told by what it holds; which are labels, splits and groups by their names, or by there
being only one that it can be. What was understood is said, and every row that fits no image.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from ..errors import RetrainLabError
from .layouts import COLUMNS, Layout, one_form, split_name

_SEPARATORS = ",;\t|"
_KINDS = {
    "label": {"label", "labels", "class", "classname", "category", "target", "breed", "species", "diagnosis", "dx"},
    "split": {"split", "set", "subset", "partition", "usage"},
    "group": {"group", "groupid", "patient", "patientid", "subject", "subjectid", "lesionid", "individualid"},
}
_ABOVE = ("labels", "train", "train_labels", "annotations", "metadata")  # names of tables that may lie above the images
_PLAIN = 0.5  # share of the images that a table must name to be taken for theirs unasked
_EXPECTED = "Expected a table with the columns path,label, and perhaps split and group."


@dataclass(frozen=True)
class LabelTable:
    """A table of labels, read.

    Attributes:
        file: where it lies.
        columns: what they are called, by what they hold: path, label, split, group. A label may be spread over columns
            of 0 and 1, one a label; then it has no column of its own.
        rows: by line (the first of the file is 1), the cells of these columns.
    """

    file: Path
    columns: dict[str, str]
    rows: dict[int, dict[str, str]]


class Names:
    """The images of a folder by what a table may call them: a path, or the end of one, with or without extension."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._ends = defaultdict(list)
        for path in paths:
            name = one_form(PurePosixPath(path).name).lower()
            for end in {name, PurePosixPath(name).stem}:
                self._ends[end].append(path)

    def find(self, text: str) -> list[str]:
        r"""List the images that a cell may mean, at best one; `C:\data\ant\1.JPG` means ant/1.jpg."""
        wanted = _parts(text)
        if not wanted:
            return []
        folders = [part.lower() for part in wanted[:-1]]
        agreeing: dict[str, int] = {}
        for path in self._ends.get(wanted[-1].lower(), []):
            own = [part.lower() for part in _parts(path)[:-1]]
            same = _agreeing(folders, own)
            if same == min(len(folders), len(own)):  # train/1.jpg is not test/1.jpg
                agreeing[path] = same
        found = [path for path, same in agreeing.items() if same == max(agreeing.values())]
        exact = [path for path in found if wanted[-1] in (_parts(path)[-1], PurePosixPath(_parts(path)[-1]).stem)]
        return exact if exact and len(found) > 1 else found


def _parts(path: str) -> list[str]:
    return [part for part in one_form(path).strip().replace("\\", "/").split("/") if part not in ("", ".")]


def _agreeing(one: list[str], other: list[str]) -> int:
    """Count the folders, from the inner one outwards, in which two paths agree."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def find(root: Path, paths: Sequence[str], names: Names) -> list[LabelTable]:
    """Find the tables in a folder of images, in the folders around them, or above it, that name most of the images.

    Args:
        root: the image folder.
        paths: of all images, relative to it and posix.
    """
    root = root.resolve()
    folders = {root} | {root / folder for path in paths[:1] for folder in PurePosixPath(path).parents}
    above = (*_ABOVE, root.name.lower(), f"{root.name}_labels".lower())
    beside = [file for folder in sorted(folders) for file in _tables(folder)]
    tables = []
    for file in beside + [file for file in _tables(root.parent) if file.stem.lower() in above]:
        try:
            table = read(file, names)
        except RetrainLabError:
            continue
        named = {found[0] for row in table.rows.values() if len(found := names.find(row["path"])) == 1}
        if len(named) >= _PLAIN * len(paths):
            tables.append(table)
    return tables


def _tables(folder: Path) -> list[Path]:
    """List the tables in a folder; none where it may not be read, which is nobody's fault above the images."""
    try:
        files = sorted(folder.iterdir())
    except OSError:
        return []
    return [f for f in files if f.suffix.lower() in (".csv", ".tsv") and f.name.lower() != "splits.csv" and f.is_file()]


# --------------------------------------------------------------------------------------------- reading


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
    if "label" not in columns:
        chosen["label"] = _one_hot(file, table.drop(columns=list(columns.values())))
    return LabelTable(file, columns, chosen.to_dict("index"))


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Read a file's lines that are not empty: (number of its last line, cells)."""
    try:
        content = file.read_bytes()
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
    """Tell what each column holds: path, label, split or group -> its name."""
    sample = table.head(1000)
    matches = {name: sum(len(names.find(cell)) == 1 for cell in set(sample[name])) for name in table}
    path = max(matches, key=lambda name: (matches[name], name.lower() in ("path", "file", "filename", "id")))
    if not matches[path]:
        raise RetrainLabError(f"No column of {file} names images of this folder: {', '.join(table)}. {_EXPECTED}")
    columns, rest = {"path": path}, [name for name in table if matches[name] < 0.9 * matches[path]]  # not a second path
    for kind, known in _KINDS.items():
        fitting = [name for name in rest if name.lower().replace("_", "").replace(" ", "") in known]
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
    others = [name for name in rest if name not in columns.values()]
    if "label" not in columns and len(others) == 1:
        columns["label"] = others[0]
    if "label" not in columns and not (len(others) > 1 and _is_one_hot(table[others])):
        raise RetrainLabError(
            f"Which column of {file} is the label cannot be told: {', '.join(others) or 'none is left'}. Rename it to "
            "label."
        )
    return columns


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


# --------------------------------------------------------------------------------------------- understanding


def by_table(table: LabelTable, paths: Sequence[str], names: Names) -> Layout:
    """Give images what a table says of them.

    Images that it does not name, names without a label, or under two labels, splits or groups, have a problem.

    Raises:
        RetrainLabError: a split is none that is known.
    """
    name = table.file.name
    rows: dict[str, tuple[str | None, ...]] = dict.fromkeys(paths, (None, None, None, f"{name} has no row for it"))
    lines: dict[str, int] = {}
    unknown: list[str] = []
    for line, cells in table.rows.items():
        found = names.find(cells["path"])
        if len(found) != 1:
            many = f", which fits {len(found)} images" if found else ""
            unknown.append(f"line {line}: '{cells['path']}'{many}")
            continue
        told = _told(table.file, line, cells)
        path = found[0]
        if path in lines and rows[path] != told:
            problem = f"{name} says of it '{_shown(rows[path])}' in line {lines[path]}, '{_shown(told)}' in line {line}"
            told = (None, None, None, problem)
        rows[path], lines[path] = told, lines.get(path, line)
    return Layout(pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS), [*_said(table, rows, unknown)])


def _told(file: Path, line: int, cells: dict[str, str]) -> tuple[str | None, ...]:
    """What a row says: label, split, group, problem."""
    label, split, group = (one_form(cells.get(column, "")).strip() for column in ("label", "split", "group"))
    if split and not split_name(split):
        raise RetrainLabError(f"{file}, line {line}, names the split '{split}'. Expected train, validation or test.")
    problem = None if label else f"{file.name}, line {line}, gives it no label"
    return label or None, split_name(split), group or None, problem


def _shown(row: tuple[str | None, ...]) -> str:
    return ", ".join(part for part in row if part)


def _said(table: LabelTable, rows: dict[str, tuple[str | None, ...]], unknown: list[str]) -> Iterator[str]:
    columns, file = dict(table.columns), table.file
    what = [f"'{columns.pop('path')}' names the images"]
    what.append(f"'{columns.pop('label')}' is the label" if "label" in columns else "of 0 and 1 give the label")
    what += [f"'{column}' is the {kind}" for kind, column in columns.items()]
    yield f"Labels are those of {file.name} ({file.parent}): its columns {', '.join(what)}."
    if unknown:
        yield f"{len(unknown):,} rows of {file.name} fit no image, or several: {'; '.join(unknown[:3])}."
    problems = Counter(problem for *_, problem in rows.values() if problem)
    if missing := problems[f"{file.name} has no row for it"]:
        first = next(path for path, row in rows.items() if row[-1] == f"{file.name} has no row for it")
        yield f"{missing:,} images have no row in {file.name} and are left out, the first is {first}."
