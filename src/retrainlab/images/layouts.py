"""What the folders of images say: label, split, or both.

Three layouts are told from the paths alone: a folder a label; such folders inside train, validation and test folders;
train, validation and test folders inside those of the labels. Folders around all of them belong to no label.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..errors import RetrainLabError

COLUMNS = ["label", "split", "group", "problem"]  # what a layout says of an image; each may be None
OUTSIDE = "it lies outside any label folder; move it into the folder of its label"
_BEFORE, _AFTER = r"([a-z0-9]+[ _-])?", r"([ _-]?(set|data|images?|\d+))?"  # seg_train, val2017, test_set
_SPLITS = {
    "train": re.compile(rf"{_BEFORE}train(ing)?{_AFTER}", re.I),
    "validation": re.compile(rf"{_BEFORE}(val(id(at(ion|e))?)?|dev){_AFTER}", re.I),
    "test": re.compile(rf"{_BEFORE}test(ing)?{_AFTER}", re.I),
}


@dataclass(frozen=True)
class Layout:
    """What is said of images, by folders or by a table.

    Attributes:
        rows: by path: label, split (train, validation, test), group, and problem, why an image cannot be used.
        said: how this was understood, a sentence each, the layout first.
    """

    rows: pd.DataFrame
    said: list[str] = field(default_factory=list)


def split_name(text: str) -> str | None:
    """Tell which split a word means: train, validation, test, or None; in any case, also as `val`, `dev`, `testing`."""
    return next((name for name, pattern in _SPLITS.items() if pattern.fullmatch(text.strip())), None)


def one_form(text: str) -> str:
    """Write a name so that what looks alike is equal: composed (NFC), as Macs take names apart and others do not."""
    return unicodedata.normalize("NFC", text)


def folders_of(paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Tell the folders that each image lies in, the outer ones first, by path."""
    names = {path: path.rpartition("/")[0] for path in paths}
    parts = {name: tuple(name.split("/")) if name else () for name in set(names.values())}
    return {path: parts[name] for path, name in names.items()}


def around(paths: Sequence[str]) -> int:
    """Count the folders that lie around all folders of images: `photos` of photos/ant/1.jpg and photos/bee/1.jpg."""
    folders = set(folders_of(paths).values()) - {()}
    depth = 0
    while folders and len({parts[depth] for parts in folders}) == 1 and min(map(len, folders)) > depth + 1:
        depth += 1
    return depth


def is_flat(paths: Sequence[str]) -> bool:
    """Tell whether folders give no labels: all images lie in one folder, or straight in train and test folders."""
    depth = around(paths)
    folders = {parts[depth:] for parts in set(folders_of(paths).values())} - {()}
    return len(folders) < 2 or (max(map(len, folders)) == 1 and _are_splits({parts[0] for parts in folders}))


def _are_splits(names: Collection[str]) -> bool:
    """Tell whether names are those of splits, and of several: one alone may as well be what a label is called."""
    found = {split_name(name) for name in names}
    return len(found) > 1 and None not in found


def by_folders(root: Path, paths: Sequence[str]) -> Layout:
    """Tell labels and splits from the folders that images lie in.

    Args:
        root: the image folder, for messages.
        paths: of all images, relative to it and posix.

    Raises:
        RetrainLabError: split folders and label folders lie side by side, or split folders hold no label folders.
    """
    depth = around(paths)
    whole = folders_of(paths)
    folders = {path: parts[depth:] for path, parts in whole.items()}
    where = (
        f" All are in '{'/'.join(max(whole.values(), key=len)[:depth])}', which is no part of the labels."
        if depth
        else ""
    )
    place = _split_place(root, {parts for parts in folders.values() if parts})
    number = {parts: number for number, parts in enumerate(set(folders.values()))}  # few: paths may be a million
    told = pd.DataFrame([_row(parts, place) for parts in number], columns=COLUMNS)
    layout = Layout(told.take([number[parts] for parts in folders.values()]).set_axis(list(folders)), [])
    if place is None:
        layout.said.append(f"Understood as one folder a label.{where}")
        return layout
    names = defaultdict(set)
    for parts in folders.values():
        names[split_name(parts[place]) if len(parts) > 1 else None].add(parts[place] if parts else "")
    found = ", ".join(f"{' and '.join(sorted(names[split]))} ({split})" for split in _SPLITS if names[split])
    inner = "inside those of the labels" if place else "with one folder a label inside"
    layout.said.append(f"Folders give the split: {found}, {inner}.{where}")
    return _learnable(layout)


