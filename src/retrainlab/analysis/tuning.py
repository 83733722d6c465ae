"""What fine-tuning would win: the network above a cut learns on as many re-splits as there are minutes for."""

import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import cuts, cutting, freezing
from ..backbones.cuts import Cut, short
from ..bottlenecks import activations, cluster
from ..bottlenecks.features import Features
from ..evaluation.finding import Finding
from ..evaluation.intervals import clustered_mean, points
from ..training import finetuning, solver
from ..training.finetuning import TuningSettings
from ..training.heads import HeadSettings
from . import levers, resampling

_LEARNING = 8  # what learning from an image costs above the cut, in LiteRT's forward passes through that


@dataclass(frozen=True)
class Trial:
    """Fine-tuning as it was tried.

    Attributes:
        cut: above which the network learnt.
        splits: [folds, n] of one complete repeat.
        minutes: what a fold takes, about.
        result: of the first folds, as many as there was time for; None where there was time for none.
    """

    cut: Cut
    splits: np.ndarray
    minutes: float
    result: resampling.CrossValidation | None

    @property
    def folds(self) -> int:
        """How many were tried."""
        return 0 if self.result is None else len(self.result.splits)


def attempt(
    features: Features,
    splits: np.ndarray,
    settings: HeadSettings,
    tuning: TuningSettings,
    fine_tune_from: str,
    minutes: float,
    cores: int,
) -> Trial:
    """Fine-tune on the training images of each fold, to the last epoch, and judge all its images.

    Nothing is chosen by the images that judge: not the epoch either, so that a run, which chooses one, may do better.

    Args:
        features: what the run learns from, of the images that train and validate; its last layer is where it starts.
        splits: [members, n] as of `resampling.repeated_folds`; the first complete repeat is used.
        settings: of the run's layer.
        fine_tune_from: as of `cutting.choose`.
        minutes: that it may take, about.

    Raises:
        RetrainLabError: the network cannot be fine-tuned, there are fewer than two folds, or see `activations.load`.
    """
    splits = levers.one_repeat(splits)
    cut = cutting.choose(cuts.of(features.plain), fine_tune_from)
    passes = tuning.epochs * (splits == "train").sum() / len(splits)
    each = passes * features.milliseconds * cut.above * _LEARNING / cores / 60_000
    folds = min(len(splits), int(minutes / each))
    if not folds:
        return Trial(cut, splits, each, None)
    labels = features.table["label"].to_numpy()
    logits = _logits(features, cut, splits[:folds], settings, tuning)
    return Trial(cut, splits, each, resampling.judge(labels, splits[:folds], logits))


@dataclass(frozen=True)
class _Folds:
    """Fine-tunes on folds of these features, from their last layer on; a worker makes its own graph."""

    features: Features
    settings: HeadSettings
    cut: Cut
    tuning: TuningSettings

    @cached_property
    def graph(self) -> Any:
        return cutting.above(freezing.freeze(self.features.plain), self.cut)

    def logits(self, fold: tuple[int, np.ndarray]) -> np.ndarray:
        """What comes of a fold, (its number, its split [n]), says of all images, float32 [n, labels]."""
        features, split = self.features, fold[1]
        (head,) = solver.solve(features.matrix, features.table["label"], split, [self.settings])
        kept = self.prepared(split == "train")
        with tempfile.TemporaryDirectory() as place:
            found = finetuning.fine_tune(self.graph, kept, head, self.tuning, Path(place), until=self.tuning.epochs)
        return finetuning.logits(self.graph, kept, found, self.tuning)

    def prepared(self, learns: np.ndarray) -> activations.Activations:
        """The activations of all images, computed where they are missing; `learns`: bool [n]."""
        table = self.features.table.assign(split=np.where(learns, "train", "test"))
        return activations.load(self.features, self.cut, table)


def _logits(
    features: Features, cut: Cut, splits: np.ndarray, settings: HeadSettings, tuning: TuningSettings
) -> list[np.ndarray]:
    """Fine-tune on each fold; what each says of all images, float32 [n, labels]."""
    last = features if features.backbone.settings.depth == "last" else features.reading(depth="last")
    plain = replace(settings.plain, weight_decay=settings.weight_decay or 0.1)  # one of 0 has no solution
    folds = _Folds(last, plain, cut, tuning)
    folds.prepared((splits == "train").any(axis=0))
    done = {number: logits for (number, _), logits in cluster.spread(folds.logits, list(enumerate(splits)), "folds")}
    return [done[number] for number in range(len(splits))]


def compare(trial: Trial, features: Features, settings: HeadSettings, groups: np.ndarray, tuned: bool) -> Finding:
    """Compare a trial with layers on the network as it is, on the same images.

    Args:
        features, settings: of the run, as of `attempt`.
        groups: [n], images that depend on one another, for the intervals.
        tuned: whether the run is fine-tuned already, so that this is no advice but what it has brought.

    Returns:
        Numbers: tuning, {what to do: change of validation accuracy}; or brought, that change, where it is done already.
    """
    name = f"Fine-tuning above '{short(trial.cut.name)}' (fine_tune_from)"
    if trial.result is None:
        said = f"{name}: not tried, since one fold takes about {_minutes(trial.minutes)}, and a third of "
        return Finding("", f"{said}budget_minutes is less.")
    own = levers.right(features.matrix, features.table["label"].to_numpy(), trial.splits, settings)
    gain = clustered_mean(trial.result.hits - own, groups)
    on = f"on {trial.folds} of {len(trial.splits)} folds, about {_minutes(trial.minutes)} each"
    said = f"{name}, {on}: validation accuracy {points(gain)}."
    numbers: dict[str, Any] = {"brought": gain} if tuned else {"tuning": {name: gain}}
    return Finding("", said, numbers=numbers)


def _minutes(minutes: float) -> str:
    return "a minute" if round(minutes) <= 1 else f"{minutes:.0f} minutes"
