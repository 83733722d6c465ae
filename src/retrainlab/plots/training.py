"""The figures of 03: how a head learns, and what it is worth, by split, by label, and in what it says of itself."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .style import COLOURS, LINES, PALETTE, UNITS, name_rows, new_axes, percent, short, some_rows, with_intervals


def curves(history: pd.DataFrame, quantity: str) -> Axes:
    """Accuracy or cross_entropy by step: training solid, validation dashed. `history`: of one head."""
    ax = new_axes(8, 3.4)
    for split, mine in history.groupby("split"):
        ax.plot(mine["step"], mine[quantity], LINES[split], color=COLOURS[split], label=split, linewidth=1.8)
    title = f"{UNITS[quantity].split(' (')[0].capitalize()} of both splits while training"
    ax.set(xlabel="training step", ylabel=UNITS[quantity], title=title, xlim=(0, max(history["step"].max(), 1)))
    if quantity == "accuracy":
        percent(ax.yaxis)
    trained = history.loc[history["step"] > 0, quantity]  # the untrained layer's figure would squeeze the rest
    margin = 0.08 * max(trained.max() - trained.min(), 1e-3)
    ax.set_ylim(trained.min() - margin, trained.max() + margin)
    ax.legend(title="split")
    return ax


def choices(table: pd.DataFrame, setting: str, chosen: int) -> Axes:
    """What a setting does to the cross-entropy of both splits, one point a head; a vertical line marks the chosen one.

    `table`: one row a head: the setting, "train cross_entropy" and, with validation images, "validation cross_entropy".
    """
    ax, places, name = new_axes(8, 3.4), np.arange(len(table)), setting.replace("_", " ")
    for split, line in LINES.items():
        if f"{split} cross_entropy" in table:
            ax.plot(places, table[f"{split} cross_entropy"], line, marker="o", color=COLOURS[split], label=split)
    ax.axvline(chosen, color="0.4", linewidth=1, linestyle=":", label="chosen")
    ax.set_xticks(places, [f"{value:g}" for value in table[setting]])
    ax.set(xlabel=name, ylabel=UNITS["cross_entropy"], title=f"{name.capitalize()}, tried side by side")
    ax.legend()
    return ax


def differences(changes: Mapping[str, dict], title: str) -> Axes:
    """Differences of accuracy in points with 95% intervals, one row each; a line marks none.

    `changes`: name -> {"accuracy", "interval"}, as of `intervals.paired_difference`; those without images are left out.
    """
    known = {name: change for name, change in changes.items() if change["accuracy"] is not None}
    ax = new_axes(8, max(1.5, 0.9 + 0.36 * len(known)))
    ax.axvline(0, color="0.6", linewidth=1)
    for place, change in enumerate(known.values()):
        measured = 100 * np.array([change["accuracy"], *change["interval"]])
        with_intervals(ax, place, measured, PALETTE[0], 3, markersize=7)
    name_rows(ax, [short(name.replace("_", " "), 60) for name in known])
    ax.set(xlabel="percentage points, with 95% interval", title=title)
    return ax


def accuracies(metrics: Mapping[str, Any], published: dict[str, float] | None = None) -> Axes:
    """Accuracy of the three splits with 95% intervals; lines for what others published, method -> accuracy.

    `metrics`: what `scores.summarise` returned; splits without images are left out.
    """
    ax = new_axes(8, 2.2)
    above: dict[str, Any] = {"textcoords": "offset points", "ha": "center"}
    top: dict[str, Any] = above | {"xycoords": ("data", "axes fraction"), "fontsize": "x-small"}
    for method, accuracy in (published or {}).items():
        ax.axvline(accuracy, color="0.45", linewidth=1.2, linestyle=":")
        ax.annotate(f"{method}: {accuracy:.1%}", (accuracy, 1), (0, 3), **top)
    present = {split: metrics[split] for split in COLOURS if metrics[split]["accuracy"] is not None}
    for place, (split, figure) in enumerate(present.items()):
        accuracy = figure["accuracy"]
        with_intervals(ax, place, (accuracy, *figure["interval"]), COLOURS[split], 3, markersize=8)
        ax.annotate(f"{accuracy:.1%}", (accuracy, place), (0, 8), **above)
    name_rows(ax, [f"{split} (n = {figure['n']:,})" for split, figure in present.items()], above=0.8)
    ax.set(xlabel="accuracy, with 95% interval", title="" if published else "Accuracy by split")
    percent(ax.xaxis)
    return ax


def per_label(table: pd.DataFrame) -> Axes:
    """Accuracy of each label with its 95% interval, worst first. `table`: what `scores.per_label` returned."""
    ordered, said = some_rows(table[table["n"] > 0].sort_values("accuracy"))
    ax = new_axes(8, max(1.8, 0.9 + 0.24 * len(ordered)))
    with_intervals(ax, range(len(ordered)), ordered[["accuracy", "low", "high"]].to_numpy().T, PALETTE[0])
    name_rows(ax, [f"{short(label)} (n = {n})" for label, n in ordered["n"].items()])
    ax.set(xlim=(-0.02, 1.02), xlabel="accuracy, with 95% interval", title=f"Accuracy by label, worst first{said}")
    percent(ax.xaxis)
    return ax


def confusion(counts: pd.DataFrame) -> Axes:
    """Confusion matrix: share of each label's images by predicted label, with counts where there is room.

    With many labels, a list of the most frequent confusions is drawn instead.
    `counts`: what `scores.confusion` returned.
    """
    names = [short(label, 20) for label in counts.index]
    if len(counts) > 30:
        return _most_confused(counts.to_numpy(copy=True), names)
    import seaborn as sns  # see `style`

    side = max(3.4, 1.8 + 0.36 * len(counts))
    ax = new_axes(side + 1.2, side)
    shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0).to_numpy()
    numbers = np.where(counts > 0, counts.astype(str), "") if len(counts) <= 20 else False
    bar = {"label": "share of the label's images", "shrink": 0.8}
    look = {"fmt": "", "vmin": 0, "vmax": 1, "cmap": "Blues", "square": True, "linewidths": 0.5, "cbar_kws": bar}
    sns.heatmap(shares, annot=numbers, xticklabels=names, yticklabels=names, ax=ax, **look)
    ax.set(xlabel="predicted label", ylabel="label", title="Confusion, in images")
    slanted = len(counts) > 3 or max(map(len, names)) > 10
    turned = {"rotation": 45, "ha": "right"} if slanted else {"rotation": 0, "ha": "center"}
    plt.setp(ax.get_xticklabels(), rotation_mode="anchor", **turned)
    plt.setp(ax.get_yticklabels(), rotation=0)
    return ax


def _most_confused(wrong: np.ndarray, names: list[str], most: int = 20) -> Axes:
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: min(most, np.count_nonzero(wrong))]
    label, predicted = np.unravel_index(order, wrong.shape)
    ax = new_axes(8, max(1.8, 0.9 + 0.24 * len(order)))
    ax.barh(range(len(order)), wrong[label, predicted], color=PALETTE[0])
    name_rows(ax, [f"{names[a]} → {names[b]}" for a, b in zip(label, predicted, strict=True)])
    ax.set(xlabel="images", title=f"The most frequent confusions of {len(names)} labels")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def reliability(table: pd.DataFrame) -> Axes:
    """Accuracy against stated probability; on the diagonal the classifier is as good as it says.

    `table`: what `calibration.reliability` returned.
    """
    ax = new_axes(4.6, 4)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    ax.vlines(table["probability"], table["low"], table["high"], color="0.25", linewidth=2)
    ax.plot(table["probability"], table["accuracy"], "o", color="0.25")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title="Reliability")
    ax.set(xlabel="stated probability", ylabel="accuracy, with 95% interval")
    percent(ax.xaxis, ax.yaxis)
    return ax