def _learnable(layout: Layout) -> Layout:
    """Leave out labels that are in no folder for training; where only that one has labels, it gives no split."""
    rows, said = layout.rows, layout.said
    given = rows[rows["problem"].isna()]
    train = set(given["label"][given["split"] == "train"])
    lost = given.index[~given["label"].isin(train)]
    rows.loc[lost, "problem"] = "no folder for training has its label"
    left = set(given["split"].drop(lost))
    if left == {"train"}:
        rows["split"] = None
        said.append("Only the folder for training has labels, so validation and test are drawn from it.")
    elif "test" not in left:
        said.append("No folder is for testing, so there are no test images: how good it is on new ones is not told.")
    elif "validation" not in left:
        said.append("No folder is for validation, so that is drawn from training.")
    return layout


def _row(parts: tuple[str, ...], place: int | None) -> tuple[str | None, str | None, None, str | None]:
    """Tell label, split and problem of an image by its folder's parts; `place` is that of the split, 0 or -1."""
    if not parts:
        return None, None, None, OUTSIDE
    if place is None:
        return one_form("/".join(parts)), None, None, None
    if len(parts) == 1:
        return None, None, None, f"it lies in '{parts[0]}', but in no label folder there; move it into one"
    rest = parts[1:] if place == 0 else parts[:-1]
    if len(rest) > 1 and split_name(rest[0]) == split_name(parts[place]):  # seg_train/seg_train/ant, as some archives
        rest = rest[1:]
    return one_form("/".join(rest)), split_name(parts[place]), None, None


def _split_place(root: Path, folders: set[tuple[str, ...]]) -> int | None:
    """Tell which part of the folders is the split: 0, the first, -1, the last, or None of them."""
    tops = {parts[0] for parts in folders}
    splits = {top: split_name(top) for top in tops if split_name(top)}
    inner = {top: {parts[1:] for parts in folders if parts[0] == top and len(parts) > 1} for top in tops}
    deep = {name for top, name in splits.items() if inner[top]}
    labels_of_train = {parts[0] for top in tops if splits.get(top) == "train" for parts in inner[top]}
    others = {parts[0] for top in tops - set(splits) for parts in inner[top]} | tops
    if "train" in deep and (len(set(splits.values())) > 1 or labels_of_train & others):
        if beside := sorted(tops - set(splits)):
            raise _mixed(root, sorted(splits), beside)
        return 0
    if _are_splits(tops):
        what = "holds images straight in" if "train" in splits.values() else "has no folder for training beside"
        raise RetrainLabError(
            f"Image folder '{root}' {what} {', '.join(sorted(tops))}, so what to learn from is unknown. Expected train "
            "and test folders with one folder a label in each, or a table of labels (labels_csv); if these are labels, "
            "rename them."
        )
    last = {split_name(parts[-1]) if len(parts) > 1 else None for parts in folders}
    if len(last - {None}) > 1 and "train" in last:
        if None in last:
            flat = sorted("/".join(parts) for parts in folders if len(parts) < 2 or not split_name(parts[-1]))
            raise _mixed(root, sorted({parts[-1] for parts in folders if split_name(parts[-1])}), flat)
        return -1
    if among := sorted({"/".join(parts[:2]) for parts in folders if len(parts) > 2 and split_name(parts[1])}):
        raise _mixed(root, among, sorted(tops))
    return None


def _mixed(root: Path, splits: Sequence[str], beside: Sequence[str]) -> RetrainLabError:
    return RetrainLabError(
        f"Image folder '{root}' has folders of splits ({', '.join(splits[:3])}) and others beside them "
        f"({', '.join(beside[:3])}), so what the labels are cannot be told. Expected train, validation and test "
        "folders with one folder a label in each; move the others elsewhere, or name a table of labels by labels_csv."
    )
