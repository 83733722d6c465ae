"""TensorBoard event files: what a training looked like, under retrain.py's tag names."""

import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import tensorflow

if TYPE_CHECKING:
    from .heads import Snapshot

_HISTOGRAMS = 10  # about so many a training: they are large, and change slowly


class TrainingLogs:
    """Writes `logs/train` and `logs/validation`; pass it to `heads.train` as `watch`.

    Scalars: accuracy, cross_entropy (both splits); mean, stddev, min, max of weights and biases (train). Histograms:
    weights, biases (train), pre_activations and activations (both). Logs of an earlier training of the same run are
    replaced, so that TensorBoard never mixes two.

    Use it as a context manager: `with TrainingLogs(run.logs, steps) as logs: train(..., watch=logs)`.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        tf = tensorflow()
        for split in ("train", "validation"):
            shutil.rmtree(folder / split, ignore_errors=True)
        self._writers = {s: tf.summary.create_file_writer(str(folder / s)) for s in ("train", "validation")}
        self._steps, self._next_histograms = steps, 0

    def __enter__(self) -> "TrainingLogs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def __call__(self, snapshot: "Snapshot") -> None:
        tf = tensorflow()
        step, head = snapshot.step, snapshot.head
        histograms = step >= self._next_histograms or step == self._steps
        if histograms:
            self._next_histograms = step + max(1, self._steps // _HISTOGRAMS)
        for split, figures in snapshot.metrics.items():
            with self._writers[split].as_default(step):
                for name, value in figures.items():
                    tf.summary.scalar(name, value)
                if histograms:
                    logits = snapshot.logits[split]
                    tf.summary.histogram("final_retrain_ops/Wx_plus_b/pre_activations", logits)
                    tf.summary.histogram("activations", tf.nn.softmax(logits))
        with self._writers["train"].as_default(step):
            for name, values in (("weights", head.kernel), ("biases", head.bias)):
                for statistic, value in _statistics(values).items():
                    tf.summary.scalar(f"final_retrain_ops/{name}/summaries/{statistic}", value)
                if histograms:
                    tf.summary.histogram(f"final_retrain_ops/{name}/summaries/histogram", values)


def _statistics(values: np.ndarray) -> dict[str, Any]:
    return {"mean": values.mean(), "stddev": values.std(), "max": values.max(), "min": values.min()}
