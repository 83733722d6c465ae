"""What tables say of images: found beside the images or above, held to the images, and said."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from ..errors import RetrainLabError
from . import label_tables
from .label_tables import LabelTable
from .layouts import COLUMNS, Layout, folders_of, one_form, split_name
from .matching import Names

_ABOVE = ("labels", "train", "train_labels", "annotations", "metadata")  # names of tables that may lie above the images
_PLAIN = 0.5  # share of its rows, or of the images, that a table must name to be taken for theirs unasked
_FOLDERS = 100  # that are looked into, at most


def find(root: Path, paths: Sequence[str], names: Names) -> tuple[list[LabelTable], list[str]]:
    """Find the tables that name images: in their folder, in those that they lie in, or above.

    Args:
        root: the image folder.
        paths: of all images, relative to it and posix.

    Returns:
        (tables, problems): a sentence for each table beside the images that cannot be understood.
    """
    root = root.resolve()
    inner = {parts[:depth] for parts in set(folders_of(paths).values()) for depth in range(len(parts) + 1)} | {()}
    folders = [root.joinpath(*parts) for parts in sorted(inner, key=lambda parts: (len(parts), parts))[:_FOLDERS]]
    above = (*_ABOVE, root.name.lower(), f"{root.name}_labels".lower())
    files = {file: True for folder in folders for file in _tables(folder)}
    files |= {file: False for file in _tables(root.parent) if file.stem.lower() in above}
    tables, problems = [], []
    for file, beside in files.items():
        try:
            table = label_tables.read(file, names)
        except RetrainLabError as error:
            problems += [str(error)] * beside
            continue
        found = [names.find(row["path"]) for row in table.rows.values()]
        named = {path for some in found for path in some}
        if len(named) >= _PLAIN * len(paths) or sum(map(bool, found)) >= _PLAIN * len(found):
            tables.append(table)
    return tables, problems


def _tables(folder: Path) -> list[Path]:
    """List the tables in a folder; none where it may not be read, which is nobody's fault above the images.

    What Kaggle wants to be filled in and submitted is no table of labels, though it looks like one.
    """
    try:
        with os.scandir(folder) as found:  # a million images may lie beside them
            names = sorted(entry.name for entry in found if entry.name.lower().endswith((".csv", ".tsv")))
    except OSError:
        return []
    files = [file for file in map(folder.joinpath, names) if not file.is_dir()]  # a pipe is said
    return [file for file in files if file.stem.lower() != "splits" and "submission" not in file.stem.lower()]


def contradiction(table: LabelTable, layout: Layout, names: Names) -> str | None:
    """Say where a table gives images other labels than a layout does, or fits several; None where it agrees."""
    for line, cells in table.rows.items():
        found, label = names.find(cells["path"]), one_form(cells["label"]).strip()
        if len(found) > 1:
            return f"line {line} of {table.file} fits {found[0]} and {found[1]}"
        by_folder = layout.rows["label"][found[0]] if found else None
        if by_folder is not None and label not in (by_folder, by_folder.rpartition("/")[2]):
            return f"line {line} of {table.file} says '{label}' of {found[0]}"
    return None


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
            fits = (None, None, None, f"line {line} of {name} fits it, but other images as well")
            rows |= {path: fits for path in found if path not in lines}
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
    problem = None if label or "label" not in cells else f"{file.name}, line {line}, gives it no label"
    return label or None, split_name(split), group or None, problem


def _shown(row: tuple[str | None, ...]) -> str:
    return ", ".join(part for part in row if part)


def _said(table: LabelTable, rows: dict[str, tuple[str | None, ...]], unknown: list[str]) -> Iterator[str]:
    columns, file = dict(table.columns), table.file
    what = [f"'{columns.pop('path')}' names the images"]
    what += [f"'{column}' is the {kind}" for kind, column in columns.items()]
    if table.spread:
        what.append(f"the one of {', '.join(table.spread)} that is 1 is the label")
    gives = "Labels are those of" if table.labelled else "More is said in"
    unused = f" Not used: {', '.join(table.unused)}." if table.unused else ""
    yield f"{gives} {file.name} ({file.parent}): its column {', '.join(what)}.{unused}"
    if unknown:
        yield f"Rows of {file.name} that fit no image, or several: {len(unknown):,} ({'; '.join(unknown[:3])})."
    nothing = f"{file.name} has no row for it"
    if missing := Counter(problem for *_, problem in rows.values())[nothing]:
        first = next(path for path, row in rows.items() if row[-1] == nothing)
        yield f"Images without a row in {file.name}, left out: {missing:,} (the first is {first})."
