"""The figures of a training: its curves, the settings that were tried, what a change brought."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from .style import COLOURS, LINES, PALETTE, UNITS, axes_of, name_rows, short


def curves(history: pd.DataFrame, quantity: str, ax: Axes | None = None) -> Axes:
    """Accuracy or cross_entropy by step: training solid, validation dashed. `history`: of one head."""
    ax = axes_of(ax, 8, 3.4)
    for split, mine in history.groupby("split"):
        ax.plot(mine["step"], mine[quantity], LINES[split], color=COLOURS[split], label=split, linewidth=1.8)
    title = f"{UNITS[quantity].split(' (')[0].capitalize()} of both splits while training"
    ax.set(xlabel="training step", ylabel=UNITS[quantity], title=title, xlim=(0, max(history["step"].max(), 1)))
    if quantity == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    trained = history.loc[history["step"] > 0, quantity]  # the untrained layer's figure would squeeze the rest
    margin = 0.08 * max(trained.max() - trained.min(), 1e-3)
    ax.set_ylim(trained.min() - margin, trained.max() + margin)
    ax.legend(title="split")
    return ax


def choices(table: pd.DataFrame, setting: str, chosen: int, ax: Axes | None = None) -> Axes:
    """What a setting does to the cross-entropy of both splits, one point a head; a vertical line marks the chosen one.

    `table`: one row a head: the setting, "train cross_entropy" and "validation cross_entropy".
    """
    ax = axes_of(ax, 8, 3.4)
    places, name = np.arange(len(table)), setting.replace("_", " ")
    for split, line in LINES.items():
        ax.plot(places, table[f"{split} cross_entropy"], line, marker="o", color=COLOURS[split], label=split)
    ax.axvline(chosen, color="0.4", linewidth=1, linestyle=":", label="chosen")
    ax.set_xticks(places, [f"{value:g}" for value in table[setting]])
    ax.set(xlabel=name, ylabel=UNITS["cross_entropy"], title=f"{name.capitalize()}, tried side by side")
    ax.legend()
    return ax


def differences(changes: Mapping[str, dict], title: str, ax: Axes | None = None) -> Axes:
    """Differences of accuracy in points with 95% intervals, one row each; a line marks none.

    `changes`: name -> {"accuracy", "interval"}, as of `intervals.paired_difference`; those without images are left out.
    """
    known = {name: change for name, change in changes.items() if change["accuracy"] is not None}
    ax = axes_of(ax, 8, max(1.5, 0.9 + 0.36 * len(known)))
    ax.axvline(0, color="0.6", linewidth=1)
    for place, change in enumerate(known.values()):
        ax.hlines(place, *(100 * np.array(change["interval"])), color=PALETTE[0], linewidth=3)
        ax.plot(100 * change["accuracy"], place, "o", color=PALETTE[0], markersize=7)
    name_rows(ax, [short(name.replace("_", " "), 60) for name in known])
    ax.set(xlabel="percentage points, with 95% interval", title=title)
    return ax
