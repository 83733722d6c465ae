"""What other settings and fewer steps would give: a path of settings, and early stopping, both judged on re-splits.

The best of many settings, or steps, looks better than it is. So gains are nested (Cawley & Talbot 2010): what is judged
by some images was chosen by others.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..evaluation.intervals import clustered_mean, points
from ..training.heads import HeadSettings
from .paths import NAMES, Paths
from .resampling import corrected_interval, share_validation


def settings_path(paths: Paths, settings: HeadSettings, groups: np.ndarray) -> Finding:
    """Say what the best of the settings and steps that were tried wins over those as they are, on every fold.

    Each fold is judged with the setting that the other folds chose by their mean validation cross-entropy.

    Args:
        settings: as they are.
        groups: [n], images that depend on one another, for the intervals.

    Returns:
        Numbers: settings and settings_gap, what those that were chosen change in validation accuracy and in the gap,
        paired, {"accuracy", "interval"}; settings_train, what they change in training accuracy; current and chosen, by
        name. Details: the table of `paths`.

    Raises:
        RetrainLabError: fewer than two folds.
    """
    if paths.folds < 2:
        raise RetrainLabError(f"Settings are chosen on {paths.folds} re-split. Expected at least two: one to judge by.")
    table, losses, splits = paths.table, paths.losses, paths.splits[: paths.folds]
    as_is = [getattr(settings, name) for name in NAMES]
    current = int((table[NAMES].to_numpy() == as_is).all(axis=1).argmax())
    chosen = int(losses.mean(axis=1).argmin())
    picks = [int(np.delete(losses, fold, axis=1).mean(axis=1).argmin()) for fold in range(len(splits))]
    train, validation = (
        _share_right(paths, picks, mine) - _share_right(paths, [current] * len(picks), mine)
        for mine in (splits == "train", splits == "validation")
    )
    numbers: dict[str, Any] = {
        "settings": clustered_mean(validation, groups),
        "settings_gap": clustered_mean(train - validation, groups),
        "settings_train": float(table.loc[chosen, "train accuracy"] - table.loc[current, "train accuracy"]),
        "current": {name: table.loc[current, name].item() for name in NAMES},
        "chosen": {name: table.loc[chosen, name].item() for name in NAMES},
    }
    said = [f"As it is: {describe(numbers['current'])}. Chosen: {describe(numbers['chosen'])}."]
    if chosen == current:
        said.append("These are the settings as they are.")
    else:
        changes = f"changes by {points(numbers['settings'])}, and the gap by {points(numbers['settings_gap'])}"
        said.append(f"With these, validation accuracy {changes}: what helps new images need not shrink the gap.")
    said += _at_an_end(numbers["chosen"], table) if chosen != current else []
    said += [f"Learning rate {rate:g} makes training diverge." for rate in paths.left_out]
    draw = partial(plots.settings_path, table, table.loc[current], table.loc[chosen])
    return Finding("What other settings would give", "\n".join(said), numbers=numbers, draw=draw, details=table)


def _at_an_end(chosen: Mapping[str, float], table: pd.DataFrame) -> list[str]:
    """Say which settings were chosen at an end of what was tried, where there is more to try beyond it."""
    decay, rate, steps = (chosen[name] == table[name].max() for name in NAMES)
    at = {"weight_decay": decay and chosen["weight_decay"] > 0}
    at["learning_rate"] = (
        rate and steps and chosen["learning_rate"] > table["learning_rate"].min()
    )  # with fewer steps it went less far
    ends = " and ".join(name for name, there in at.items() if there)
    return [f"Of what was tried, that is the most extreme {ends}; going further may win more."] if ends else []


def describe(settings: Mapping[str, float]) -> str:
    """Name settings by their parameters, as `report -p` takes them."""
    decay, rate, steps = (settings[name] for name in NAMES)
    return f"weight_decay {decay:g}, learning_rate {rate:.3g}, how_many_training_steps {steps:.0f}"


def early_stopping(paths: Paths) -> Finding:
    """Find where validation cross-entropy is lowest, whether its rise since is beyond noise, and what stopping won.

    Each re-split is stopped where those that validate none of its images are lowest on average, and its own gain is
    what counts. Intervals are corrected ones of the mean.

    Returns:
        Numbers: stopping, the mean change of validation accuracy, {"accuracy", "interval"}; stopping_saves, of
        cross-entropy in nats, {"value", "interval"}: above 0, its rise after the lowest step is beyond noise; that step
        and the last one.

    Raises:
        RetrainLabError: fewer than two re-splits validate.
    """
    history, splits = paths.history, paths.splits
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


def _share_right(paths: Paths, rows: Sequence[int], mine: np.ndarray) -> np.ndarray:
    """Share of the folds that have an image and get it right, each with the settings of its row of the table: [n].

    rows: [folds]; mine: bool [folds, n].
    """
    right = sum(paths.hits(row, fold) & mine[fold] for fold, row in enumerate(rows))
    with np.errstate(invalid="ignore"):
        return right / mine.sum(axis=0)
