"""Heads on their way: with the settings as they are, and with others, as one stack that is looked at as it trains.

How far gradient descent has come is told by learning rate times steps, about: a head with a tenth of the rate stands
where this one stood after a tenth of the steps. So lower rates than the given ones are not tried; fewer steps are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from ..errors import RetrainLabError
from ..training.heads import HeadSettings
from .resampling import evaluation_steps, figures, first_repeat, train_in_parts

NAMES = ["weight_decay", "learning_rate", "how_many_training_steps"]
_LOOKS = 10


@dataclass(frozen=True)
class Paths:
    """What heads were like after a hundredth of their steps, and nine times up to all of them.

    Attributes:
        history: with the settings as they are: member, step, split (train or validation), accuracy (0 to 1),
            cross_entropy (nats); see `trainer.train`.
        splits: [members, n], of these members.
        folds: how many of them, the first, settings were tried on: a complete repeat, in which no image validates
            twice, or less.
        table: all settings, a row for each number of steps: `NAMES`, then accuracy and cross_entropy of train and
            validation, mean over the folds. The settings as they are come first.
        losses: validation cross-entropy, [rows of `table`, folds].
        left_out: learning rates that make training diverge.
    """

    history: pd.DataFrame
    splits: np.ndarray
    folds: int
    table: pd.DataFrame
    losses: np.ndarray
    left_out: list[float]
    right: np.ndarray  # of each row and fold what was got right, in bits: uint8 [rows, folds, n / 8]

    def hits(self, row: int, fold: int) -> np.ndarray:
        """Tell which images a row of the table got right on a fold: bool [n]."""
        return np.unpackbits(self.right[row, fold], count=self.splits.shape[1]).astype(bool)


def train(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    folds: int = 0,
    weight_decays: Sequence[float] = (),
    learning_rates: Sequence[float] = (),
) -> Paths:
    """Train with the settings as they are on every re-split, and with others on the first `folds`.

    Args:
        features, labels, splits: as of `resampling.cross_validate`.
        weight_decays, learning_rates: each is tried with each; the present ones stand for one that is not given. Where
            the largest rate diverges, all is trained without it.

    Raises:
        RetrainLabError: training diverges with the settings as they are.
    """
    folds, left_out = len(first_repeat(splits[:folds])), list[float]()
    rates = sorted({*map(float, learning_rates)})
    while True:
        others = product(weight_decays or [settings.weight_decay], rates or [settings.learning_rate])
        varied = {replace(settings, weight_decay=float(decay), learning_rate=rate): None for decay, rate in others}
        grid = [settings, *(one for one in varied if one != settings)]
        try:
            return _train(features, labels, splits, folds, grid, left_out)
        except RetrainLabError:
            if not rates or rates[-1] <= settings.learning_rate:
                raise
            left_out.append(rates.pop())


def _train(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    folds: int,
    grid: list[HeadSettings],
    left_out: list[float],
) -> Paths:
    members = [(0, member) for member in range(len(splits))]
    members += [(number, fold) for number in range(1, len(grid)) for fold in range(folds)]
    setting, member = np.array(members).T
    looks = evaluation_steps(grid[0], _LOOKS)
    stack = [grid[number] for number in setting]
    parts = list(train_in_parts(features, labels, splits[member], stack, looks))
    history = pd.concat([history for _, history, _ in parts], ignore_index=True)
    history = history.assign(setting=setting[history["member"]], member=member[history["member"]])
    tried = history[(history["member"] < folds) & (history["step"] > 0)]
    table = figures(tried, ["setting", "step"]).reset_index().rename(columns={"step": NAMES[2]})
    table.insert(0, "learning_rate", [grid[number].learning_rate for number in table["setting"]])
    table.insert(0, "weight_decay", [grid[number].weight_decay for number in table.pop("setting")])
    judged = tried[tried["split"] == "validation"]
    losses = judged.pivot_table("cross_entropy", ["setting", "step"], "member").to_numpy()
    steps = [np.concatenate([hits[step] for *_, hits in parts], axis=1) for step in looks]  # each [n / 8, members]
    right = np.stack(steps)[:, :, member < folds]
    right = right.reshape(*right.shape[:2], len(grid), folds).transpose(2, 0, 3, 1)
    right = right.reshape(len(grid) * len(looks), folds, right.shape[-1])
    mine = history[history["setting"] == 0].drop(columns="setting").reset_index(drop=True)
    return Paths(mine, splits, folds, table, losses, left_out, right)
