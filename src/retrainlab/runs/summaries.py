"""TensorBoard event files of a run: how its training went, under retrain.py's tag names, and what came of it.

`logs/train` and `logs/validation` hold what changes from step to step; `logs/results` what came of it, beside and not
above the others: TensorBoard's HParams page takes every scalar below a result for one. Nothing is written twice.

Events are TensorBoard's own, not TensorFlow's: writing one takes a tenth of the time, and TensorFlow need not be there.
"""

import csv
import io
import os
import platform
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import writing
from ..escaping import markdown as as_text
from ..evaluation.calibration import softmax
from ..evaluation.finding import Finding

if TYPE_CHECKING:
    from ..training.trainer import Snapshot

_HISTOGRAMS = 10  # about so many a training: they are large, and change slowly
_MOST_CURVES = 30  # labels with a precision-recall curve
_LARGEST_CONSTANT = 1024  # bytes of a constant that the graph keeps: its weights are in the model, not in the logs
_STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {"mean": np.mean, "stddev": np.std, "max": np.max, "min": np.min}
RESULTS = {  # of the HParams page, which shows five from the beginning: where each stands in metrics.json
    "results/train_accuracy": ("train", "accuracy"),
    "results/validation_accuracy": ("validation", "accuracy"),
    "results/validation_cross_entropy": ("validation", "cross_entropy"),
    "results/test_accuracy": ("test", "accuracy"),
    "results/gap": ("gap", "accuracy"),
}


