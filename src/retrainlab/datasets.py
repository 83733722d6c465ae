"""Named public datasets -> folders of labelled images, each with a card that says where it comes from."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import runs
from .errors import RetrainLabError

_CARD = "dataset.json"


def _fetch_elpv(folder: Path) -> dict[str, Any]:
    """Lay out the images of the `elpv-dataset` package as the published two-label task."""
    try:
        import elpv_dataset
    except ImportError as error:
        raise RetrainLabError(
            "The images of 'elpv' are not installed. Expected the package elpv-dataset; install it, or the extra "
            "`retrainlab[demo]`."
        ) from error
    source = Path(str(elpv_dataset.__file__)).parent / "data"
    lines = (source / "labels.csv").read_text().split("\n")
    for line in filter(None, lines):
        name, probability, _ = line.split()  # file, probability of a defect, kind of cell
        label = folder / ("defective" if float(probability) >= 0.5 else "functional")
        label.mkdir(exist_ok=True)
        shutil.copyfile(source / name, label / Path(name).name)
    return {
        "title": "ELPV: solar cells in electroluminescence images, functional or defective",
        "images": 2624,
        "licence": "CC BY-NC-SA 4.0",
        "cite": [
            "Deitsch et al. 2019, Automatic classification of defective photovoltaic module cells in "
            "electroluminescence images, doi.org/10.1016/j.solener.2019.02.067",
            "Deitsch et al. 2021, Segmentation of photovoltaic module cells in uncalibrated electroluminescence "
            "images, doi.org/10.1007/s00138-021-01191-9",
            "Buerhop-Lutz et al. 2018, A benchmark for visual identification of defective solar cells in "
            "electroluminescence imagery, doi.org/10.4229/35thEUPVSEC20182018-5CV.3.15",
        ],
        "published": {
            "support vector machine (Deitsch et al. 2019)": 0.8244,
            "fine-tuned VGG-19 (Deitsch et al. 2019)": 0.8842,
        },
        "protocol": "defective from probability 1/2 up; 75% of the images for training, 25% for testing",
        "caveat": "The cells come from 44 modules and neighbours are alike, so random splits flatter every method.",
    }


DATASETS: dict[str, Callable[[Path], dict[str, Any]]] = {"elpv": _fetch_elpv}


def fetch(name: str, to: Path | str | None = None) -> Path:
    """Prepare a public dataset as a folder of label folders; do nothing where it is already there.

    Args:
        name: one of `DATASETS`.
        to: the folder to make; None = `data/<name>` in the project.

    Raises:
        RetrainLabError: an unknown name, a folder that holds something else or cannot be written.
    """
    if name not in DATASETS:
        raise RetrainLabError(f"No dataset '{name}'. Expected one of: {', '.join(DATASETS)}.")
    folder = runs.project_path(Path("data", name) if to is None else to)
    if (folder / _CARD).exists():
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RetrainLabError(f"'{folder}' exists and is not the dataset '{name}'. Remove it or choose another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # made aside and renamed, so that an interrupted fetch leaves nothing half done
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as aside:
            made = Path(aside, name)
            made.mkdir()
            card = {"name": name} | DATASETS[name](made)
            (made / _CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            made.replace(folder)
    except OSError as error:
        raise RetrainLabError(f"The dataset '{name}' cannot be written to '{folder}': {error.strerror}.") from error
    return folder


def locate(image_dir: str | Path) -> Path:
    """Turn the parameter image_dir into a folder: a dataset's name fetches it, anything else is a path."""
    if str(image_dir) in DATASETS and not runs.project_path(image_dir).is_dir():
        return fetch(str(image_dir))
    return runs.project_path(image_dir)


def card(image_dir: Path | str) -> dict[str, Any]:
    """Read what is known of a dataset (`dataset.json` in its folder); empty for folders of one's own."""
    file = Path(image_dir) / _CARD
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
