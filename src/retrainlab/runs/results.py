"""What trained runs left behind, read to be compared."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .. import project
from ..comparison.outcomes import Result
from ..errors import RetrainLabError
from ..evaluation.calibration import cross_entropies
from .listing import list_runs
from .run_folder import Run


def load(reports_dir: str, names: Iterable[str] = (), most: int = 12, run: str = "") -> dict[str, Result]:
    """Read trained runs by name: those that are named, in that order, or the latest `most` and `run`, if it is trained.

    Raises:
        RetrainLabError: a name is not that of a trained run.
    """
    known, folder = list_runs(reports_dir).index, project.place(reports_dir)
    wanted = list(dict.fromkeys(map(str, names)))
    wanted = wanted or list(dict.fromkeys([*known[:most], *known[known == run]]))
    for name in wanted:
        if name not in known:
            raise RetrainLabError(
                f"There is no trained run '{name}' under {folder}. Known: {', '.join(known) or 'none'}."
            )
    return {name: _read(Run(folder / name)) for name in wanted}


def _read(run: Run) -> Result:
    predictions, images, metrics = _table(run, "predictions"), _table(run, "images"), run.metrics()
    if images is not None:
        images = images[images["problem"].isna()]
    if predictions is not None:
        losses = _losses(predictions, metrics)
        predictions = predictions[["path", "label", "split", "predicted"]].assign(cross_entropy=losses)
        if images is not None:
            predictions = predictions.merge(images[["path", "sha256"]], on="path", how="left")
    return Result(run.name, metrics, run.info(), predictions, images)


def _losses(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> np.ndarray:
    """Cross-entropy of each image before temperature scaling, as `training` compares settings: float [n]."""
    if predictions.empty:
        return np.zeros(0)
    logits = np.stack(list(predictions["logits"])) * metrics["temperature"]
    return cross_entropies(logits, pd.Index(metrics["labels"]).get_indexer(predictions["label"]))


def _table(run: Run, name: str) -> pd.DataFrame | None:
    try:
        return run.read_table(name)
    except RetrainLabError:  # a run without it still has its metrics
        return None
