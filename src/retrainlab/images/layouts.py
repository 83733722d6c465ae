"""What the folders of images say: label, split, or both.

Three layouts are told from the paths alone: a folder a label; such folders inside train, validation and test folders;
train, validation and test folders inside those of the labels. Folders around all of them belong to no label.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from ..errors import RetrainLabError

COLUMNS = ["label", "split", "group", "problem"]  # what a layout says of an image; each may be None
OUTSIDE = "it lies outside any label folder; move it into the folder of its label"
_SET = r"([ _-]?(set|data|images?))?"
_SPLITS = {
    "train": re.compile(rf"train(ing)?{_SET}", re.I),
    "validation": re.compile(rf"(val(id(ation)?)?|dev){_SET}", re.I),
    "test": re.compile(rf"test(ing)?{_SET}", re.I),
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


def around(paths: Sequence[str]) -> int:
    """Count the folders that lie around all folders of images: `photos` of photos/ant/1.jpg and photos/bee/1.jpg."""
    folders = {folder for path in paths if (folder := PurePosixPath(path).parent.parts)}
    depth = 0
    while folders and len({parts[depth] for parts in folders}) == 1 and min(map(len, folders)) > depth + 1:
        depth += 1
    return depth


def is_flat(paths: Sequence[str]) -> bool:
    """Tell whether folders give no labels: all images lie in one folder, or straight in train and test folders."""
    depth = around(paths)
    folders = {PurePosixPath(path).parent.parts[depth:] for path in paths} - {()}
    return len(folders) < 2 or all(len(parts) == 1 and split_name(parts[0]) for parts in folders)


def by_folders(root: Path, paths: Sequence[str]) -> Layout:
    """Tell labels and splits from the folders that images lie in.

    Args:
        root: the image folder, for messages.
        paths: of all images, relative to it and posix.

    Raises:
        RetrainLabError: split folders and label folders lie side by side, or split folders hold no label folders.
    """
    depth = around(paths)
    folders = {path: PurePosixPath(path).parent.parts[depth:] for path in paths}
    if depth:
        inside = "/".join(PurePosixPath(max(paths, key=lambda path: path.count("/"))).parts[:depth])
        where = f" All are in '{inside}', which is no part of the labels."
    else:
        where = ""
    place = _split_place(root, {parts for parts in folders.values() if parts})
    rows = {path: _row(parts, place) for path, parts in folders.items()}
    if place is None:
        said = ["Understood as one folder a label."]
    else:
        names = defaultdict(set)
        for parts in folders.values():
            if len(parts) > 1:
                names[split_name(parts[place])].add(parts[place])
        found = ", ".join(f"{' and '.join(sorted(names[split]))} ({split})" for split in _SPLITS if names[split])
        inner = "inside those of the labels" if place else "with one folder a label inside"
        said = [f"Folders give the split: {found}, {inner}."]
        if not names["test"]:
            said.append(
                "No folder is for testing, so there are no test images: how good it is on new ones is not told."
            )
    said[0] += where
    return Layout(pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS), said)


def _row(parts: tuple[str, ...], place: int | None) -> tuple[str | None, str | None, None, str | None]:
    """Tell label, split and problem of an image by its folder's parts; `place` is that of the split, 0 or -1."""
    if not parts:
        return None, None, None, OUTSIDE
    if place is None:
        return one_form("/".join(parts)), None, None, None
    if len(parts) == 1:
        return None, None, None, f"it lies in '{parts[0]}', but in no label folder there; move it into one"
    rest = parts[1:] if place == 0 else parts[:-1]
    return one_form("/".join(rest)), split_name(parts[place]), None, None


def _split_place(root: Path, folders: set[tuple[str, ...]]) -> int | None:
    """Tell which part of the folders is the split: 0, the first, -1, the last, or None of them."""
    tops = {parts[0] for parts in folders}
    splits = {top: split_name(top) for top in tops if split_name(top)}
    inner = {top: {parts[1:] for parts in folders if parts[0] == top and len(parts) > 1} for top in tops}
    deep = {name for top, name in splits.items() if inner[top]}
    labels_of_train = {parts[0] for top in tops if splits.get(top) == "train" for parts in inner[top]}
    if "train" in deep and (len(set(splits.values())) > 1 or labels_of_train & tops):
        if others := sorted(tops - set(splits)):
            raise RetrainLabError(
                f"Image folder '{root}' has folders of splits ({', '.join(sorted(splits))}) and others beside them "
                f"({', '.join(others[:3])}), so what the labels are cannot be told. Expected either; move the others "
                "elsewhere, or name a table of labels by labels_csv."
            )
        return 0
    if len(tops) > 1 and set(splits) == tops and "train" in splits.values():
        raise RetrainLabError(
            f"Image folder '{root}' holds images straight in {', '.join(sorted(tops))}, so their labels are unknown. "
            "Expected one folder a label in each, or a table of labels (labels_csv); if these are labels, rename them."
        )
    last = {split_name(parts[-1]) if len(parts) > 1 else None for parts in folders}
    return -1 if None not in last and len(last) > 1 and "train" in last else None
