"""What a person says of images, before anything is drawn: labels, splits and groups, by folders, tables and names."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import RetrainLabError
from ..files import opened
from . import label_tables, layouts, table_layouts
from .grouping import group_by_pattern
from .label_tables import LabelTable
from .layouts import Layout, one_form, split_name
from .matching import Names

SPLITS = "splits.csv"


def understand(root: Path, paths: Sequence[str], labels_csv: Path | None = None, pattern: str = "") -> Layout:
    """Tell label, split and group of each image, and say how they were understood.

    A table of labels counts if it is named, or if the folders give no labels and there is exactly one; else folders
    count, and a table must agree with them, but may say more. `splits.csv` (path,split) gives splits in either case.

    Args:
        root: the image folder.
        paths: of all images, relative to it and posix.
        labels_csv: the table of labels; None looks for one.
        pattern: see `grouping.group_by_pattern`; empty for none.

    Raises:
        RetrainLabError: layouts that are mixed, tables that cannot be read or contradict the folders or one another.
    """
    names = Names(paths)
    if labels_csv:
        tables, problems = [label_tables.read(labels_csv, names)], list[str]()
    else:
        tables, problems = table_layouts.find(root, paths, names)
    labelled = [table for table in tables if table.labelled]
    if labelled and (labels_csv or layouts.is_flat(paths)):
        if len(labelled) > 1:
            listed = ", ".join(str(table.file) for table in labelled)
            raise RetrainLabError(
                f"Several tables give labels to the images of '{root}': {listed}. Name one: labels_csv."
            )
        layout = table_layouts.by_table(labelled[0], paths, names)
        layout = _with_splits(layout, _split_folders(layout.rows), f"the folders of '{root}'")
    elif problems and layouts.is_flat(paths):
        raise RetrainLabError(f"The folders of '{root}' give no labels, and no table does. {problems[0]}")
    else:
        layout = layouts.by_folders(root, paths)
        for table in tables:
            layout = _agreeing(layout, table, paths, names)
    layout = _with_splits(layout, _read_splits(root, paths), str(root / SPLITS))
    return _with_groups(layout, pattern) if pattern else layout


def _agreeing(layout: Layout, table: LabelTable, paths: Sequence[str], names: Names) -> Layout:
    """Add to the labels of folders what a table says of splits and groups; its labels must be the folders'."""
    if table.labelled and not table.by_name:
        return Layout(layout.rows, [*layout.said, f"{table.file} names these images, too, and is not used."])
    if table.labelled and (where := table_layouts.contradiction(table, layout, names)):
        raise RetrainLabError(
            f"Labels are given twice, by folders and by a table, and not the same: {where}. To take the table's, name "
            "it by labels_csv; to take the folders', move it elsewhere."
        )
    more = table_layouts.by_table(table, paths, names)
    rows = layout.rows.assign(group=layout.rows["group"].where(layout.rows["group"].notna(), more.rows["group"]))
    splits = more.rows["split"].dropna()
    return _with_splits(Layout(rows, [*layout.said, more.said[0]]), splits, str(table.file))


def _split_folders(rows: pd.DataFrame) -> pd.Series:
    """Tell the splits of folders around images that have labels by a table; none unless these lie in two splits."""
    usable = list(rows.index[rows["problem"].isna()])
    depth = layouts.around(usable)
    tops = {path: parts[depth : depth + 1] for path, parts in layouts.folders_of(usable).items()}
    found = pd.Series({path: split_name(top[0]) if top else None for path, top in tops.items()}, dtype=object)
    return found if found.notna().all() and len(set(found)) > 1 else found.iloc[:0]


def _with_splits(layout: Layout, splits: pd.Series, source: str) -> Layout:
    """Add splits, by path, to a layout that may have some: where both say one, it must be the same."""
    if splits.empty:
        return layout
    known = layout.rows["split"].reindex(splits.index)
    other = known.index[known.notna() & splits.notna() & (known != splits)]
    if len(other):
        path = other[0]
        raise RetrainLabError(
            f"{source} puts '{path}' into {splits[path]}, but it is in {known[path]} by what else is said of it "
            f"({layout.said[0]}); so are {len(other) - 1} more. Keep one of the two."
        )
    rows = layout.rows.assign(split=layout.rows["split"].where(layout.rows["split"].notna(), splits))
    return Layout(rows, [*layout.said, f"The split of {splits.notna().sum():,} images is that of {source}."])


def _with_groups(layout: Layout, pattern: str) -> Layout:
    if layout.rows["group"].notna().any():
        raise RetrainLabError(
            f"Groups are given twice: by the parameter groups, and by a table. {layout.said[0]} Keep one."
        )
    groups = group_by_pattern(layout.rows.index, pattern)
    said = f"The pattern {pattern} makes {groups.nunique():,} groups of {groups.notna().sum():,} images"
    rest = groups.isna().sum()
    said += f"; {rest:,} images do not match it, and stand alone." if rest else "."
    return Layout(layout.rows.assign(group=groups), [*layout.said, said])


def _read_splits(root: Path, paths: Sequence[str]) -> pd.Series:
    """Read `splits.csv` (columns path, split) of an image folder: the split by path; empty where there is none.

    Raises:
        RetrainLabError: a column is missing, a split is unknown, or a path is, or stands there twice with two splits.
    """
    file = root / SPLITS
    if not file.exists():
        return pd.Series(dtype=object)
    try:
        with opened(file) as table:
            listed = pd.read_csv(table, dtype=str, keep_default_na=False)
    except OSError as error:
        raise RetrainLabError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RetrainLabError(f"{file} cannot be read as a table: {error}. Expected the columns path,split.") from error
    if not {"path", "split"} <= set(listed.columns):
        raise RetrainLabError(f"{file} has the columns {', '.join(listed.columns)}. Expected path,split.")
    splits = listed["split"].map(split_name)
    if splits.isna().any():
        at = splits.isna().to_numpy().argmax()
        raise RetrainLabError(
            f"{file}, line {at + 2}, names the split '{listed['split'][at]}'. Expected train, validation or test."
        )
    known = {one_form(path): path for path in paths}
    listed = pd.DataFrame({"path": listed["path"].map(one_form), "split": splits}).drop_duplicates()
    if unknown := sorted(set(listed["path"]) - set(known)):
        raise RetrainLabError(
            f"{SPLITS} lists '{unknown[0]}', which the image folder does not hold; so do {len(unknown) - 1} "
            "more lines. Expected paths relative to the folder, such as ant/1.jpg; correct or remove them."
        )
    twice = listed["path"][listed["path"].duplicated()]
    if len(twice):
        raise RetrainLabError(f"{file} puts '{twice.iloc[0]}' into two splits. Expected each path once.")
    return listed.set_index(listed["path"].map(known))["split"]