class EventFile:
    """One event file; `step` counts the batches of a training.

    Not TensorBoard's EventFileWriter: that writes in a thread of its own, where a full disk ends in a traceback.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._folder = folder
        with self._writing():
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}.{secrets.token_hex(4)}"
            self._file = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self.add(0, file_version="brain.Event:2")

    def _writing(self) -> AbstractContextManager[None]:
        advice = "Make it writable, make room, or have the logs written elsewhere."
        return writing(f"The logs folder '{self._folder}'", advice)

    def add(self, step: int, **what: Any) -> None:
        """Write an event: a `summary`, or a `graph_def`."""
        from tensorboard.compat.proto.event_pb2 import Event

        with self._writing():
            self._records.write(Event(wall_time=time.time(), step=step, **what).SerializeToString())
            self._file.flush()  # TensorBoard may be looking

    def scalar(self, step: int, tag: str, value: float) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self.add(step, summary=scalar_pb(tag, float(value)))

    def histogram(self, step: int, tag: str, values: np.ndarray) -> None:
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        self.add(step, summary=histogram_pb(tag, values))

    def close(self) -> None:
        with self._writing():
            self._file.close()


class _Logs(ExitStack):
    """Event files that are closed at the end of a `with` block."""

    def _file(self, folder: Path) -> EventFile:
        return self.enter_context(closing(EventFile(folder)))


class TrainingLogs(_Logs):
    """Writes `train` and `validation`; pass it to `trainer.train` as `watch`.

    Scalars: accuracy, cross_entropy (both splits); mean, stddev, min, max of weights and biases (train). Histograms:
    weights, biases (train), pre_activations and activations (both). TensorBoard draws two trainings in one folder as
    one line, so the folder should hold no other.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__()
        self._files = {split: self._file(folder / split) for split in ("train", "validation")}
        self._steps, self._next_histograms = steps, 0

    def __call__(self, snapshot: "Snapshot") -> None:
        step, head = snapshot.step, snapshot.head
        histograms = step >= self._next_histograms or step == self._steps
        if histograms:
            self._next_histograms = step + max(1, self._steps // _HISTOGRAMS)
        for split, figures in snapshot.metrics.items():
            for name, value in figures.items():
                self._files[split].scalar(step, name, value)
            if histograms:
                logits = snapshot.logits[split]
                self._files[split].histogram(step, "final_retrain_ops/Wx_plus_b/pre_activations", logits)
                self._files[split].histogram(step, "activations", softmax(logits))
        for name, values in (("weights", head.kernel), ("biases", head.bias)):
            tag = f"final_retrain_ops/{name}/summaries"
            for statistic, of in _STATISTICS.items():
                self._files["train"].scalar(step, f"{tag}/{statistic}", of(values))
            if histograms:
                self._files["train"].histogram(step, f"{tag}/histogram", values)


class ResultLogs(_Logs):
    """Writes what came of a training, one method a TensorBoard page. `step` is the training's last one."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__()
        self._folder, self._step, self._results = folder, step, self._file(folder)

    def settings(self, run: str, settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """Write a run's settings and results, so that the HParams page can compare all runs; and as text.

        No list of columns goes with them: TensorBoard would take the first run's for everybody's. Without one it finds
        every setting of any run, and shows those first that differ.

        Args:
            run: its name: one trial a run.
            settings: numbers, texts and truth values by name.
            metrics: what `scores.summarise` returned; a split without images has no result.
        """
        from tensorboard.plugins.hparams import api as hp

        self._add(hp.hparams_pb(dict(settings), trial_id=run))
        for tag, (of, name) in RESULTS.items():
            if (value := metrics[of][name]) is not None:
                self._results.scalar(self._step, tag, value)
        rows = [f"| {as_text(name)} | {as_text(value) or '(blank)'} |" for name, value in settings.items()]
        self.text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def text(self, tag: str, markdown: str) -> None:
        """Write a text, in Markdown."""
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._add(text_pb(tag, markdown))

    def findings(self, findings: Mapping[str, Finding], description: str) -> None:
        """Write the figures of findings as images, by tag; a finding that has none writes nothing."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.image.metadata import create_summary_metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        for tag, found in findings.items():
            if (picture := found.picture) is not None:
                sides = map(str, Image.open(io.BytesIO(picture)).size)
                tensor = make_tensor_proto([*(side.encode() for side in sides), picture])
                about = create_summary_metadata(display_name=None, description=description)
                self._add(Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=tensor)]))

    def graph(self, frozen_graph: Path) -> None:
        """Write the graph of what was trained and exported, without its weights."""
        from tensorboard.compat.proto.graph_pb2 import GraphDef

        definition = GraphDef.FromString(frozen_graph.read_bytes())
        for node in definition.node:
            if node.op == "Const" and len(node.attr["value"].tensor.tensor_content) > _LARGEST_CONSTANT:
                node.attr["value"].tensor.tensor_content = b""
        self._results.add(0, graph_def=definition.SerializeToString())

    def _add(self, summary: Any) -> None:
        self._results.add(self._step, summary=summary)

    def pr_curves(self, predicted: pd.DataFrame, labels: list[str]) -> None:
        """Write precision-recall curves, one a label, of the labels with the lowest accuracy (at most 30).

        Args:
            predicted: those rows of the predictions table that are to be judged; none writes nothing.
            labels: in class order.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.pr_curve import summary

        probabilities = softmax(np.array(list(predicted["logits"]), np.float32).reshape(-1, len(labels)))
        hits = predicted["label"] == predicted["predicted"]
        worst = hits.groupby(predicted["label"]).mean().sort_values(kind="stable").index[:_MOST_CURVES]
        for label in worst:
            own = (predicted["label"] == label).to_numpy()
            curve = summary.pb(_line(label), own, probabilities[:, labels.index(label)])
            self._add(Summary.FromString(curve.SerializeToString()))  # of the same message, but TensorFlow's

    def projector(self, points: np.ndarray, table: pd.DataFrame, thumbnails: np.ndarray) -> None:
        """Write points for the embedding projector, with labels and pictures.

        Args:
            points: float32 [n, numbers].
            table: label, split, predicted, path; aligned. A column `answer` is added: right or wrong.
            thumbnails: uint8 [n, side, side, 3]; aligned.
        """
        from tensorboard.plugins import projector

        folder = self._folder
        np.savetxt(folder / "bottlenecks.tsv", points, fmt="%.5g", delimiter="\t")
        answer = np.where(table["label"] == table["predicted"], "right", "wrong")
        columns = ["label", "split", "predicted", "answer", "path"]
        metadata = table.assign(answer=answer)[columns].map(_line)
        metadata.to_csv(folder / "bottlenecks_metadata.tsv", sep="\t", index=False, quoting=csv.QUOTE_NONE)
        across = int(np.ceil(np.sqrt(len(thumbnails))))
        side = thumbnails.shape[1]
        sheet = np.full((across, across, side, side, 3), 255, np.uint8)
        sheet.reshape(-1, side, side, 3)[: len(thumbnails)] = thumbnails
        whole = sheet.transpose(0, 2, 1, 3, 4).reshape(across * side, across * side, 3)
        Image.fromarray(whole).save(folder / "bottlenecks_sprite.png")
        config = projector.ProjectorConfig()
        embedding = config.embeddings.add(tensor_name="bottlenecks", tensor_path="bottlenecks.tsv")
        embedding.metadata_path = "bottlenecks_metadata.tsv"
        embedding.sprite.image_path = "bottlenecks_sprite.png"
        embedding.sprite.single_image_dim.extend([side, side])
        projector.visualize_embeddings(str(folder), config)


def _line(value: object) -> str:
    """Keep a name on one line and in one column."""
    return " ".join(str(value).split()) or "(blank)"
