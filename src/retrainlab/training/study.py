"""Settings tried side by side, one of them chosen on validation, and the head that it is trained to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from ..bottlenecks.features import Features
from ..evaluation.finding import Finding
from . import trainer
from .heads import Head, HeadSettings
from .trainer import Snapshot


@dataclass(frozen=True)
class Study:
    """A stack of settings that differ in weight decay, as validation sees them."""

    features: Features  # what was learnt from
    stack: list[HeadSettings]  # what was tried
    history: pd.DataFrame  # how they learnt, as of `trainer.train`
    chosen: int  # which of them has the lowest validation cross-entropy; the first without validation images
    start: Head | None  # that all began with, None for chance

    @property
    def settings(self) -> HeadSettings:
        """The settings that were chosen."""
        return self.stack[self.chosen]

    def show(self) -> Finding:
        """Which weight decay holds the layer back as much as it should."""
        from .. import plots

        table = trainer.table(self.stack, self.history)
        draw = partial(plots.choices, table, "weight_decay", self.chosen)
        said = f"weight_decay {self.settings.weight_decay:g} was chosen among {len(self.stack)}."
        if len(self.stack) > 1 and self.settings.weight_decay == max(one.weight_decay for one in self.stack):
            said += " It is the largest that was tried; an even larger one may do better."
        shown = table.style.format(precision=3).hide()
        return Finding("Which weight decay is right", said, table=shown, draw=draw if len(self.stack) > 1 else None)

    def refit(self) -> Head | None:
        """Train a head with the chosen settings on the images of training and validation together.

        None without validation images: there is nothing more to learn from.
        """
        if not (self.features.table["split"] == "validation").any():
            return None
        matrix, table = self.features.with_validation().learning
        steps = self.settings.how_many_training_steps
        (head,), _ = trainer.train(matrix, table["label"], table["split"], [self.settings], steps, start=self.start)
        return head

    def train(
        self,
        features: Features | None = None,
        eval_step_interval: int | Sequence[int] = (),
        watch: Callable[[Snapshot], None] | None = None,
    ) -> tuple[Head, pd.DataFrame]:
        """Train a head with the chosen settings, and tell its history; see `trainer.train`.

        `features`: other ones to learn from than those that the settings were chosen on.
        """
        matrix, table = (features or self.features).learning
        (head,), history = trainer.train(
            matrix, table["label"], table["split"], [self.settings], eval_step_interval, watch, self.start
        )
        return head, history.drop(columns="member")


def study(
    features: Features, settings: HeadSettings, weight_decay: Sequence[float], start: Head | None = None
) -> Study:
    """Try weight decays as one stack, on the same batches, and let validation choose one.

    Raises:
        RetrainLabError: a setting is impossible, there is no training image, or training diverges.
    """
    stack = settings.vary(weight_decay=[float(value) for value in weight_decay])
    matrix, table = features.learning
    quarter = max(1, settings.how_many_training_steps // 4)
    _, history = trainer.train(matrix, table["label"], table["split"], stack, quarter, start=start)
    return Study(features, stack, history, trainer.select(history), start)
