"""The run folder, `reports/<run>/`: its paths, tables and metrics."""

import hashlib
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from .. import project, sealing
from ..errors import RetrainLabError, writing
from ..files import alone, replacing
from ..images import relabeling
from ..pixels.levels import Levels
from ..sealing import DamagedFile
from .records import COLUMNS, Info, Metrics, Training

_OF_TRAINING = ("settings", "learnt_from", "trained_with", "device", "trained")  # what 03_retrain writes to run.json
_PACKAGES = ("retrainlab", "tensorflow", "tensorflow-hub", "ai-edge-litert", "numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Run:
    """One run's folder. Files appear in it as the notebooks make them."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def logs(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / "logs"

    @property
    def model(self) -> Path:
        """What was exported."""
        return self.folder / "model"

    def new_logs(self) -> Path:
        """Remove the logs of an earlier training of this run, so that TensorBoard never mixes two; returns `logs`."""
        shutil.rmtree(self.logs, ignore_errors=True)
        return self.logs

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write `<name>.parquet`; a reader sees the old file or the new one, never half of it."""
        with replacing(self.folder / f"{name}.parquet") as aside:
            aside.write_bytes(sealing.frame_bytes(table))

    def read_table(self, name: str) -> pd.DataFrame:
        """Read `<name>.parquet`.

        Raises:
            RetrainLabError: it is not there yet, or damaged; the message says which notebook writes it.
        """
        file = self.folder / f"{name}.parquet"
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
        if self.info().get("dataset", {}).get("image_dir") != str(image_dir):
            return None
        try:
            return self.read_table("images")
        except RetrainLabError:
            return None

    def begin(self, images: pd.DataFrame, image_dir: Path, digest: str, said: Sequence[str] = ()) -> None:
        """Take these images for the run's own. Figures made from others go first: they would be taken for theirs.

        So do figures made from other labels. The exported model stays: `start_from` may name this run.

        Args:
            images: the images table.
            image_dir: the folder that its paths count from.
            digest: `overview.digest` of the table.
            said: how they were understood, a sentence each.
        """
        good = images[images["problem"].isna()]
        lines = sorted(f"{path} {label}" for path, label in zip(good["path"], good["label"], strict=True))
        labels = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        info = self.info()
        known = info.get("dataset", {})
        dataset: dict[str, Any] = {"image_dir": str(image_dir), "said": list(said), "digest": digest, "labels": labels}
        dataset["since"] = known.get("since")
        dataset["levels"] = Levels.of(images).to_json()
        if (known.get("digest"), known.get("labels")) != (digest, labels):
            for name in ("metrics.json", "history.parquet"):
                (self.folder / name).unlink(missing_ok=True)
            info = {key: value for key, value in info.items() if key not in _OF_TRAINING}
            dataset["since"] = _now() if known else None  # pages that are older show others
        self.write_table("images", images)
        _write_json(self.folder / "run.json", info | {"dataset": dataset})

    def info(self) -> dict[str, Any]:
        """What run.json says, as of `records.Info`; empty before the first notebook.

        Raises:
            RetrainLabError: it is damaged, as `metrics` and `trained` say of metrics.json.
        """
        return _read_json(self.folder / "run.json", Info)

    def training(self) -> dict[str, Any]:
        """What run.json says, as of `records.Training`.

        Raises:
            RetrainLabError: this run has not been trained yet, or by another version.
        """
        found = _read_json(self.folder / "run.json", Training)
        if not found:
            raise RetrainLabError(f"Run '{self.name}' has no run.json yet. Run 03_retrain first: it writes it.")
        return found

    def record(self, **values: Any) -> None:
        """Add to run.json; dictionaries are merged one level deep."""
        with alone(self.folder):  # notebooks run side by side
            _write_json(self.folder / "run.json", _merged(self.info(), values))

    def replace(self, **values: Any) -> None:
        """Set keys of run.json, whatever they held before."""
        with alone(self.folder):
            _write_json(self.folder / "run.json", self.info() | values)

    def metrics(self) -> dict[str, Any]:
        """What metrics.json says, as of `records.Metrics`; empty before training."""
        return _read_json(self.folder / "metrics.json", Metrics)

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
        """Begin metrics.json anew: what later notebooks had added belonged to the training before."""
        _write_json(self.folder / "metrics.json", metrics)
        self.record(trained=_now())

    def add_metrics(self, **values: Any) -> None:
        """Add keys to metrics.json; the keys of `scores.summarise` keep their meaning."""
        with alone(self.folder):
            _write_json(self.folder / "metrics.json", _merged(self.metrics(), values))

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
        opened.record(
            run=run,
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
            python=platform.python_version(),
            versions={package: version(package) for package in _PACKAGES},
            commit=_commit(),
        )
    return opened


def _commit() -> str | None:
    """Tell which commit runs; None for an installed package, which may lie in a repository of another project."""
    folder = project.checkout()
    if folder is None:
        return None
    asked = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
