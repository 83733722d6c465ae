"""What fine-tuning would win: the network above a cut learns on as many re-splits as there are minutes for."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import cuts, cutting, freezing
from ..backbones.cuts import Cut, short
from ..bottlenecks import activations
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


def _logits(
    features: Features, cut: Cut, splits: np.ndarray, settings: HeadSettings, tuning: TuningSettings
) -> Iterator[np.ndarray]:
    """Fine-tune fold by fold; what each says of all images, float32 [n, labels]."""
    last = features if features.backbone.settings.depth == "last" else features.reading(depth="last")
    plain = replace(settings.plain, weight_decay=settings.weight_decay or 0.1)  # one of 0 has no solution
    graph = cutting.above(freezing.freeze(features.plain), cut)
    for split in splits:
        (head,) = solver.solve(last.matrix, features.table["label"], split, [plain])
        learns = features.table.assign(split=np.where(split == "train", "train", "test"))
        kept = activations.load(last, cut, learns)
        with tempfile.TemporaryDirectory() as place:
            found = finetuning.fine_tune(graph, kept, head, tuning, Path(place), until=tuning.epochs)
        yield finetuning.logits(graph, kept, found, tuning)


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
