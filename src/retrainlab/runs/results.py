"""What trained runs left behind, read to be compared."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from .. import project
from ..errors import RetrainLabError
from ..evaluation.calibration import cross_entropies
from ..pixels.distortions import Distortion
from .listing import read_runs
from .run_folder import Run

_DATA = (
    "image_size",
    "depth",
    "average_views",
    "refit",
    "fine_tune_from",
    "fine_tune_epochs",
    "fine_tune_learning_rate",
    "start_from",
    "distortion_variants",
    *(field.name for field in fields(Distortion)),
)


@dataclass(frozen=True)
class Result:
    """What a run left behind: metrics.json, run.json, and two tables, which are None if missing.

    Attributes:
        predictions: path, label, split, predicted, logits, cross_entropy (of each image, in nats, before temperature
            scaling, which has used the validation images), and sha256 where the images table tells it.
        images: the usable rows of the images table.
        damaged: a sentence for each table that is there and cannot be read.
    """

    name: str
    metrics: dict[str, Any]
    info: dict[str, Any]
    predictions: pd.DataFrame | None = None
    images: pd.DataFrame | None = None
    damaged: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is set and changes what is learnt: the backbone, distortions, how the head was trained.

        weight_decay begins with "chosen" where validation chose it among several: that is how the run was set up.
        """
        learnt = self.info.get("learnt_from", {})
        settings = {name: learnt.get(name) for name in _DATA} | {"tfhub_module": self.metrics["backbone"]}
        settings |= self.info.get("settings", {})
        if len(decays := np.atleast_1d(learnt.get("weight_decay", 0))) > 1:
            settings["weight_decay"] = f"chosen of {', '.join(map(shown, decays.tolist()))}"
        return settings

    @property
    def digest(self) -> str:
        """Of the images with their names and splits; where it is not known, the run's name, which no other has."""
        return self.info.get("dataset", {}).get("digest", self.name)

    @property
    def backbone(self) -> str:
        """The digest of the backbone; the run's name if it is not known, so that no two runs are taken to share it."""
        return self.info.get("backbone", {}).get("digest", self.name)


def shown(value: object) -> str:
    """Write a setting's value briefly: 0.0001, not 1e-4; of an address or path the part that names the network.

    An empty text is `none`.
    """
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".") if 1e-6 <= abs(value) < 1e6 else f"{value:g}"
    if not isinstance(value, str):
        return str(value)
    return re.sub(r"(/feature[-_]vector)?(/\d+)?/?$", "", value).rpartition("/")[2] or value or "none"


def load(reports_dir: str, names: Iterable[str] = (), most: int = 12, run: str = "") -> dict[str, Result]:
    """Read trained runs by name: those that are named, in that order, or the latest `most` and `run`, if it is trained.

    Raises:
        RetrainLabError: a name is not that of a trained run.
    """
    (runs, broken), folder = read_runs(reports_dir), project.place(reports_dir)
    known = [row["run"] for row in runs]
    wanted = list(dict.fromkeys(map(str, names)))
    wanted = wanted or list(dict.fromkeys([*known[:most], *[name for name in known if name == run]]))
    for name in wanted:
        if name in broken:
            raise RetrainLabError(broken[name])
        if name not in known:
            raise RetrainLabError(
                f"There is no trained run '{name}' under {folder}. Known: {', '.join(known) or 'none'}."
            )
    return {name: _read(Run(folder / name)) for name in wanted}


def _read(run: Run) -> Result:
    damaged: list[str] = []
    predictions, images = _table(run, "predictions", damaged), _table(run, "images", damaged)
    metrics = run.metrics()
    if images is not None:
        images = images[images["problem"].isna()]
    if predictions is not None:
        losses = _losses(predictions, metrics)
        predictions = predictions[["path", "label", "split", "predicted", "logits"]].assign(cross_entropy=losses)
        if images is not None:
            predictions = predictions.merge(images[["path", "sha256"]], on="path", how="left")
    return Result(run.name, metrics, run.info(), predictions, images, tuple(damaged))


def _losses(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> np.ndarray:
    """Cross-entropy of each image before temperature scaling, as `training` compares settings: float [n]."""
    if predictions.empty:
        return np.zeros(0)
    logits = np.stack(list(predictions["logits"])) * metrics["temperature"]
    return cross_entropies(logits, pd.Index(metrics["labels"]).get_indexer(predictions["label"]))


def _table(run: Run, name: str, damaged: list[str]) -> pd.DataFrame | None:
    try:
        return run.read_table(name)
    except RetrainLabError as error:  # a run without it still has its metrics
        if (run.folder / f"{name}.parquet").exists():
            damaged.append(str(error))
        return None
