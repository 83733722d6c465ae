"""The light runs of a sweep: a run folder for each combination, with figures and without a model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from .. import project
from ..bottlenecks.features import Features
from ..errors import RetrainLabError
from ..lab import Lab
from ..new_training import NewTraining
from ..runs import result_logs
from ..runs.run_folder import Run, open_run
from ..runs.summaries import ResultLogs
from ..training.classifier import Classifier
from ..training.heads import Head
from .grids import Point

_LIGHT = {"run.json", "metrics.json", "images.parquet", "history.parquet", "predictions.parquet", "logs"}


@dataclass(frozen=True)
class Trained:
    """The best head of a combination, how it learnt, and the values of weight_decay that did not diverge."""

    head: Head
    history: pd.DataFrame
    seconds: float
    decays: list[float]


def keep_others(reports_dir: str, run: str, points: list[Point]) -> set[str]:
    """Refuse to write over what is no light run of a sweep of this name; returns the names of those that are."""
    reports = project.place(reports_dir)
    there = {path.name for path in reports.glob("*") if re.fullmatch(rf"{re.escape(run)}-\d+", path.name)}
    light = {name for name in there if _is_light(reports / name, run)}
    taken = [point.name for point in points if point.name in there - light]
    if Run(reports / run).metrics():
        taken.insert(0, run)
    if taken:
        raise RetrainLabError(
            f"There is a run '{taken[0]}' already, which this sweep would replace. Give the sweep another --run."
        )
    return light


def _is_light(folder: Path, sweep: str) -> bool:
    """Tell whether it is a light run of this sweep, as the sweep left it: not tested, nothing added."""
    run = Run(folder)
    info = run.info()  # before all else: a training that waits to be there takes its place
    if not folder.is_dir() or {path.name for path in folder.glob("[!.]*")} - _LIGHT:
        return False
    return info.get("sweep", {}).get("name") == sweep and not run.metrics().get("test", {}).get("n")


def write(point: Point, trained: Trained, features: Features, lab: Lab, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write a light run, as 03_retrain writes a full one; returns its row of the sweep's table.

    Where it is to be fine-tuned, that happens here, from its best head. The row's cross_entropy is that before
    temperature scaling, as `trainer.select` compares it: the temperature was fitted on the very images that choose.

    Args:
        values: the parameters in force that are not varied.

    Raises:
        RetrainLabError: it cannot be fine-tuned, see `tuned.fine_tuned`.
    """
    parameters = {**values, **point.varied, "run": point.name}
    if len(trained.decays) < len(point.candidates):  # those that diverged would end the full run
        parameters["weight_decay"] = trained.decays
    training = NewTraining.of(replace(lab, run=open_run(lab.run.folder.parent, point.name)))
    seconds = {"retrain": round(trained.seconds, 3)}
    training.made.replace(sweep={"name": lab.run.name}, seconds=seconds)
    sound = [settings for settings in point.candidates if settings.weight_decay in trained.decays]
    classifier = Classifier.of(features, trained.head, trained.history, sound)
    result_logs.write_history(training.made.logs, trained.history)
    if point.tuning is not None:
        classifier = training.fine_tune(classifier, point.parameters["fine_tune_from"], point.tuning)
    training.write_results(classifier)
    training.made.replace(parameters=parameters)
    with ResultLogs(training.made.logs / "results", classifier.head.settings.how_many_training_steps) as logs:
        tried = result_logs.settings(classifier, lab.image_dir.name, lab.parameters)
        logs.settings(point.name, tried, classifier.metrics)
    training.publish()
    figure = classifier.metrics["validation"]
    low, high = figure["interval"] or (None, None)
    losses = classifier.history.query("split == 'validation'")["cross_entropy"]
    tuned = classifier.tuning["fine_tune_from"]
    kept = losses.nsmallest(1) if tuned else losses.tail(1)  # of a fine-tuning, the best epoch
    return point.varied | {
        "weight_decay": classifier.head.settings.weight_decay,
        "n": figure["n"],
        "validation": figure["accuracy"],
        "low": low,
        "high": high,
        "cross_entropy": None if kept.empty else float(kept.item()),
        "train": classifier.metrics["train"]["accuracy"],
    }


def look_closer(run: Run) -> None:
    """Write for TensorBoard what the chosen light run has beyond the others: precision-recall curves, on validation."""
    metrics, predicted = run.metrics(), run.read_table("predictions")
    with ResultLogs(run.logs / "results", metrics["steps"]) as logs:
        logs.pr_curves(predicted[predicted["split"] == "validation"], metrics["labels"])
