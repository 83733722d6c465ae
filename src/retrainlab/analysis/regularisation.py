"""What other settings and fewer steps would give: a path of settings, and early stopping, both judged on re-splits.

The best of many settings, or steps, looks better than it is. So gains are nested (Cawley & Talbot 2010): what is judged
by some images was chosen by others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..evaluation.intervals import clustered_mean, points
from ..training.heads import HeadSettings
from .resampling import (
    corrected_interval,
    evaluation_steps,
    figures,
    first_repeat,
    share_validation,
    train_in_parts,
)

_NAMES = ["weight_decay", "learning_rate", "how_many_training_steps"]


def settings_path(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    weight_decays: Sequence[float],
    learning_rates: Sequence[float],
    groups: np.ndarray,
) -> Finding:
    """Try every weight decay with every learning rate on every fold, as one stack, and say what the best one wins.

    Looked at after an eighth, a quarter, half and all of the steps. Each fold is judged with the setting that the other
    folds chose by their mean validation cross-entropy.

    Args:
        features, labels, splits: as of `resampling.cross_validate`; only the first complete repeat is used, in which no
            image validates twice.
        weight_decays, learning_rates: the current ones are added where they are missing.
        groups: [n], images that depend on one another, for the intervals.

    Returns:
        Numbers: settings and settings_gap, what those that were chosen change in validation accuracy and in the gap,
        paired, {"accuracy", "interval"}; settings_train, what they change in training accuracy; current and chosen, by
        name. Details: the table of all settings: weight_decay, learning_rate, how_many_training_steps, then accuracy
        and cross_entropy of train and validation, mean over folds.

    Raises:
        RetrainLabError: fewer than two folds, or training diverges even with the smallest learning rate.
    """
    splits = first_repeat(splits)
    if len(splits) < 2:
        raise RetrainLabError(f"Settings are chosen on {len(splits)} re-split. Expected at least two: one to judge by.")
    decays = sorted({*map(float, weight_decays), settings.weight_decay})
    rates = sorted({*map(float, learning_rates), settings.learning_rate})
    table, losses, hits, left_out = _train_grid(features, labels, splits, settings, decays, rates)
    as_is = [getattr(settings, name) for name in _NAMES]
    current = int((table[_NAMES].to_numpy() == as_is).all(axis=1).argmax())
    chosen = int(losses.mean(axis=1).argmin())
    picks = [int(np.delete(losses, fold, axis=1).mean(axis=1).argmin()) for fold in range(len(splits))]
    train, validation = (
        _share_right(picks, mine, hits) - _share_right([current] * len(picks), mine, hits)
        for mine in (splits == "train", splits == "validation")
    )
    numbers: dict[str, Any] = {
        "settings": clustered_mean(validation, groups),
        "settings_gap": clustered_mean(train - validation, groups),
        "settings_train": float(table.loc[chosen, "train accuracy"] - table.loc[current, "train accuracy"]),
        "current": {name: table.loc[current, name].item() for name in _NAMES},
        "chosen": {name: table.loc[chosen, name].item() for name in _NAMES},
    }
    said = [f"As it is: {describe(numbers['current'])}. Chosen: {describe(numbers['chosen'])}."]
    if chosen == current:
        said.append("These are the settings as they are.")
    else:
        changes = f"changes by {points(numbers['settings'])}, and the gap by {points(numbers['settings_gap'])}"
        said.append(f"With these, validation accuracy {changes}: what helps new images need not shrink the gap.")
    said += _at_an_end(numbers["chosen"], decays, rates) if chosen != current else []
    said += [f"Learning rate {rate:g} makes training diverge." for rate in left_out]
    draw = partial(plots.settings_path, table, table.loc[current], table.loc[chosen])
    return Finding("What other settings would give", "\n".join(said), numbers=numbers, draw=draw, details=table)


def _at_an_end(chosen: Mapping[str, float], decays: list[float], rates: list[float]) -> list[str]:
    """Say which settings were chosen at an end of what was tried, where there is more to try beyond it."""
    at = {"weight_decay": chosen["weight_decay"] == max(decays) > 0}
    at["learning_rate"] = len(rates) > 1 and chosen["learning_rate"] in (min(rates), max(rates))
    ends = " and ".join(name for name, there in at.items() if there)
    return [f"Of what was tried, that is the most extreme {ends}; going further may win more."] if ends else []


def describe(settings: Mapping[str, float]) -> str:
    """Name settings by their parameters, as `report -p` takes them."""
    decay, rate, steps = (settings[name] for name in _NAMES)
    return f"weight_decay {decay:g}, learning_rate {rate:.3g}, how_many_training_steps {steps:.0f}"


def early_stopping(history: pd.DataFrame, splits: np.ndarray) -> Finding:
    """Find where validation cross-entropy is lowest, whether its rise since is beyond noise, and what stopping won.

    Each re-split is stopped where those that validate none of its images are lowest on average, and its own gain is
    what counts. Intervals are corrected ones of the mean.

    Args:
        history: as of `resampling.by_step`, of these splits.

    Returns:
        Numbers: stopping, the mean change of validation accuracy, {"accuracy", "interval"}; stopping_saves, of
        cross-entropy in nats, {"value", "interval"}: above 0, its rise after the lowest step is beyond noise; that step
        and the last one.

    Raises:
        RetrainLabError: fewer than two re-splits validate.
    """
    mine = history[(history["split"] == "validation") & (history["step"] > 0)]
    losses, accuracy = (mine.pivot_table(name, "member", "step") for name in ("cross_entropy", "accuracy"))
    if len(losses) < 2:
        raise RetrainLabError(f"{len(losses)} re-split has validation images. Expected two or more to tell noise by.")
    validates = (splits[losses.index] == "validation").astype(np.float32)
    table = losses.to_numpy()
    apart = validates @ validates.T == 0
    stop = [int(table[others if others.any() else slice(None)].mean(axis=0).argmin()) for others in apart]
    saved = table[:, -1] - table[np.arange(len(table)), stop]
    won = accuracy.to_numpy()[np.arange(len(table)), stop] - accuracy.to_numpy()[:, -1]
    share = share_validation(splits)
    (low, high), rise = corrected_interval(saved, share), float(saved.mean())
    gain = {"accuracy": float(won.mean()), "interval": list(corrected_interval(won, share))}
    step, last = int(losses.columns[table.mean(axis=0).argmin()]), int(losses.columns[-1])
    said = (
        f"Validation cross-entropy is lowest at step {step:,} of {last:,}; its rise since, {rise:.4f} "
        f"[{low:.4f}, {high:.4f}] nats, is {'beyond' if low > 0 else 'within'} noise.\n"
        f"Stopping there changes validation accuracy by {points(gain)}."
    )
    saves = {"value": rise, "interval": [low, high]}
    numbers = {"stopping": gain, "stopping_saves": saves, "stopping_step": step, "last_step": last}
    return Finding("What stopping earlier would win", said, numbers=numbers)


def _train_grid(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    decays: list[float],
    rates: list[float],
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list[float]]:
    """Train a grid on all folds; where that diverges, again without the largest learning rate.

    Args:
        decays, rates: weight decays and learning rates, ascending.

    Returns:
        (table, losses, hits, left_out): as of `settings_path`; then, for each row of it, the validation cross-entropy
        [rows, folds], and bool [rows, folds, n] what was got right; learning rates that diverged.
    """
    looks, left_out = evaluation_steps(settings, 4, 8), []
    while True:
        grid = [replace(settings, weight_decay=decay, learning_rate=rate) for decay in decays for rate in rates]
        stack = [one for one in grid for _ in splits]
        try:
            parts = list(train_in_parts(features, labels, np.tile(splits, (len(grid), 1)), stack, looks))
            break
        except RetrainLabError:
            if rates[-1] <= settings.learning_rate:
                raise
            left_out.append(rates.pop())
    history = pd.concat([history for _, history, _ in parts], ignore_index=True).query("step > 0")
    history = history.assign(setting=history["member"] // len(splits), fold=history["member"] % len(splits))
    table = figures(history, ["setting", "step"]).reset_index()  # mean over folds
    table = table.rename(columns={"step": "how_many_training_steps"})
    table.insert(0, "learning_rate", [grid[number].learning_rate for number in table["setting"]])
    table.insert(0, "weight_decay", [grid[number].weight_decay for number in table.pop("setting")])
    validation = history[history["split"] == "validation"]
    losses = validation.pivot_table("cross_entropy", ["setting", "step"], "fold").to_numpy()
    steps = [np.concatenate([hits[step] for *_, hits in parts], axis=1) for step in looks]  # each [n, settings x folds]
    hits = np.stack(steps).reshape(len(looks), -1, len(grid), len(splits)).transpose(2, 0, 3, 1)
    return table, losses, hits.reshape(-1, len(splits), len(features)), left_out


def _share_right(rows: Sequence[int], mine: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Share of the folds that have an image and get it right, each with the settings of its row of `hits`: [n].

    rows: [folds]; mine: bool [folds, n]; hits: bool [rows, folds, n].
    """
    right = (hits[rows, np.arange(len(rows))] & mine).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return right / mine.sum(axis=0)
