"""Find, read, check, label and split image files: a folder of label folders becomes the `images` table.

The table has one row a file: path (relative to image_dir, posix), label, split, sha256, bytes, modified, width,
height, format, problem. `problem` is None, or says in words why the file is left out; `split` is None for those.
"""

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

from .errors import RetrainLabError

SPLITS = ("train", "validation", "test")
COLUMNS = ["path", "label", "split", "sha256", "bytes", "modified", "width", "height", "format", "problem"]

# Images that people have and Pillow does not read: they are reported, not passed over like a README.
_UNREADABLE = {".heic", ".heif", ".avif", ".jxl", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dng",
               ".raw", ".czi", ".nd2", ".lif", ".svs", ".dcm", ".svg"}  # fmt: skip

# retrain.py's constant: hashes are folded onto this many buckets before they become a percentage.
_MAX_NUM_IMAGES_PER_CLASS = 2**27 - 1
_SMALL_LABEL = 20  # retrain.py warns below this many images a label
_OWN = {"run.json", "CACHEDIR.TAG", "contract.json"}  # marks of a run, a cache, an exported model: no labels


# --------------------------------------------------------------------------------------------- reading pixels


def read_pixels(source: Path | str | bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image file, whatever its format, as upright RGB.

    Args:
        source: a path, or the bytes of an image file. The content decides the format, not the extension.
        size: (height, width) to resize to, bilinearly and without keeping the aspect, as retrain.py does.
            Large JPEGs are decoded at a reduced scale of at least twice that. None keeps the image's own size.

    Returns:
        uint8 [height, width, 3], 0 to 255. Rotated by EXIF; alpha is laid over white; 16 bits become 8; the first
        frame of an animation.

    Raises:
        RetrainLabError: the file cannot be read as an image; the message says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata in files that it reads well
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if size is not None:
                    image.draft("RGB", (2 * size[1], 2 * size[0]))
                rgb = _to_rgb(ImageOps.exif_transpose(image))
            if size is not None and rgb.size != (size[1], size[0]):
                rgb = rgb.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise RetrainLabError(_reason(error)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greys; Pillow's own conversion would clip them at 255
        values = np.asarray(image).astype(np.int64)
        # cameras put 10, 12 or 14 bits into 16: keep the upper eight of those that are used
        scaled = values >> max(0, int(values.max(initial=0)).bit_length() - 8)
        image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scaled = values * 255 if values.max(initial=0) <= 1 else values
        image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image in any format that can be read; convert it to JPEG, PNG or TIFF"
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, IsADirectoryError):
        return "a folder, not an image file"
    if isinstance(error, PermissionError):
        return "the file may not be read: permission denied"
    if isinstance(error, Image.DecompressionBombError):
        return "the image has too many pixels to be read safely"
    if "truncated" in str(error).lower():
        return "the image file is cut short (truncated)"
    return f"the image file is damaged ({str(error) or type(error).__name__})"


# --------------------------------------------------------------------------------------------- scanning


def scan(image_dir: Path | str, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Look at every file under a folder of label folders.

    A file's label is its folder relative to `image_dir`; nested folders join with `/`. Every file is decoded once,
    by threads, so that a damaged one is known from the start. Hidden files are skipped, so are run folders (they
    hold run.json), caches (CACHEDIR.TAG), and files that neither are images nor claim to be by their extension.

    Args:
        image_dir: the folder.
        known: an earlier table of the same folder; files whose size and time of change it knows are not read again.

    Returns:
        The images table, sorted by path, with `split` None throughout; see `split`.

    Raises:
        RetrainLabError: no such folder, no image in it, none readable, or fewer than two labels.
    """
    root = Path(image_dir)
    if not root.is_dir():
        raise RetrainLabError(
            f"Image folder '{root}' {'is a file' if root.exists() else 'does not exist'}. Expected a folder that "
            "holds one folder of images a label; set image_dir."
        )
    found = sorted(_files(root))
    rows = dict.fromkeys(path for path, _ in found)
    remembered = (
        {}
        if known is None
        else {
            (row["path"], row["bytes"], row["modified"]): row
            for row in known.to_dict("records")
            if row["problem"] is None  # what could not be read may have been repaired without a trace
        }
    )
    unseen = []
    for path, stat in found:
        record = remembered.get((path, stat.st_size, stat.st_mtime_ns))
        if record is None:
            unseen.append((path, stat))
        else:
            rows[path] = record | {"label": str(PurePosixPath(path).parent)}  # a person may have decided otherwise
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked = pool.map(lambda item: _look(root, *item), unseen)
        for (path, _), row in zip(
            unseen, tqdm(looked, "scan", len(unseen), unit=" images", leave=False, disable=None), strict=True
        ):
            rows[path] = row
    table = pd.DataFrame([row for row in rows.values() if row], columns=COLUMNS)
    table["split"] = None
    for column in ("width", "height"):
        table[column] = table[column].astype("Int32")
    for column in (
        "label",
        "split",
        "sha256",
        "format",
        "problem",
    ):  # None, not NaN, also where all are missing
        table[column] = table[column].astype(object).where(table[column].notna(), None)
    _check(root, table)
    return table


def _files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    seen = set()  # links to folders are followed, but never in a circle
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen or (folder != str(root) and _OWN & set(names)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in names:
            path = Path(folder, name)
            try:
                if not name.startswith(".") and path.is_file():
                    yield path.relative_to(root).as_posix(), path.stat()
            except OSError as error:
                _refuse(error)


def _refuse(error: OSError) -> None:
    raise RetrainLabError(
        f"'{error.filename}' may not be read: {error.strerror}. Change its permissions, or move it elsewhere."
    ) from error


def _look(root: Path, path: str, stat: os.stat_result) -> dict | None:
    row: dict = dict.fromkeys(COLUMNS)
    row |= {"path": path, "bytes": stat.st_size, "modified": stat.st_mtime_ns}
    row["label"] = str(PurePosixPath(path).parent)
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        label = str(PurePosixPath(shown).parent)
        return row | {
            "path": shown,
            "label": label,
            "problem": "its name is not valid UTF-8; rename the file or folder",
        }
    try:
        data = (root / path).read_bytes()
        row["sha256"] = hashlib.sha256(data).hexdigest()
        if not data:
            raise RetrainLabError("the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                upright = image.getexif().get(0x0112, 1) < 5  # from 5 on, EXIF turns by 90 degrees
                row["width"], row["height"] = image.size if upright else image.size[::-1]
                row["format"] = image.format
        read_pixels(data, (64, 64))
    except Exception as error:
        suffix = PurePosixPath(path).suffix.lower()
        claims = suffix in _UNREADABLE or suffix in Image.registered_extensions()
        if row["format"] is None and not claims:
            return None  # a README or a list, not an image
        row["problem"] = str(error) if isinstance(error, RetrainLabError) else _reason(error)
    if row["label"] == ".":
        row["label"] = None
        row["problem"] = row["problem"] or "it lies outside any label folder; move it into the folder of its label"
    return row


def _check(root: Path, table: pd.DataFrame) -> None:
    good = table[table["problem"].isna()]
    labels = sorted(good["label"].unique())
    wanted = "Expected one folder of images a label, at least two of them."
    if table.empty:
        raise RetrainLabError(f"Image folder '{root}' holds no images. {wanted}")
    if good.empty:
        first = table.iloc[0]
        raise RetrainLabError(
            f"Image folder '{root}' holds {len(table)} image files and none can be used. "
            f"The first: {first['path']}: {first['problem']}. {wanted}"
        )
    if len(labels) == 1:
        raise RetrainLabError(f"Image folder '{root}' has images of one label only, '{labels[0]}'. {wanted}")


# --------------------------------------------------------------------------------------------- splitting


def split(
    images: pd.DataFrame,
    testing_percentage: float = 10,
    validation_percentage: float = 10,
    listed: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Give every usable image its split: train, validation or test.

    The split is retrain.py's, made stable: SHA-1 of the path relative to image_dir, cut at `_nohash_`, folded onto a
    percentage. So an image keeps its split when the folder moves, and when other images come and go. Byte-identical
    files share a split, and every label keeps at least one training image.

    Args:
        images: the table of `scan`.
        testing_percentage, validation_percentage: 0 up to less than 100 together.
        listed: what `read_splits` read; wins where it names a file. If it names no validation image,
            `validation_percentage` of its training images become that.

    Returns:
        A copy with the column `split` filled; None where the image has a problem.

    Raises:
        RetrainLabError: a percentage is below 0, or they leave no training image.
    """
    for name, value in (("testing_percentage", testing_percentage), ("validation_percentage", validation_percentage)):
        if not value >= 0:
            raise RetrainLabError(f"{name} is {value:g}. Expected a number from 0 to less than 100.")
    if testing_percentage + validation_percentage >= 100:
        raise RetrainLabError(
            f"testing_percentage {testing_percentage:g} and validation_percentage {validation_percentage:g} leave no "
            "training image. Expected two numbers from 0 up that add up to less than 100."
        )
    table = images.copy()
    good = table[table["problem"].isna()]
    group = groups(good)
    percentage = group.map(_percentage)
    chosen = pd.Series(
        np.select(
            [percentage < validation_percentage, percentage < validation_percentage + testing_percentage],
            ["validation", "test"],
            "train",
        ),
        good.index,
        dtype=object,
    )
    if listed is not None:
        unknown = sorted(set(listed["path"]) - set(images["path"]))
        if unknown:
            raise RetrainLabError(
                f"splits.csv lists '{unknown[0]}', which the image folder does not hold; so do {len(unknown) - 1} "
                "more lines. Expected paths relative to the folder, such as ant/1.jpg; correct or remove them."
            )
        named = good["path"].map(listed.set_index("path")["split"])
        named = named.fillna(named.groupby(group).transform("first"))  # copies and `_nohash_` relatives go along
        if not (listed["split"] == "validation").any():
            named = named.mask((named == "train") & (percentage < validation_percentage), "validation")
        chosen = named.where(named.notna(), chosen)
    fixed = named.notna() if listed is not None else pd.Series(False, good.index)
    for _, rows in good[~fixed].groupby("label", sort=True):
        if not (chosen[good["label"] == rows["label"].iloc[0]] == "train").any():
            # the image that the hash puts nearest to the training split, and those that must stay with it
            nearest = percentage[rows.index].idxmax()
            chosen[group == group[nearest]] = "train"
    table["split"] = chosen.reindex(table.index).astype(object).where(lambda column: column.notna(), None)
    return table


def groups(images: pd.DataFrame) -> pd.Series:
    """Name, for each usable image, the group that must share a split: equal up to `_nohash_`, or equal in content."""
    group = images["path"].str.split("_nohash_").str[0]
    while True:  # groups that touch melt together; nearly always settled after one round
        merged = group.groupby(images["sha256"]).transform("min").groupby(group).transform("min")
        if merged.equals(group):
            return group
        group = merged


def _percentage(name: str) -> float:
    number = int(hashlib.sha1(name.encode()).hexdigest(), 16)
    return (number % (_MAX_NUM_IMAGES_PER_CLASS + 1)) * (100.0 / _MAX_NUM_IMAGES_PER_CLASS)


def read_splits(image_dir: Path | str) -> pd.DataFrame | None:
    """Read `splits.csv` (columns path, split) of an image folder; None where there is none.

    Raises:
        RetrainLabError: a column is missing, a split is unknown, or a path stands there twice with two splits.
    """
    file = Path(image_dir) / "splits.csv"
    if not file.exists():
        return None
    try:
        listed = pd.read_csv(file, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise RetrainLabError(f"{file} cannot be read as a table: {error}. Expected the columns path,split.") from error
    if not {"path", "split"} <= set(listed.columns):
        raise RetrainLabError(f"{file} has the columns {', '.join(listed.columns)}. Expected path,split.")
    unknown = sorted(set(listed["split"]) - set(SPLITS))
    if unknown:
        raise RetrainLabError(f"{file} names the split '{unknown[0]}'. Expected one of {', '.join(SPLITS)}.")
    listed = listed[["path", "split"]].drop_duplicates()
    twice = listed["path"][listed["path"].duplicated()]
    if len(twice):
        raise RetrainLabError(f"{file} puts '{twice.iloc[0]}' into two splits. Expected each path once.")
    return listed


def notes(images: pd.DataFrame, named: int = 3) -> list[str]:
    """Say in sentences what a person should know of a split images table before trusting figures made from it.

    Args:
        named: how many of the files that are left out to name, each with its problem.
    """
    good = images[images["problem"].isna()]
    counts = counts_by_label(images)
    said = []
    bad = images[images["problem"].notna()]
    if len(bad):
        why = [f" {row.path}: {row.problem}." for row in bad[:named].itertuples()]
        more = f" And {len(bad) - named} more." if 0 < named < len(bad) else ""
        said.append(f"{len(bad)} of {len(images)} files are left out.{''.join(why)}{more}")
    small = list(counts.index[counts["total"] < _SMALL_LABEL])
    if small:
        said.append(f"{_have(small)} fewer than {_SMALL_LABEL} images: too few to learn or to measure reliably.")
    for name in SPLITS:
        without = list(counts.index[counts[name] == 0])
        if without:
            said.append(f"{_have(without)} no {name} image: {name} accuracy says nothing of that.")
    copies = good["sha256"].duplicated(keep=False)
    if copies.any():
        apart = good[copies].groupby("sha256")["split"].nunique().max() > 1
        together = "splits.csv puts some into different splits" if apart else "copies share a split"
        said.append(f"{copies.sum()} files are byte-identical copies of one another; {together}.")
        if good[copies].groupby("sha256")["label"].agg(set).str.len().max() > 1:
            said.append("Some copies carry different labels; at least one of each such pair is labelled wrongly.")
    return said


def read_many(paths: Sequence[Path], size: tuple[int, int] = (48, 48)) -> np.ndarray:
    """Read images in one size, by threads: uint8 [n, height, width, 3]; grey where one cannot be read."""

    def read(path: Path) -> np.ndarray:
        try:
            return read_pixels(path, size)
        except RetrainLabError:
            return np.full((*size, 3), 128, np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array(list(pool.map(read, paths)), np.uint8).reshape(-1, *size, 3)


def sample(labels: pd.Series, most: int, seed: int = 0) -> np.ndarray:
    """Draw at most `most` rows, as evenly over the labels as they allow: int positions, ascending."""
    shuffled = labels.reset_index(drop=True).sample(frac=1, random_state=seed)
    turn = shuffled.groupby(shuffled).cumcount()  # the first of each label, then the second of each, ...
    return np.sort(turn.sort_values(kind="stable").index[:most])


def digest(images: pd.DataFrame) -> str:
    """Identify what a run was made from, names, contents and split: 64 hex digits."""
    good = images[images["problem"].isna()]
    lines = [" ".join(row) for row in zip(good["sha256"], good["split"], good["path"], strict=True)]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _have(labels: Sequence[str]) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:3]) + (", ..." if len(labels) > 3 else "")
    return f"{len(labels)} labels ({shown}) have" if len(labels) > 1 else f"The label {shown} has"


def counts_by_label(images: pd.DataFrame) -> pd.DataFrame:
    """Count the usable images: one row a label, columns train, validation, test, total."""
    good = images[images["problem"].isna()]
    counts = pd.crosstab(good["label"], good["split"]).reindex(columns=list(SPLITS), fill_value=0)
    counts.columns.name = None
    return counts.assign(total=counts.sum(axis=1))


def load(
    image_dir: Path | str,
    testing_percentage: float = 10,
    validation_percentage: float = 10,
    known: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scan and split in one call: what every notebook starts with. See `scan` and `split`."""
    return split(scan(image_dir, known), testing_percentage, validation_percentage, read_splits(image_dir))
