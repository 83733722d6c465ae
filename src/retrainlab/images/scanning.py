"""Files -> the images table: every file looked at once, with what a person says of it by folders and tables.

The table has one row a file: path (relative to image_dir, posix), label, given (the label before anybody decided
otherwise, see `relabeling`), split, group (what belongs together), sha256, bytes, modified, width, height, format,
dtype, low, high (of images that are not of 8 bits, see `decoding.Look`), problem. `problem` is None, or says in words
why the file is left out; `split` is None for those.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..errors import RetrainLabError
from ..pixels.bounds import content
from ..pixels.decoding import look
from ..pixels.formats import claims
from ..pixels.opening import recognised, why_unreadable
from . import given
from .layouts import OUTSIDE
from .splitting import even_split, split
from .walking import File, Walk, walk

COLUMNS = ["path", "label", "given", "split", "group", "sha256", "bytes", "modified", "width", "height", "format",
           "dtype", "low", "high", "problem"]  # fmt: skip
_TOLD = ["label", "split", "group", "problem"]  # by a person; the others are the file's own


@dataclass(frozen=True)
class Scan:
    """A folder of images, looked at.

    Attributes:
        images: the images table, by path.
        said: how layout, labels and splits were understood, a sentence each, and what was passed over.
    """

    images: pd.DataFrame
    said: list[str]


def load(
    image_dir: Path | str,
    testing_percentage: float = 10,
    validation_percentage: float = 10,
    known: pd.DataFrame | None = None,
    labels_csv: Path | None = None,
    groups: str = "",
    even: bool = True,
) -> Scan:
    """Scan and split in one call: what every notebook starts with. See `scan`, and `even_split` or else `split`."""
    found = scan(image_dir, known, labels_csv, groups)
    splitting, listed = even_split if even else split, found.images.dropna(subset=["split"])
    return replace(found, images=splitting(found.images, testing_percentage, validation_percentage, listed))


def scan(
    image_dir: Path | str,
    known: pd.DataFrame | None = None,
    labels_csv: Path | None = None,
    groups: str = "",
) -> Scan:
    """Look at every file below a folder; what labels, splits and groups it has is understood as `given` says.

    Every file is read, by threads, so that a damaged one is known from the start; of JPEGs, what is inside is decoded
    only when their bottlenecks are computed, which leaves out, and says, what is damaged there. Files are passed over
    that `walking.walk` passes over, or that neither are images nor claim to be by their extension; and files are not
    read again whose size and time of change `known`, an earlier table of the same folder, knows.

    Args:
        labels_csv: a table of labels; None looks for one where folders give none.
        groups: names of files that agree in what it matches stay together; see `grouping.group_by_pattern`.

    Returns:
        A Scan; `split` is None where nobody says one.

    Raises:
        RetrainLabError: no such folder, no image in it, none usable, or fewer than two labels; or what is said of the
            images contradicts itself.
    """
    root = Path(image_dir)
    found = walk(root)
    old = _remembered(known, found.files)
    paths = set(old["path"])
    unseen = {path: file for path, file in found.files.items() if path not in paths}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked = pool.map(lambda item: _look(root, *item), unseen.items())
        bar = tqdm(looked, "scan", len(unseen), unit=" images", leave=False, disable=None)
        new = pd.DataFrame([row for row in bar if row], columns=COLUMNS)
    table = pd.concat([part for part in (old, new) if len(part)] or [new]).sort_values("path", ignore_index=True)
    if table.empty:
        raise RetrainLabError(_empty(root, found))
    layout = given.understand(root, list(table["path"]), labels_csv, groups)
    told = layout.rows.reindex(table["path"]).set_axis(table.index)
    damaged = table["problem"].notna()
    table[_TOLD] = told[_TOLD].assign(problem=told["problem"].mask(damaged, table["problem"]))
    table["given"] = table["label"]
    table.loc[table["problem"].notna(), ["split", "group"]] = None
    table = table.astype({"width": "Int32", "height": "Int32", "low": float, "high": float})
    for column in (*_TOLD, "given", "sha256", "format", "dtype"):  # None, not NaN, also where all are missing
        table[column] = table[column].astype(object).where(table[column].notna(), None)
    _check(root, table, found)
    return Scan(table, [*layout.said, *_passed_over(found)])


def image_files(root: Path) -> list[Path]:
    """List the files below a folder that `scan` would look at: images, and what claims to be one by its extension.

    Raises:
        RetrainLabError: something in the folder may not be read.
    """
    return [root / path for path in walk(root).files if claims(path) or recognised(root / path)]


def _remembered(known: pd.DataFrame | None, files: dict[str, File]) -> pd.DataFrame:
    """Take over the rows of files that have not changed; what could not be read may have been repaired."""
    if known is None or not set(COLUMNS) <= set(known):
        return pd.DataFrame(columns=COLUMNS)
    rows = zip(known["path"], known["bytes"].tolist(), known["modified"].tolist(), strict=True)
    same = [(file := files.get(path)) is not None and file[:2] == (size, time) for path, size, time in rows]
    kept = known.loc[known["sha256"].notna() & np.array(same, bool), COLUMNS]
    return kept.assign(**dict.fromkeys(_TOLD))  # a person may say otherwise now


def _passed_over(found: Walk) -> list[str]:
    """Say in sentences what was not looked into, though images may be in it."""
    said = []
    if left := found.leftovers:
        said.append(f"Passed over, as left there by other systems or programs: {_some(left)}. Rename what is yours.")
    if found.archives:
        said.append(f"Not looked into: {_some(found.archives)}. Unpack what holds images of yours.")
    return said


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _look(root: Path, path: str, file: File) -> dict | None:
    """Read a file, and say what the images table says of it; None if it neither is an image nor claims to be."""
    row: dict = dict.fromkeys(COLUMNS)
    row |= {"path": path, "bytes": file.bytes, "modified": file.modified}
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        problem = "its name is not valid UTF-8; rename the file or folder"
        return row | {"path": shown, "problem": problem}
    if not claims(path) and not recognised(root / path):
        return None  # a README, a list, or a film beside the images, which is not read whole
    try:
        if file.problem:
            raise RetrainLabError(file.problem)
        with content(root / path) as data:
            if not data:
                raise RetrainLabError("the file is empty")
            row |= asdict(look(data, path))
            row["sha256"] = hashlib.sha256(data).hexdigest()  # last: whoever has one is sound
    except (RetrainLabError, OSError) as error:
        row["problem"] = str(error) if isinstance(error, RetrainLabError) else why_unreadable(error)
    return row


def _empty(root: Path, found: Walk) -> str:
    """Say of a folder without images what it has instead."""
    wanted = "Expected one folder of images a label, at least two of them."
    if archives := found.archives:
        return f"Image folder '{root}' holds no images, but the archive {archives[0]}. Unpack it there. {wanted}"
    if found.leftovers:
        return f"Image folder '{root}' holds no images. {_passed_over(found)[0]} {wanted}"
    return f"Image folder '{root}' holds no images. {wanted}"


def _check(root: Path, table: pd.DataFrame, found: Walk) -> None:
    good = table[table["problem"].isna()]
    wanted = "Expected one folder of images a label, at least two of them"
    if good.empty and (table["problem"] == OUTSIDE).any():
        beside = [path for path in found.files if path.lower().endswith((".csv", ".tsv", ".xlsx", ".json"))]
        tables = (
            f" It has {beside[0]}, which was not understood as one; name it by labels_csv to hear why."
            if beside
            else ""
        )
        raise RetrainLabError(
            f"Image folder '{root}' holds {len(table):,} images in no label folders. {wanted}, or a table of labels, "
            f"with the columns path,label, beside the images.{tables}"
        )
    if good.empty:
        path, problem = table.loc[0, ["path", "problem"]]
        raise RetrainLabError(
            f"Image folder '{root}' holds {len(table)} image files and none can be used. "
            f"The first: {path}: {problem}. {wanted}."
        )
    if len(labels := good["label"].unique()) == 1:
        said = " ".join([f"Image folder '{root}' has images of one label only, '{labels[0]}'.", *_passed_over(found)])
        raise RetrainLabError(f"{said} {wanted}.")
