"""The run folder, `reports/<run>/`: its paths, tables and metrics."""

import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from .. import asides, project, publishing, sealing
from ..errors import RetrainLabError, writing
from ..files import alone, replacing
from ..images import relabeling
from ..sealing import DamagedFile
from . import own_images
from .records import COLUMNS, Info, Metrics, Training

_OF_TRAINING = ("settings", "learnt_from", "trained_with", "device", "trained")  # what it writes to run.json
_PACKAGES = ("retrainlab", "tensorflow", "tensorflow-hub", "ai-edge-litert", "numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Run:
    """One run's folder. Files appear in it as the notebooks make them; those of a training, all at once.

    Whatever asks what a training has left finds all of the last one that was published, see `publishing`.
    """

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def logs(self) -> Path:
        """TensorBoard's event files."""
        return self._settled() / "logs"

    @property
    def model(self) -> Path:
        """What was exported."""
        return self._settled() / "model"

    def _settled(self) -> Path:
        publishing.settle(self.folder)
        return self.folder

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with alone(self.folder):  # notebooks run side by side
            publishing.complete(self.folder)
            yield

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write `<name>.parquet`; a reader sees the old file or the new one, never half of it."""
        with replacing(self.folder / f"{name}.parquet") as aside:
            aside.write_bytes(sealing.frame_bytes(table))

    def read_table(self, name: str) -> pd.DataFrame:
        """Read `<name>.parquet`: images, history or predictions.

        Raises:
            RetrainLabError: it is not there yet, or damaged; the message says which notebook writes it.
        """
        file = self._settled() / f"{name}.parquet"
        source = "01_explore" if name == "images" else "03_retrain"
        try:
            return sealing.read_frame(file, COLUMNS.get(name, ()))
        except (FileNotFoundError, NotADirectoryError):
            raise RetrainLabError(
                f"Run '{self.name}' has no {file.name} yet. Run {source} first: it writes it."
            ) from None
        except (OSError, DamagedFile) as error:
            raise RetrainLabError(f"{file} is damaged ({error}). Delete it and run {source} again.") from error

    def known_images(self, image_dir: Path) -> pd.DataFrame | None:
        """The images table of an earlier notebook, if it looked at the same folder: what it knows is not read again."""
        if self.folder.resolve() == image_dir.resolve():
            raise RetrainLabError(
                f"The run folder '{self.folder}' is the image folder itself, and a run replaces parts of its folder. "
                "Choose another run or reports_dir."
            )
        info = self.info()
        if info.get("seen", info.get("dataset", {})).get("image_dir") != str(image_dir):
            return None
        try:
            return self.read_table("seen" if "seen" in info else "images")
        except RetrainLabError:
            return None

    def begin(self, images: pd.DataFrame, image_dir: Path, digest: str, said: Sequence[str] = ()) -> None:
        """Take these images for the run's own.

        A run that was trained on others, or on other labels, stays what it is until a training on these is published:
        they are only kept as `seen`, so that the next notebook need not read them again.

        Args:
            images: the images table.
            image_dir: the folder that its paths count from.
            digest: `overview.digest` of the table.
            said: how they were understood, a sentence each.
        """
        with self._alone():
            info = self._info()
            own = info.get("dataset", {})
            dataset = own_images.described(images, image_dir, digest, said, info.pop("seen", own))
            others = (self.folder / "metrics.json").exists() and not own_images.are_same(own, dataset)
            self.write_table("seen" if others else "images", images)
            if not others:
                self.forget_seen()
            _write_json(self.folder / "run.json", info | {"seen" if others else "dataset": dataset})

    def forget_seen(self) -> None:
        """Remove the table of images that were only seen, when the run is trained on those that it has."""
        (self.folder / "seen.parquet").unlink(missing_ok=True)

    def prepare(self, place: Path) -> "Run":
        """Begin a training of this run in an empty folder aside: what run.json says, but for the training before."""
        info = self.info()
        _write_json(place / "run.json", {key: info[key] for key in info if key not in _OF_TRAINING})
        return Run(place)

    def info(self) -> dict[str, Any]:
        """What run.json says, as of `records.Info`; empty before the first notebook.

        Raises:
            RetrainLabError: it is damaged, as `metrics` and `trained` say of metrics.json.
        """
        self._settled()
        return self._info()

    def _info(self) -> dict[str, Any]:
        return _read_json(self.folder / "run.json", Info)

    def training(self) -> dict[str, Any]:
        """What run.json says, as of `records.Training`.

        Raises:
            RetrainLabError: this run has not been trained yet, or by another version.
        """
        found = _read_json(self._settled() / "run.json", Training)
        if not found:
            raise RetrainLabError(f"Run '{self.name}' has no run.json yet. Run 03_retrain first: it writes it.")
        return found

    def record(self, **values: Any) -> None:
        """Add to run.json; dictionaries are merged one level deep."""
        with self._alone():
            _write_json(self.folder / "run.json", _merged(self._info(), values))

    def replace(self, **values: Any) -> None:
        """Set keys of run.json, whatever they held before."""
        with self._alone():
            _write_json(self.folder / "run.json", self._info() | values)

    def metrics(self) -> dict[str, Any]:
        """What metrics.json says, as of `records.Metrics`; empty before training."""
        return _read_json(self._settled() / "metrics.json", Metrics)

    def trained(self) -> dict[str, Any]:
        """What metrics.json says.

        Raises:
            RetrainLabError: this run has not been trained yet.
        """
        metrics = self.metrics()
        if not metrics:
            raise RetrainLabError(f"Run '{self.name}' has no metrics.json yet. Run 03_retrain first: it writes it.")
        return metrics

    def other(self, name: str) -> "Run":
        """Open another run of the same reports_dir; this one if the name is empty.

        Raises:
            RetrainLabError: there is none of that name.
        """
        found = Run(self.folder.parent / name) if name else self
        if not (found.folder / "run.json").exists():
            known = sorted(file.parent.name for file in self.folder.parent.glob("*/run.json"))
            raise RetrainLabError(
                f"There is no run '{name}' under {self.folder.parent}. Known: {', '.join(known) or 'none'}."
            )
        return found

    def decisions(self, labels_from: str = "") -> pd.DataFrame:
        """Read the decisions on labels that count for this run: its own, and before them those of another, if named."""
        others = [self.other(labels_from).folder] if labels_from else []
        return relabeling.read_all([*others, self.folder])

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write metrics.json."""
        _write_json(self.folder / "metrics.json", metrics)
        self.record(trained=_now())

    def add_metrics(self, trained: str = "", /, **values: Any) -> None:
        """Add keys to metrics.json; the keys of `scores.summarise` keep their meaning.

        Args:
            trained: when the training ended that they are of, as run.json says it; "" for the one that is there.

        Raises:
            RetrainLabError: another training has taken its place.
        """
        with self._alone():
            if trained and self._info().get("trained") != trained:
                raise RetrainLabError(f"Run '{self.name}' was trained anew meanwhile. Run this notebook again.")
            metrics = _read_json(self.folder / "metrics.json", Metrics)
            _write_json(self.folder / "metrics.json", _merged(metrics, values))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage's wall seconds into run.json: `with run.stage("scan"): ...`."""
        started = time.perf_counter()
        yield
        self.record(seconds={name: round(time.perf_counter() - started, 2)})


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _read_json(file: Path, shape: Any) -> dict[str, Any]:
    try:
        return sealing.read_json(file, shape)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, DamagedFile) as error:
        raise RetrainLabError(f"{file} is damaged ({error}). Delete it and run the notebooks again.") from error


