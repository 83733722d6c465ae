"""Fine-tuning: the network above a cut, and the layer on it, learn from the trunk's cached activations.

The trunk is computed once; an epoch then costs the top alone. AdamW (Loshchilov & Hutter 2019,
arxiv.org/abs/1711.05101) with a warm-up and a cosine (2017, arxiv.org/abs/1608.03983) starts from the trained layer, so
that the top is not torn apart by a layer that knows nothing (Kumar et al. 2022, arxiv.org/abs/2202.10054). The mean and
the variance of a batch norm stay as they were measured.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..backbones import cutting
from ..backbones.gpu import enough_memory
from ..bottlenecks.activations import Activations
from ..errors import RetrainLabError
from ..evaluation import calibration, scores
from . import devices
from .heads import Head
from .progress import Progress
from .tops import Top

_JUDGED = 1000  # training images that are judged after an epoch, at most: all of them would cost a third of it
_GLANCED = 64  # the same where nobody is shown how it went


@dataclass(frozen=True)
class TuningSettings:
    """How to fine-tune; the defaults are those that were measured on solar cells (see the README)."""

    epochs: int = 12  # passes over the training images, from 1 up
    learning_rate: float = 3e-4  # the highest, after the first epoch; above 0
    batch_size: int = 32
    weight_decay: float = 0.05  # of AdamW, on kernels
    label_smoothing: float = 0.1
    dropout: float = 0.3  # before the layer
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise RetrainLabError(f"fine_tune_epochs is {self.epochs}. Expected a whole number from 1 up.")
        if not 0 < self.learning_rate < 1:
            raise RetrainLabError(
                f"fine_tune_learning_rate is {self.learning_rate}. Expected a number between 0 and 1."
            )


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning made: the weights of the top by name, the layer on it, and how it went.

    history: step (the epoch, 0 before the first), split, accuracy, cross_entropy, as of `trainer.train`.
    """

    weights: dict[str, np.ndarray]
    head: Head
    epoch: int  # the one that was kept
    history: pd.DataFrame
    said: str


@enough_memory()
def fine_tune(
    graph: Any,
    activations: Activations,
    head: Head,
    settings: TuningSettings,
    place: Path,
    watch: Callable[[pd.DataFrame], None] | None = None,
    until: int | None = None,
) -> Tuned:
    """Train the top above a cut on the images of the split `train`, and keep the epoch that validates best.

    Epoch 0 is the top as it was with the trained layer, so what comes out never validates worse. Each image is learnt
    from once an epoch, as one of its variants. Where the work was interrupted, it goes on after its last epoch.

    Args:
        graph: GraphDef from the cut to the bottleneck, as of `cutting.above`.
        activations: their table has label and split.
        head: the layer to start from, without hidden units; its temperature is undone.
        place: folder that keeps the state after each epoch, until the end.
        watch: called after each epoch with the history so far.
        until: end after so many epochs of the same schedule, and keep the last: for a refit, with nothing to choose by.

    Raises:
        RetrainLabError: no training image, a layer with hidden units, the state cannot be written, or the device has no
            memory for a single image.
    """
    if head.hidden is not None:
        raise RetrainLabError("Fine-tuning starts from a layer without hidden units. Set hidden_units to 0.")
    if not (activations.table["split"] == "train").any():
        raise RetrainLabError("There is no training image to fine-tune on. Lower the other splits' percentages.")
    top = Top(graph, activations.cut, head.calibrated(1 / head.temperature), settings, devices.found())
    progress = Progress(place, _key(activations, head, settings, until))
    judging = _Judging(top, activations, settings.seed, _JUDGED if until is None else _GLANCED)
    if (state := progress.load()) is None:
        progress.add(0, judging.at(0), top.state())
    else:
        top.restore(state)
    said = _train(top, activations, progress, judging, settings, settings.epochs if until is None else until, watch)
    kept = progress.epoch if until is not None else progress.best
    top.restore(progress.state(kept))
    return Tuned(top.weights(), top.head(), kept, progress.history, said)


