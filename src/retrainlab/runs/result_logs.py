"""What TensorBoard shows of a trained classifier: settings beside results, the graph, a map of the images, curves."""

import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..bottlenecks.projection import principal_components
from ..evaluation import intervals
from ..evaluation.finding import Finding
from ..images import overview
from ..training.classifier import Classifier
from .run_folder import Run
from .summaries import EventFile, ResultLogs

_POINTS, _DIRECTIONS = 2000, 100  # of the projector: images, and principal components of each


def write(
    run: Run,
    classifier: Classifier,
    rows: pd.DataFrame,
    figures: Mapping[str, Finding],
    tried: Mapping[str, Any],
    seed: int = 0,
) -> None:
    """Write what came of a training to the run's logs.

    Args:
        rows: of the predictions table, for precision-recall curves.
        figures: by tag.
        tried: everything that was set, by name, as of `settings` and more.
        seed: of the images that the projector shows, at most 2,000.
    """
    features, head, metrics = classifier.features, classifier.head, classifier.metrics
    some = overview.sample(classifier.predicted["label"], _POINTS, seed)
    points, _ = principal_components(features.matrix[some], _DIRECTIONS)
    shown = classifier.predicted.iloc[some]
    with ResultLogs(run.logs / "results", head.settings.how_many_training_steps) as logs:
        logs.settings(run.name, tried, metrics)
        test, gap = intervals.percent(metrics["test"]), intervals.points(metrics["gap"])
        logs.text("result", f"Test accuracy {test}; train minus validation accuracy {gap}.")
        logs.graph(run.model / "output_graph.pb")
        logs.projector(points, shown, features.photos.read_many(shown["path"]))
        logs.pr_curves(rows, head.labels)
        logs.findings(figures, "see 03_retrain")


def write_history(folder: Path, history: pd.DataFrame) -> None:
    """Write curves of accuracy and cross-entropy to a folder for each split, in place of earlier ones.

    Args:
        history: step, split, accuracy, cross_entropy.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for split, rows in history.groupby("split"):
        with closing(EventFile(folder / str(split))) as file:
            for row in rows.itertuples():
                file.scalar(int(row.step), "accuracy", row.accuracy)
                file.scalar(int(row.step), "cross_entropy", row.cross_entropy)


def settings(classifier: Classifier, images: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was set for a training, by name, for TensorBoard's HParams page.

    Args:
        images: what their folder is called.
        parameters: what they were found and divided by, as of `Lab`.
    """
    features, read = classifier.features, asdict(classifier.features.backbone.settings)
    tried = {"images": images} | {name: parameters[name] for name in parameters if name.endswith("_percentage")}
    tried |= {"tfhub_module": read.pop("handle")} | read | asdict(features.distortion)
    return tried | asdict(classifier.head.settings) | {"refit": classifier.refit} | classifier.tuning
