"""The many trainings that questions about one run share; each is done when it is first needed, and once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..bottlenecks.features import Features
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..files import taken
from ..images import grouping
from ..pixels.decoding import ImageFolder
from ..training.finetuning import TuningSettings
from ..training.heads import HeadSettings
from . import budget, leaks, neighbours, paths, resampling, tuning
from .learning_curve import LearningCurve, measure


@dataclass(frozen=True, eq=False)
class Trainings:
    """A trained run, and what is trained to ask about it. Test images count only where near-duplicates are looked for.

    Attributes:
        matrix: float32 [n, dim], bottlenecks of all images.
        table: [n], their rows of the images table: path, label, split, sha256.
        settings: how the run was trained.
        metrics, info: its metrics.json and run.json.
        predictions: its predictions table, in `details`; or why there is none.
        photos: the folder that the paths count from.
        budget_minutes: what all may take on two cores, about.
        seed: the same seed gives the same numbers.
        source: where `matrix` comes from, to read more of the same images; None where that cannot be asked.
    """

    matrix: np.ndarray
    table: pd.DataFrame
    settings: HeadSettings
    metrics: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    predictions: Finding = field(default_factory=lambda: Finding(""))
    photos: ImageFolder = field(default_factory=lambda: ImageFolder(Path()))
    budget_minutes: float = 12.0
    seed: int = 0
    source: Features | None = None

    @property
    def notes(self) -> str:
        """What is left out, and what the layers that are trained here lack."""
        if self.tuned_from:
            return (
                f"{self.plan.sentence}\nThe network of this run was fine-tuned above '{self.tuned_from}'. The layers "
                "below stand on the network as it was; the gap, on which the verdict rests, is that of fine-tuned ones."
            )
        extras = ("flip_left_right", "random_crop", "random_scale", "random_brightness", "start_from")
        if not any(self.info.get("learnt_from", {}).get(name) for name in extras):
            return self.plan.sentence
        lacking = (
            "This run learnt from distorted images or began with another run's layer; the layers below do neither."
        )
        return f"{self.plan.sentence}\n{lacking}"

    @cached_property
    def plan(self) -> budget.Plan:
        of = self.matrix.shape[1], len(set(self.labels)), len(self.labels)
        return budget.plan(self.budget_minutes, self.settings, *of)

    @cached_property
    def inside(self) -> np.ndarray:
        """The images that train and validate, bool [n]; below, n counts these."""
        return (self.table["split"] != "test").to_numpy()

    @cached_property
    def rows(self) -> pd.DataFrame:
        return self.table[self.inside].reset_index(drop=True)

    @cached_property
    def features(self) -> np.ndarray:
        return taken(self.matrix, self.inside)

    @cached_property
    def labels(self) -> np.ndarray:
        return self.rows["label"].to_numpy()

    @cached_property
    def duplicates(self) -> leaks.Duplicates:
        return leaks.find(*neighbours.nearest(self.matrix), self.table["label"].to_numpy())

    @cached_property
    def copies(self) -> np.ndarray:
        """Groups of images that are the same by content or by name, or that a person put together, [n]."""
        return grouping.groups(self.rows).to_numpy()

    @cached_property
    def alike(self) -> np.ndarray:
        """Groups of images that are the same or nearly so, int [n]."""
        return leaks.groups(self.duplicates.pairs, grouping.groups(self.table))[self.inside]

    @cached_property
    def apart(self) -> bool:
        """Whether near-duplicates that are no copies stay together in re-splits."""
        return len(set(self.groups)) < len(set(self.copies))

    @cached_property
    def resplits(self) -> tuple[np.ndarray, np.ndarray, str]:
        """(splits [members, n], groups [n] that stay together in them, why those are not `alike`)."""
        try:
            return self.split(self.alike, self.plan.resplits), self.alike, ""
        except RetrainLabError as error:
            if len(set(self.alike)) == len(set(self.copies)):
                raise
            said = (
                f"What other splits would give cannot be told. {error}\n"
                "So near-duplicates are not kept together here: nothing would be left to judge by."
            )
            return self.split(self.copies, self.plan.resplits), self.copies, said

    @property
    def splits(self) -> np.ndarray:
        return self.resplits[0]

    @property
    def groups(self) -> np.ndarray:
        return self.resplits[1]

    def split(self, groups: np.ndarray, count: int) -> np.ndarray:
        """Split again, `count` times, what is of one group together: [count, n]."""
        split = self.rows["split"].to_numpy()
        return resampling.repeated_folds(self.labels, groups, split, count, self.seed)

    def cross_validate(self, splits: np.ndarray) -> resampling.CrossValidation:
        return resampling.cross_validate(self.features, self.labels, splits, self.settings)

    @cached_property
    def crossed(self) -> resampling.CrossValidation:
        return self.cross_validate(self.splits)

    @cached_property
    def paths(self) -> paths.Paths:
        """A few of the re-splits on the way to where `crossed` ends, and what other settings give on some of them."""
        plan, resplits = self.plan, self.splits[: self.plan.stepped]
        tried = plan.folds, plan.weight_decays, plan.learning_rates
        return paths.train(self.features, self.labels, resplits, self.settings, *tried)

    @cached_property
    def shuffled(self) -> resampling.CrossValidation:
        splits = self.splits[: self.plan.shuffled]
        return resampling.shuffled(self.features, self.labels, splits, self.settings, self.seed)

    @cached_property
    def curve(self) -> LearningCurve:
        splits = self.splits[: self.plan.curve]
        return measure(self.features, self.labels, splits, self.settings, self.groups, self.seed)

    @property
    def tuned_from(self) -> str:
        """The cut above which the run was fine-tuned; "" where it was not."""
        return str(self.info.get("learnt_from", {}).get("fine_tune_from", ""))

    @cached_property
    def fine_tuned(self) -> tuning.Trial:
        """Fine-tuning on as many re-splits as a third of the minutes allows; as the run did it, if it did."""
        if self.source is None:
            raise RetrainLabError("Its images are not at hand.")
        learnt, asked = self.info.get("learnt_from", {}), TuningSettings(seed=self.seed)
        if self.tuned_from:
            asked = replace(asked, epochs=learnt["fine_tune_epochs"], learning_rate=learnt["fine_tune_learning_rate"])
        given = self.splits, self.settings, asked, self.tuned_from or "auto"
        return tuning.attempt(self.judging, *given, self.budget_minutes / 3, os.cpu_count() or 1)

    @cached_property
    def judging(self) -> Features:
        """The features of the images that train and validate, to read more of; only with `source`."""
        assert self.source is not None
        return self.source.rows(lambda table: table["split"] != "test")

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The predictions table of what one layer says of each image that it has not seen."""
        return resampling.out_of_fold(self.crossed, self.rows)
