"""Find, check and label image files: a folder of label folders becomes the `images` table.

The table has one row a file: path (relative to image_dir, posix), label, split, sha256, bytes, modified, width,
height, format, problem. `problem` is None, or says in words why the file is left out; `split` is None for those.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from stat import S_ISLNK

import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm.auto import tqdm

from ..errors import RetrainLabError
from .decoding import read_pixels, why_unreadable
from .splitting import read_splits, split

COLUMNS = ["path", "label", "split", "sha256", "bytes", "modified", "width", "height", "format", "problem"]
# Camera raw: Pillow would take the small picture that is meant for a preview.
_RAW = {".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dng", ".raw"}
# Images that people have and Pillow does not read: they are reported, not passed over like a README.
_UNREADABLE = _RAW | {".heic", ".heif", ".avif", ".jxl", ".czi", ".nd2", ".lif", ".svs", ".dcm", ".svg"}
_OWN = {"run.json", "CACHEDIR.TAG", "contract.json"}  # marks of a run, a cache, an exported model: no labels


def scan(image_dir: Path | str, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Look at every file under a folder of label folders: the images table, by path, with `split` None throughout.

    A file's label is its folder relative to `image_dir`; nested folders join with `/`. Every file is decoded once,
    by threads, so that a damaged one is known from the start. Hidden files are skipped, so are run folders (they
    hold run.json), caches (CACHEDIR.TAG), and files that neither are images nor claim to be by their extension; and
    files are not read again whose size and time of change `known`, an earlier table of the same folder, knows.

    Raises:
        RetrainLabError: no such folder, no image in it, none readable, or fewer than two labels.
    """
    root = Path(image_dir)
    if not root.is_dir():
        raise RetrainLabError(
            f"Image folder '{root}' {'is a file' if root.exists() else 'does not exist'}. Expected a folder that "
            "holds one folder of images a label; set image_dir."
        )
    files = dict(sorted(_files(root)))
    rows = {} if known is None else _remembered(known, files)
    unseen = {path: stat for path, stat in files.items() if path not in rows}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked = pool.map(lambda item: _look(root, *item), unseen.items())
        bar = tqdm(looked, "scan", len(unseen), unit=" images", leave=False, disable=None)
        rows.update((path, row) for path, row in zip(unseen, bar, strict=True) if row)
    table = pd.DataFrame([rows[path] for path in files if path in rows], columns=COLUMNS)
    table = table.assign(split=None).astype({"width": "Int32", "height": "Int32"})
    for column in ("label", "split", "sha256", "format", "problem"):  # None, not NaN, also where all are missing
        table[column] = table[column].astype(object).where(table[column].notna(), None)
    _check(root, table)
    return table


def _remembered(known: pd.DataFrame, files: dict[str, os.stat_result]) -> dict[str, dict]:
    """Take over the rows of files that have not changed; what could not be read may have been repaired."""
    now = {path: (stat.st_size, _modified(stat)) for path, stat in files.items()}
    rows = {row["path"]: row for row in known[known["problem"].isna()].to_dict("records")}
    return {
        path: row | {"label": given_label(path)}  # a person may have decided otherwise
        for path, row in rows.items()
        if now.get(path) == (row["bytes"], row["modified"])
    }


def given_label(path: str) -> str:
    """Tell the label that an image has by its folder, whatever was decided; `path` as in the images table."""
    return str(PurePosixPath(path).parent)


def image_files(root: Path) -> list[Path]:
    """List the files below a folder that `scan` would look at: images, and what claims to be one by its extension.

    Raises:
        RetrainLabError: something in the folder may not be read.
    """
    return [root / path for path, _ in sorted(_files(root)) if _claims(path) or _opens(root / path)]


def _claims(path: str) -> bool:
    """Tell whether a file means to be an image, by its name."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in _UNREADABLE or suffix in Image.registered_extensions()


def _opens(file: Path) -> bool:
    """Tell whether a file is an image, by its first bytes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(file).close()
    except Exception:  # Pillow's plugins raise nearly anything
        return False
    return True


def _files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    seen = set()  # links to folders are followed, but never in a circle
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen or (folder != str(root) and _OWN & set(names)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            try:
                if path.is_file():
                    yield path.relative_to(root).as_posix(), path.stat()
                elif path.is_symlink() and not path.exists():
                    yield path.relative_to(root).as_posix(), path.lstat()  # it leads nowhere, as git-annex leaves them
            except OSError as error:
                _refuse(error)


def _refuse(error: OSError) -> None:
    raise RetrainLabError(
        f"'{error.filename}' may not be read: {error.strerror}. Change its permissions, or move it elsewhere."
    ) from error


def _modified(stat: os.stat_result) -> int:
    """When a file was last written or renamed, in nanoseconds: files that change places keep the time of writing."""
    return max(stat.st_mtime_ns, stat.st_ctime_ns)


def _look(root: Path, path: str, stat: os.stat_result) -> dict | None:
    """Decode a file, and say what the images table says of it; None if it neither is an image nor claims to be."""
    row: dict = dict.fromkeys(COLUMNS)
    row |= {"path": path, "label": given_label(path), "bytes": stat.st_size, "modified": _modified(stat)}
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        problem = "its name is not valid UTF-8; rename the file or folder"
        return row | {"path": shown, "label": given_label(shown), "problem": problem}
    suffix = PurePosixPath(path).suffix.lower()
    try:
        if not stat.st_size:
            raise RetrainLabError("the file is empty")
        if S_ISLNK(stat.st_mode):
            raise RetrainLabError("it is a link to a file that does not exist")
        if suffix in _RAW:
            raise UnidentifiedImageError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(root / path) as image:  # its first bytes tell; a film beside the images is not read whole
                upright = image.getexif().get(0x0112, 1) < 5  # from 5 on, EXIF turns by 90 degrees
                row["width"], row["height"] = image.size if upright else image.size[::-1]
                row["format"] = image.format
        data = (root / path).read_bytes()
        row["sha256"] = hashlib.sha256(data).hexdigest()
        read_pixels(data, (64, 64))
    except Exception as error:
        if row["format"] is None and not _claims(path):
            return None  # a README or a list, not an image
        row["problem"] = str(error) if isinstance(error, RetrainLabError) else why_unreadable(error)
    if row["label"] == ".":
        row["label"] = None
        row["problem"] = row["problem"] or "it lies outside any label folder; move it into the folder of its label"
    return row


def _check(root: Path, table: pd.DataFrame) -> None:
    good = table[table["problem"].isna()]
    wanted = "Expected one folder of images a label, at least two of them."
    if table.empty:
        raise RetrainLabError(f"Image folder '{root}' holds no images. {wanted}")
    if good.empty:
        path, problem = table.loc[0, ["path", "problem"]]
        raise RetrainLabError(
            f"Image folder '{root}' holds {len(table)} image files and none can be used. "
            f"The first: {path}: {problem}. {wanted}"
        )
    if len(labels := good["label"].unique()) == 1:
        raise RetrainLabError(f"Image folder '{root}' has images of one label only, '{labels[0]}'. {wanted}")


def load(
    image_dir: Path | str,
    testing_percentage: float = 10,
    validation_percentage: float = 10,
    known: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scan and split in one call: what every notebook starts with. See `scan` and `splitting.split`."""
    return split(scan(image_dir, known), testing_percentage, validation_percentage, read_splits(image_dir))
