"""What TensorBoard shows of a trained classifier: settings beside results, the graph, a map of the images, curves."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from ..bottlenecks.features import principal_components
from ..evaluation import intervals
from ..evaluation.finding import Finding
from ..images import overview
from ..training.classifier import Classifier
from .run_folder import Run
from .summaries import ResultLogs

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


def settings(classifier: Classifier) -> dict[str, Any]:
    """Everything that was set for a training, by name, for TensorBoard's HParams page."""
    features, read = classifier.features, asdict(classifier.features.backbone.settings)
    tried = {"tfhub_module": read.pop("handle")} | read | asdict(features.distortion)
    return tried | asdict(classifier.head.settings) | {"refit": classifier.refit}
