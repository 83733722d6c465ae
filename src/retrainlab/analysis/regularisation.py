"""What other settings and fewer steps would give: a path of settings, and early stopping, both judged on re-splits.

The best of many settings, or steps, looks better than it is. So gains are nested (Cawley & Talbot 2010): what is judged
by some images was chosen by others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RetrainLabError
from ..evaluation.intervals import clustered_mean
from ..training.heads import HeadSettings
from .resampling import CrossValidation, corrected_interval, evaluation_steps, figures, train_in_parts


@dataclass(frozen=True)
class SettingsPath:
    """What other settings would have given.

    Attributes:
        table: weight_decay, learning_rate, step, then accuracy and cross_entropy of train and validation, mean over
            folds; a row a setting and step.
        current, chosen: rows of the table: the settings as they are, and those of the lowest validation cross-entropy.
        by_fold: what each fold was given by the others: weight_decay, learning_rate, step.
        accuracy: {"accuracy": chosen minus current validation accuracy, "interval": its 95% interval}, paired.
        gap: the same of train minus validation accuracy; below 0 the gap has become smaller.
        left_out: learning rates that diverged.
    """

    table: pd.DataFrame
    current: pd.Series
    chosen: pd.Series
    by_fold: pd.DataFrame
    accuracy: dict[str, Any]
    gap: dict[str, Any]
    left_out: list[float]


@dataclass(frozen=True)
class EarlyStopping:
    """What stopping at the lowest validation cross-entropy would have won.

    Attributes:
        step: where the mean validation cross-entropy over re-splits is lowest.
        last: the last step.
        cross_entropy, accuracy: mean gain in validation by stopping (nats saved; share of images won), and its 95%
            interval (low, high).
        turns_up: whether the rise after `step` is beyond noise: the interval of cross_entropy lies above 0.
    """

    step: int
    last: int
    cross_entropy: tuple[float, float, float]
    accuracy: tuple[float, float, float]
    turns_up: bool


def settings_path(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    weight_decays: Sequence[float],
    learning_rates: Sequence[float],
    groups: np.ndarray | None = None,
    steps: Sequence[int] | None = None,
) -> SettingsPath:
    """Try every weight decay with every learning rate on every fold, as one stack, and say what the best one wins.

    Each fold is judged with the setting that the other folds chose by their mean validation cross-entropy.

    Args:
        features, labels, splits: as of `resampling.cross_validate`; only the first complete repeat is used, in which no
            image validates twice.
        weight_decays, learning_rates: the current ones are added where they are missing.
        groups: [n], images that depend on one another, for the intervals; None for none.
        steps: when to look; the current number of steps is added. None for an eighth, a quarter, half and all of them.

    Raises:
        RetrainLabError: fewer than two folds, or training diverges even with the smallest learning rate.
    """
    splits = np.asarray(splits, dtype=object)
    splits = splits[np.cumsum(splits == "validation", axis=0).max(axis=1) <= 1]
    if len(splits) < 2:
        raise RetrainLabError(f"Settings are chosen on {len(splits)} re-split. Expected at least two: one to judge by.")
    looks = sorted({*map(int, steps or evaluation_steps(settings, 4, 8)), settings.how_many_training_steps})
    decays = sorted({*map(float, weight_decays), settings.weight_decay})
    rates = sorted({*map(float, learning_rates), settings.learning_rate})
    grid, history, hits, left_out = _train_grid(features, labels, splits, settings, decays, rates, looks)

    table = figures(history, ["setting", "step"]).reset_index()  # mean over folds
    table.insert(0, "weight_decay", [grid[number].weight_decay for number in table["setting"]])
    table.insert(1, "learning_rate", [grid[number].learning_rate for number in table["setting"]])
    validation = history[history["split"] == "validation"]
    losses = validation.pivot_table(index=["setting", "step"], columns="fold", values="cross_entropy")
    columns = ["weight_decay", "learning_rate", "step"]
    as_is = [settings.weight_decay, settings.learning_rate, settings.how_many_training_steps]
    current = int((table[columns].to_numpy() == as_is).all(axis=1).argmax())
    best = int(losses.mean(axis=1).to_numpy().argmin())
    picks = {fold: int(losses.drop(columns=fold).mean(axis=1).to_numpy().argmin()) for fold in losses}

    at = losses.index.tolist()
    now, then = dict.fromkeys(picks, at[current]), {fold: at[place] for fold, place in picks.items()}
    train_before, before, train_after, after = (
        _share_right(pick, name, splits, hits) for pick in (now, then) for name in ("train", "validation")
    )
    units = np.arange(len(features)) if groups is None else groups
    return SettingsPath(
        table.drop(columns="setting"),
        table.loc[current].drop("setting"),
        table.loc[best].drop("setting"),
        table.loc[list(picks.values()), columns].assign(fold=list(picks)).reset_index(drop=True),
        clustered_mean(after - before, units),
        clustered_mean(train_after - after - (train_before - before), units),
        left_out,
    )


def describe(row: pd.Series) -> str:
    """Name settings, a row of `SettingsPath.table`: by its parameters, as `report -p` takes them."""
    steps = f"how_many_training_steps {row['step']:.0f}"
    return f"weight_decay {row['weight_decay']:g}, learning_rate {row['learning_rate']:.3g}, {steps}"


def early_stopping(result: CrossValidation) -> EarlyStopping:
    """Find where validation cross-entropy is lowest, whether its rise since is beyond noise, and what stopping won.

    Each re-split is stopped where those that validate none of its images are lowest on average, and its own gain is
    what counts. Intervals are corrected ones of the mean.

    Raises:
        RetrainLabError: fewer than two re-splits validate.
    """
    mine = result.history[(result.history["split"] == "validation") & (result.history["step"] > 0)]
    quantities = ("cross_entropy", "accuracy")
    losses, accuracy = (mine.pivot_table(index="member", columns="step", values=name) for name in quantities)
    if len(losses) < 2:
        raise RetrainLabError(f"{len(losses)} re-split has validation images. Expected two or more to tell noise by.")
    validates = (result.splits[losses.index] == "validation").astype(np.float32)
    apart = validates @ validates.T == 0
    table = losses.to_numpy()
    stop = [int(table[others if others.any() else slice(None)].mean(axis=0).argmin()) for others in apart]
    own = np.arange(len(table))
    share = result.share_validation
    saved = table[:, -1] - table[own, stop]
    won = accuracy.to_numpy()[own, stop] - accuracy.to_numpy()[:, -1]
    saving = (float(saved.mean()), *corrected_interval(saved, share))
    return EarlyStopping(
        int(losses.columns[table.mean(axis=0).argmin()]),
        int(losses.columns[-1]),
        saving,
        (float(won.mean()), *corrected_interval(won, share)),
        saving[1] > 0,
    )


def _train_grid(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    decays: list[float],
    rates: list[float],
    looks: list[int],
) -> tuple[list[HeadSettings], pd.DataFrame, dict[int, np.ndarray], list[float]]:
    """Train a grid on all folds; where that diverges, again without the largest learning rate.

    Args:
        decays, rates, looks: weight decays, learning rates and steps to look at, ascending.

    Returns:
        (grid, history, hits, left_out): the settings; their history without step 0, with the columns setting and fold;
        step -> bool [n, settings x folds], whether a row was got right; learning rates that diverged.
    """
    base, left_out = replace(settings, how_many_training_steps=looks[-1]), []
    while True:
        grid = [replace(base, weight_decay=decay, learning_rate=rate) for decay in decays for rate in rates]
        stack = [one for one in grid for _ in splits]
        try:
            parts = list(train_in_parts(features, labels, np.tile(splits, (len(grid), 1)), stack, looks))
            break
        except RetrainLabError:
            if len(rates) == 1 or rates[-1] <= settings.learning_rate:
                raise
            left_out.append(rates[-1])
            rates = rates[:-1]
    history = pd.concat([history for _, _, history, _ in parts], ignore_index=True)
    history = history[history["step"] > 0]
    history = history.assign(setting=history["member"] // len(splits), fold=history["member"] % len(splits))
    hits = {step: np.concatenate([hits[step] for *_, hits in parts], axis=1) for step in looks}
    return grid, history, hits, left_out


def _share_right(
    picks: Mapping[int, tuple[int, int]], name: str, splits: np.ndarray, hits: dict[int, np.ndarray]
) -> np.ndarray:
    """Share of the folds that have a row in this split and, as picked for them, get it right: [n].

    picks: fold -> (setting, step).
    """
    right = np.zeros(splits.shape[1])
    for fold, (setting, step) in picks.items():
        right += hits[step][:, setting * len(splits) + fold] & (splits[fold] == name)
    with np.errstate(invalid="ignore"):
        return right / (splits[list(picks)] == name).sum(axis=0)
