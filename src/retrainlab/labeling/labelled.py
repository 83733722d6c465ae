"""The images to label next and the labels that a person gives them: `to_label.csv`, and the way into the image folder.

Its columns are path, label (a person's, empty until then), predicted (what the classifier takes the image for),
probability, unlike, and seen: how far the nearest training image is. The images themselves stay where they are.
"""

import filecmp
import shutil
from pathlib import Path, PurePosixPath

import pandas as pd

from ..errors import RetrainLabError, writing
from ..files import replacing
from ..images import edited
from ..images.given import SPLITS

COLUMNS = ["path", "label", "predicted", "probability", "unlike", "seen"]


def read(file: Path) -> pd.DataFrame:
    """Read the table, all cells as text; none without a file.

    Raises:
        RetrainLabError: it cannot be read, or is not such a table.
    """
    return edited.read(file, COLUMNS, COLUMNS).drop_duplicates("path", keep="last", ignore_index=True)


def write(file: Path, table: pd.DataFrame) -> int:
    """Write the images to label; labels that the file has already stay, with their rows first where they are no more.

    Args:
        table: the columns but for label, that to label first at the top.

    Returns:
        How many of the images in `table` have a label already.

    Raises:
        RetrainLabError: what is there is no such table, or it cannot be written.
    """
    earlier = read(file)
    given = earlier[earlier["label"] != ""]
    labels = given.set_index("path")["label"].reindex(table["path"], fill_value="").set_axis(table.index)
    _replace(file, pd.concat([given[~given["path"].isin(table["path"])], table.assign(label=labels)])[COLUMNS])
    return int((labels != "").sum())


def give(file: Path, path: str, label: str) -> None:
    """Write the label of an image, "" to take it back; the other rows stay as they are in the file by now.

    Raises:
        RetrainLabError: the file has no such image any more, or cannot be read or written.
    """
    table = read(file)
    mine = table["path"] == path
    if not mine.any():
        raise RetrainLabError(f"{file} has no row for {path} any more. Run this notebook again.")
    _replace(file, table.assign(label=table["label"].mask(mine, label)))


def take_in(file: Path, images: pd.DataFrame, image_dir: Path) -> str:
    """Copy the images that have a label into the folder of that label, as training images; says what was done.

    `splits.csv` in the image folder makes them training images: such as were chosen for being hard would make the test
    harder, too, and its figures could not be compared with earlier ones. What was copied before is not copied again.

    Args:
        images: the images table of the run.
        image_dir: what its paths count from.

    Raises:
        RetrainLabError: there is no label, the run's labels are not those of its folders, or nothing can be copied.
    """
    table = read(file)
    labelled = table[table["label"] != ""]
    if labelled.empty:
        raise RetrainLabError(f"No image in {file.name} has a label yet.")
    folders = _folders(images, file)
    known = labelled[labelled["label"].isin(folders) & labelled["path"].map(lambda path: Path(path).is_file())]
    with writing(f"'{image_dir}'", "Copy the images yourself, or make it writable."):
        copied = [
            path.relative_to(image_dir).as_posix()
            for source, label in zip(known["path"], known["label"], strict=True)
            if (path := _copy(Path(source), image_dir / folders[label]))
        ]
        _teach(image_dir / SPLITS, copied)
    said = [f"{len(copied):,} images are copied into the folders of their labels in '{image_dir}', as training images."]
    said += [f"{len(known) - len(copied):,} were there already."] * (len(copied) < len(known))
    missing = len(labelled) - len(known)
    said += [f"{missing:,} were not: the file is gone, or no training image has that label."] * bool(missing)
    return " ".join([*said, "Run 03_retrain again to learn from them."])


def _folders(images: pd.DataFrame, file: Path) -> dict[str, str]:
    """Tell the folder of each label, where most of its training images are; RetrainLabError where a table gives labels.

    Then a folder holds several labels, or is not called as its label is.
    """
    good = images[images["problem"].isna()]
    parents = good["path"].map(lambda path: PurePosixPath(path).parent)
    named = [label.rpartition("/")[2] in parent.parts for label, parent in zip(good["given"], parents, strict=True)]
    if not all(named) or good["given"].groupby(parents.map(str)).nunique().max() > 1:
        raise RetrainLabError(
            "The labels of these images are those of a table, not of their folders. Copy the images that have a label "
            f"in {file.name} beside the others, and add a row for each, its path and its label, to that table."
        )
    train = (good["split"] == "train").to_numpy()
    return parents[train].map(str).groupby(good["given"][train]).agg(lambda mine: mine.mode()[0]).to_dict()


def _copy(source: Path, folder: Path) -> Path | None:
    """Copy a file into a folder, under another name where its own is taken; None where it is there already."""
    target, number = folder / source.name, 1
    while target.exists():
        if filecmp.cmp(source, target, shallow=False):
            return None
        target, number = folder / f"{source.stem}-{number}{source.suffix}", number + 1
    with replacing(target) as aside:
        shutil.copyfile(source, aside)
    return target


def _teach(file: Path, paths: list[str]) -> None:
    """Add images to the training images of a `splits.csv`, whatever else it says."""
    if not paths:
        return
    new = pd.DataFrame({"path": paths, "split": "train"})
    listed = [pd.read_csv(file, dtype=str, keep_default_na=False)] if file.exists() else []
    with replacing(file) as aside:
        pd.concat([*listed, new]).to_csv(aside, index=False)


def _replace(file: Path, table: pd.DataFrame) -> None:
    with writing(f"'{file}'", "Make room, and try again."), replacing(file) as aside:
        table.to_csv(aside, index=False)