def _write_json(file: Path, values: dict[str, Any]) -> None:
    with replacing(file) as aside:
        aside.write_text(sealing.json_text(values), encoding="utf-8")


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {key for key, value in new.items() if isinstance(value, dict) and isinstance(old.get(key), dict)}
    return old | new | {key: old[key] | new[key] for key in both}


def named(reports_dir: str | Path, run: str) -> Run:
    """Tell the folder of a run by its name; it need not be there.

    Raises:
        RetrainLabError: the name cannot be a folder's.
    """
    if not re.fullmatch(r"\w[\w .-]*", run):
        raise RetrainLabError(
            f"The run name {run!r} cannot be a folder's. Expected letters, digits, space, '_', '-', '.'."
        )
    return Run(project.place(reports_dir) / run)


def open_run(reports_dir: str | Path, run: str) -> Run:
    """Open a run's folder, and make it with its run.json if it is new.

    Raises:
        RetrainLabError: the name cannot be a folder's, or the folder cannot be written.
    """
    opened = named(reports_dir, run)
    with writing(f"The reports folder '{opened.folder}'", "Set reports_dir to one that can."):
        opened.folder.mkdir(parents=True, exist_ok=True)
        asides.sweep(opened.folder)
        opened.record(
            run=run,
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
            python=platform.python_version(),
            versions={package: version(package) for package in _PACKAGES},
            commit=project.commit(),
        )
    return opened


@contextmanager
def opening(reports_dir: str | Path, run: str) -> Iterator[Run]:
    """Do as `open_run`; a folder that was made for it and holds nothing else goes again where the block fails."""
    new = not named(reports_dir, run).folder.exists()
    opened = open_run(reports_dir, run)
    try:
        yield opened
    except BaseException:
        if new and [path.name for path in opened.folder.iterdir()] == ["run.json"]:
            asides.remove(opened.folder)
        raise
