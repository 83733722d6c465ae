"""TensorBoard event files of a run: how its training went, under retrain.py's tag names, and what came of it.

`logs/train` and `logs/validation` hold what changes from step to step; `logs/results` what came of it, beside and not
above the others: TensorBoard's HParams page takes every scalar below a result for one. Nothing is written twice.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from ..backbones.runtimes import tensorflow
from ..errors import writing
from ..escaping import markdown as as_text
from ..evaluation.finding import Finding

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..training.trainer import Snapshot

_HISTOGRAMS = 10  # about so many a training: they are large, and change slowly
_MOST_CURVES = 30  # labels with a precision-recall curve
_LARGEST_CONSTANT = 1024  # bytes of a constant that the graph keeps: its weights are in the model, not in the logs
_STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {"mean": np.mean, "stddev": np.std, "max": np.max, "min": np.min}
RESULTS = ("results/train_accuracy", "results/validation_accuracy", "results/test_accuracy", "results/gap")


class _Logs(ExitStack):
    """Event files that are closed at the end of a `with` block."""

    def _writer(self, folder: Path) -> Any:
        with writing(f"The logs folder '{folder}'", "Make it writable, or have the logs written elsewhere."):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # TensorFlow would say so later, and in its own words
            writer = tensorflow().summary.create_file_writer(str(folder))
        self.callback(writer.close)
        return writer


class TrainingLogs(_Logs):
    """Writes `train` and `validation`; pass it to `trainer.train` as `watch`.

    Scalars: accuracy, cross_entropy (both splits); mean, stddev, min, max of weights and biases (train). Histograms:
    weights, biases (train), pre_activations and activations (both). TensorBoard draws two trainings in one folder as
    one line, so the folder should hold no other.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__()
        self._writers = {split: self._writer(folder / split) for split in ("train", "validation")}
        self._steps, self._next_histograms = steps, 0

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
                for statistic, of in _STATISTICS.items():
                    tf.summary.scalar(f"final_retrain_ops/{name}/summaries/{statistic}", of(values))
                if histograms:
                    tf.summary.histogram(f"final_retrain_ops/{name}/summaries/histogram", values)


class ResultLogs(_Logs):
    """Writes what came of a training, one method a TensorBoard page. `step` is the training's last one."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__()
        self._folder, self._step = folder, step
        self.enter_context(self._writer(folder).as_default(step))

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

        hp.hparams(dict(settings), trial_id=run)
        for tag in RESULTS:
            value = metrics[tag.removeprefix("results/").removesuffix("_accuracy")]["accuracy"]
            if value is not None:
                tensorflow().summary.scalar(tag, value)
        rows = [f"| {as_text(name)} | {as_text(value) or '(blank)'} |" for name, value in settings.items()]
        self.text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def text(self, tag: str, markdown: str) -> None:
        """Write a text, in Markdown."""
        tensorflow().summary.text(tag, markdown)

    def figure(self, tag: str, figure: "Figure", description: str) -> None:
        """Write a figure as an image."""
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=150)
        pixels = np.asarray(Image.open(png).convert("RGB"))
        tensorflow().summary.image(tag, pixels[None], description=description)

    def findings(self, findings: Mapping[str, Finding], description: str) -> None:
        """Write the figures of findings as images, by tag; a finding that has none writes nothing."""
        import matplotlib.pyplot as plt

        for tag, found in findings.items():
            figure = found.plot()
            if figure is not None:
                self.figure(tag, figure, description)
                plt.close(figure)  # a notebook shows what is left open

    def graph(self, frozen_graph: Path) -> None:
        """Write the graph of what was trained and exported, without its weights."""
        tf = tensorflow()
        definition = tf.compat.v1.GraphDef.FromString(frozen_graph.read_bytes())
        for node in definition.node:
            if node.op == "Const" and len(node.attr["value"].tensor.tensor_content) > _LARGEST_CONSTANT:
                node.attr["value"].tensor.tensor_content = b""
        tf.summary.graph(definition)

    def pr_curves(self, predicted: pd.DataFrame, labels: list[str]) -> None:
        """Write precision-recall curves, one a label, of the labels with the lowest accuracy (at most 30).

        Args:
            predicted: those rows of the predictions table that are to be judged; none writes nothing.
            labels: in class order.
        """
        from tensorboard.plugins.pr_curve import summary

        tf = tensorflow()
        probabilities = tf.nn.softmax(np.array(list(predicted["logits"]), np.float32).reshape(-1, len(labels))).numpy()
        hits = predicted["label"] == predicted["predicted"]
        worst = hits.groupby(predicted["label"]).mean().sort_values(kind="stable").index[:_MOST_CURVES]
        for label in worst:
            own = (predicted["label"] == label).to_numpy()
            curve = summary.pb(_line(label), own, probabilities[:, labels.index(label)])
            tf.summary.experimental.write_raw_pb(curve.SerializeToString(), self._step)

    def projector(self, points: np.ndarray, table: pd.DataFrame, thumbnails: np.ndarray) -> None:
        """Write points for the embedding projector, with labels and pictures.

        Args:
            points: float32 [n, numbers].
            table: label, split, predicted, path; aligned.
            thumbnails: uint8 [n, side, side, 3]; aligned.
        """
        from tensorboard.plugins import projector

        folder = self._folder
        np.savetxt(folder / "bottlenecks.tsv", points, fmt="%.5g", delimiter="\t")
        columns = ["label", "split", "predicted", "path"]
        metadata = table[columns].map(_line)
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