def _train(
    top: Top,
    activations: Activations,
    progress: Progress,
    judging: "_Judging",
    settings: TuningSettings,
    last: int,
    watch: Callable[[pd.DataFrame], None] | None,
) -> str:
    """Train from where `progress` stands to the last epoch; says why where it ended before."""
    train = np.flatnonzero(activations.table["split"] == "train")
    steps = -(-len(train) // settings.batch_size)
    classes = pd.Index(top.labels).get_indexer(activations.table["label"])
    with tqdm(total=last * steps, desc="fine-tune", unit=" steps", leave=False, disable=None) as bar:
        bar.update(progress.epoch * steps)
        while progress.epoch < last:
            epoch = progress.epoch + 1
            sound = _epoch(top, activations, train, classes, epoch, steps, settings, bar)
            found = judging.at(epoch) if sound else None
            if found is None or not np.isfinite(found["cross_entropy"]).all():
                return (
                    f"Training diverged in epoch {epoch}, so the epochs before it count alone; a lower "
                    f"fine_tune_learning_rate than {settings.learning_rate:g} may win more."
                )
            progress.add(epoch, found, top.state())
            if watch is not None:
                watch(progress.history)
    return ""


def _epoch(
    top: Top,
    activations: Activations,
    train: np.ndarray,
    classes: np.ndarray,
    epoch: int,
    steps: int,
    settings: TuningSettings,
    bar: Any,
) -> bool:
    """Train one epoch; False where the loss is no longer a number. The next batch is read while one is learnt."""
    random = np.random.default_rng([settings.seed, epoch])
    order = random.permutation(train)
    variants = random.choice(activations.learnt, len(order))
    parts = np.array_split(np.arange(len(order)), steps)

    def read(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return activations.batch(order[part], variants[part]), classes[order[part]]

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, parts[0])
        for number in range(steps):
            x, y = waiting.result()
            if number + 1 < steps:
                waiting = pool.submit(read, parts[number + 1])
            done = (epoch - 1) * steps + number + 1
            if not np.isfinite(top.step(x, y, done, steps)):
                return False
            bar.update()
    return True


class _Judging:
    """Judges the top on validation images and on training images, all in the same way."""

    def __init__(self, top: Top, activations: Activations, seed: int, at_most: int) -> None:
        self._top, self._activations = top, activations
        split = activations.table["split"].to_numpy()
        self._rows = {name: np.flatnonzero(split == name) for name in ("train", "validation")}
        if len(self._rows["train"]) > at_most:
            some = np.random.default_rng(seed).choice(self._rows["train"], at_most, replace=False)
            self._rows["train"] = np.sort(some)

    def at(self, epoch: int) -> pd.DataFrame:
        found = []
        for name, rows in self._rows.items():
            if len(rows):
                labels = self._activations.table["label"].iloc[rows]
                logits = predict(self._top, self._activations, rows)
                classes = pd.Index(self._top.labels).get_indexer(labels)
                right = scores.correct(logits, labels, self._top.labels)
                loss = calibration.cross_entropies(logits, classes).mean()
                found.append({"step": epoch, "split": name, "accuracy": right.mean(), "cross_entropy": loss})
        return pd.DataFrame(found)


@enough_memory()
def logits(graph: Any, activations: Activations, found: Tuned, settings: TuningSettings) -> np.ndarray:
    """What a tuned top says of all images, as of `predict`; graph and settings are those of `fine_tune`."""
    given = cutting.with_values(graph, found.weights), activations.cut, found.head, settings
    top = Top(*given, devices.found())
    return predict(top, activations, np.arange(len(activations.table)))


def predict(top: Top, activations: Activations, rows: np.ndarray) -> np.ndarray:
    """Logits of images, from their activations, as the mean over their views: float32 [rows, labels]."""
    parts = [rows[at : at + 64] for at in range(0, len(rows), 64)]
    views = [
        np.concatenate([top.logits(activations.batch(part, [view] * len(part))) for part in parts])
        for view in activations.views
    ]
    return np.mean(views, axis=0)


def _key(activations: Activations, head: Head, settings: TuningSettings, until: int | None) -> str:
    """Identify all that shapes what comes out: 64 hex digits."""
    found = hashlib.sha256(repr((asdict(settings), until, activations.cut, activations.learnt)).encode())
    found.update(repr((activations.cache.folder.name, activations.known_by, head.labels)).encode())
    found.update(repr(activations.table[["label", "split"]].to_numpy().tolist()).encode())
    found.update(np.ascontiguousarray(head.kernel).tobytes() + np.ascontiguousarray(head.bias).tobytes())
    return found.hexdigest()


def refitting(activations: Activations) -> Activations:
    """The same images, with those of validation in training."""
    split = activations.table["split"].replace({"validation": "train"})
    return replace(activations, table=activations.table.assign(split=split))
