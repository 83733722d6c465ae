"""A new training of a run: prepared in a folder aside, and published whole, or not at all.

Until `publish`, the run is what it was: nothing that fails, is killed or meets a full disk on the way touches it.
"""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from . import asides, publishing
from .errors import RetrainLabError, writing
from .evaluation.finding import Finding
from .export import exporting
from .lab import Lab
from .runs import result_logs
from .runs.run_folder import Run
from .runs.summaries import TrainingLogs
from .training.classifier import Classifier
from .training.finetuning import TuningSettings
from .training.study import Study
from .training.tuned import fine_tuned
from .trust.guard import Guard


@dataclass(frozen=True, eq=False)
class NewTraining:
    """What a Lab trains, in a run folder of its own inside the run's folder; it goes if it is not published.

    Attributes:
        made: that folder. TensorBoard shows the training from there while it goes on.
    """

    lab: Lab
    made: Run
    _end: weakref.finalize

    @classmethod
    def of(cls, lab: Lab) -> "NewTraining":
        """Prepare a training on the images of a Lab."""
        run = lab.run
        with writing(*_sentence(run)):
            asides.sweep(run.folder)
            place, handle = asides.begin(run.folder / "training", folder=True)
            made = run.prepare(place)
            end = weakref.finalize(made, asides.end, place, handle)
            lab.take_images(made)
        return cls(lab, made, end)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if not self._end.alive:
            raise RetrainLabError(
                f"This training of run '{self.lab.run.name}' is published already. To train again, begin with "
                "NewTraining.of."
            )
        with writing(*_sentence(self.lab.run)):
            yield

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json will say."""
        return self.made.metrics()

    @property
    def model(self) -> Path:
        """What was exported, until it is published."""
        return self.made.model

    def train_chosen(self, study: Study, eval_step_interval: int, refit: bool = False) -> Classifier:
        """Train with the chosen settings, logged for TensorBoard, and calibrate what came of it on validation.

        Args:
            refit: export a head that has learnt from training and validation images together, with the same settings.
        """
        steps = study.settings.how_many_training_steps
        with self._writing(), self.made.stage("retrain"):
            asides.remove(self.made.logs)  # of the same cell, run before: TensorBoard would draw both as one line
            with TrainingLogs(self.made.logs, steps) as logs:
                head, history = study.train(eval_step_interval=eval_step_interval, watch=logs)
            both = study.refit() if refit else None
        exported = None if both is None else (study.features, both)
        return Classifier.of(study.features, head, history, study.stack, exported)

    def fine_tune(self, layer: Classifier, fine_tune_from: str, settings: TuningSettings) -> Classifier:
        """Fine-tune the network of a classifier above a cut, as of `tuned.fine_tuned`; where that is "", do nothing.

        Its state stays in the run's folder, so that the next training of the run goes on from there.
        """
        if not fine_tune_from:
            return layer
        with self._writing(), self.made.stage("fine_tune"):
            made = fine_tuned(layer, fine_tune_from, settings, self.lab.run.folder / ".fine_tuning")
            if made.tuning["fine_tune_from"]:
                result_logs.write_history(self.made.logs / "fine_tuning", made.history)
        return made

    def write_results(self, classifier: Classifier, **more: Any) -> None:
        """Write how a classifier was trained and what came of it: run.json, history, predictions and metrics.json.

        Args:
            more: further keys of metrics.json.
        """
        made, features, head = self.made, classifier.features, classifier.head
        settings, learnt_from = asdict(head.settings), classifier.learnt_from | {"start_from": self.lab.start_from}
        with self._writing():
            info = made.info()
            trained = {
                "labels": head.labels,
                "backbone": features.backbone.handle,
                "steps": head.settings.how_many_training_steps,
                "temperature": head.temperature,
                "refit": classifier.refit,
                "seconds": info["seconds"],
            }
            made.record(
                backbone=features.backbone.record | {"milliseconds": features.milliseconds},
                parameters=settings | learnt_from | {"tfhub_module": features.backbone.handle},
                trained_with=info["versions"] | {"commit": info["commit"]},
                settings=settings,
                learnt_from=learnt_from,
                device=classifier.device,
            )
            made.write_table("history", classifier.history)
            made.write_table("predictions", classifier.predicted)
            made.write_metrics(trained | classifier.metrics | more)

    def add_metrics(self, **values: Any) -> None:
        """Add keys to metrics.json."""
        with self._writing():
            self.made.add_metrics(**values)

    def export(
        self, classifier: Classifier, guard: Guard, final_tensor_name: str, int8: bool = False, seed: int = 0
    ) -> Finding:
        """Write a classifier in every format; see `exporting.export_classifier`."""
        start = self.lab.start_from
        before = exporting.read_learnt(self.lab.run.other(start).model) if start else set[str]()
        how = final_tensor_name, int8, before, seed
        with self._writing():
            return exporting.export_classifier(self.made.model, classifier, guard, *how)

    def log_tensorboard(
        self, classifier: Classifier, rows: pd.DataFrame, figures: Mapping[str, Finding], seed: int = 0
    ) -> None:
        """Write for TensorBoard what came of a training; see `result_logs.write`."""
        tried = result_logs.settings(classifier, self.lab.image_dir.name, self.lab.parameters)
        with self._writing():
            result_logs.write(self.made, self.lab.run.name, classifier, rows, figures, tried, seed)

    def publish(self) -> None:
        """Let all that was made take the place of the run's earlier training: the last step, which takes no time.

        Raises:
            RetrainLabError: another disk is mounted where it should go, or the disk cannot be written.
        """
        with self._writing():
            publishing.publish(self.lab.run.folder, self.made.folder)
            self.lab.run.forget_seen()
        self._end()


def _sentence(run: Run) -> tuple[str, str]:
    return f"The new training of '{run.folder}'", "The run is what it was. Make room there, and run it again."
