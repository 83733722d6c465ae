"""Fetch a data set of the catalogue as a folder of label folders, with a card that says where it comes from."""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .. import project
from ..errors import RetrainLabError
from .catalogue import DATASETS, Dataset, image_files
from .downloads import download, unpack

_CARD = "dataset.json"


def fetch(name: str, to: Path | str | None = None) -> Path:
    """Prepare one of `DATASETS` in the folder `to`, by default `project.dataset`; do nothing where it is already there.

    Raises:
        RetrainLabError: an unknown name, or any reason of `prepare`.
    """
    if name not in DATASETS:
        raise RetrainLabError(f"No dataset '{name}'. Expected one of: {', '.join(DATASETS)}.")
    return prepare(name, DATASETS[name], project.dataset(name) if to is None else project.place(to))


def prepare(name: str, dataset: Dataset, folder: Path) -> Path:
    """Download, unpack, arrange and count a dataset; the folder appears only once it is whole.

    Archives lie in `.downloads/<name>` beside the folder until then, so that nothing is fetched twice.

    Raises:
        RetrainLabError: a folder that holds something else or cannot be written; a download or an archive that fails,
            see `downloads`; another number of images or labels than expected.
    """
    if card(folder).get("name") == name:
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RetrainLabError(f"'{folder}' exists and is not the dataset '{name}'. Remove it or choose another folder.")
    downloads = folder.parent / ".downloads" / name
    try:
        archives = [download(source, downloads) for source in dataset.sources]
        folder.parent.mkdir(parents=True, exist_ok=True)
        # made aside and renamed, so that an interrupted fetch leaves nothing half done
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as aside:
            made = Path(aside, "made")
            made.mkdir()
            dataset.arrange(made, *(unpack(archive, Path(aside, archive.name)) for archive in archives))
            _verify(name, dataset, made, downloads)
            text = json.dumps({"name": name} | dataset.card, indent=1, ensure_ascii=False)
            (made / _CARD).write_text(text + "\n", encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            made.replace(folder)
        shutil.rmtree(downloads, ignore_errors=True)
        with contextlib.suppress(OSError):  # not there, or another dataset's archives are in it
            downloads.parent.rmdir()
    except OSError as error:
        reason = error.strerror or error
        raise RetrainLabError(f"The dataset '{name}' cannot be written to '{folder}': {reason}.") from error
    return folder


def _verify(name: str, dataset: Dataset, made: Path, downloads: Path) -> None:
    found, images, labels = image_files(made), dataset.card["images"], dataset.card["labels"]
    folders = {path.parent for path in found}
    if (len(found), len(folders)) != (images, labels):
        raise RetrainLabError(
            f"The dataset '{name}' turned out to have {len(found):,} images of {len(folders)} labels. Expected "
            f"{images:,} of {labels}; see what is in '{downloads}'."
        )


def locate(image_dir: str | Path) -> Path:
    """Turn the parameter image_dir into a folder: a dataset's name fetches it, anything else is a path."""
    return fetch(str(image_dir)) if _is_name(image_dir) else project.place(image_dir)


def whereabouts(image_dir: str | Path) -> Path:
    """Tell the folder that `locate` finds, and fetch nothing."""
    return project.dataset(str(image_dir)) if _is_name(image_dir) else project.place(image_dir)


def lasting(image_dir: str | Path) -> str:
    """Write the parameter image_dir so that it counts from anywhere: a dataset's name stays one."""
    return str(image_dir) if _is_name(image_dir) else str(project.place(image_dir))


def _is_name(image_dir: str | Path) -> bool:
    return str(image_dir) in DATASETS and not project.place(image_dir).is_dir()


def card(image_dir: Path | str) -> dict[str, Any]:
    """Read what is known of a dataset (`dataset.json` in its folder); empty for folders of one's own."""
    try:
        found = json.loads((Path(image_dir) / _CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("name") in DATASETS else {}  # others have such files, too
