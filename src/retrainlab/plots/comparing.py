"""The figures of 06_compare."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .style import BESIDE, COLOURS, MARKERS, PALETTE, name_rows, new_axes, percent, short, with_intervals


def compare_runs(table: pd.DataFrame, most: int = 30) -> Axes:
    """Train, validation and test accuracy of runs with 95% intervals. `table`: what runs.list_runs returned."""
    shown = table.head(most)
    ax = new_axes(8, max(2.4, 1.3 + 0.5 * len(shown)))
    for shift, (split, colour) in zip((-0.22, 0, 0.22), COLOURS.items(), strict=True):
        measured = [shown[f"{split}{part}"].astype(float) for part in ("", " low", " high")]
        label = split if measured[0].notna().any() else None  # light runs of a sweep have no test figures
        with_intervals(ax, np.arange(len(shown)) + shift, measured, colour, label=label)
    left_out = f", {most} of {len(table)}" if len(table) > most else ""
    name_rows(ax, [short(name, 60) for name in shown.index])
    ax.grid(axis="y", visible=True)
    ax.set(xlabel="accuracy, with 95% interval", title=f"Accuracy of runs{left_out}")
    percent(ax.xaxis)
    ax.legend(title="split", **BESIDE)
    return ax


def paired_differences(
    pairs: pd.DataFrame, names: Mapping[str, str], split: str = "validation", most: int = 40
) -> Axes:
    """Differences of accuracy to one run in points with 95% intervals, one row a run; filled where beyond chance.

    `pairs`: what pairwise.compare returned for a reference; those that share no image with it are left out. `names`:
    run -> what to call it.
    """
    known = pairs[pairs["n"] > 0]
    shown = known.head(most)
    labels = [textwrap.fill(short(names[run], 80), 42) for run in shown["run"]]
    ax = new_axes(8, max(1.6, 1.1 + 0.28 * len(shown) + 0.16 * sum("\n" in label for label in labels)))
    ax.axvline(0, color="0.3", linewidth=1)
    kinds = {"beyond chance": (COLOURS[split], COLOURS[split]), "not beyond chance": ("0.6", "white")}
    measured = 100 * shown[["difference", "low", "high"]].to_numpy(float)
    for place, (verdict, points) in enumerate(zip(shown["verdict"], measured, strict=True)):
        colour, fill = kinds["beyond chance" if verdict in ("better", "worse") else "not beyond chance"]
        with_intervals(ax, place, points, colour, 2.5, markerfacecolor=fill, markersize=7)
    name_rows(ax, labels)
    ax.tick_params(axis="y", labelsize="small")
    left_out = f" ({most} of {len(known)})" if len(known) > most else ""
    title = f"{split.capitalize()} accuracy minus that of {short(known['against'].iloc[0], 40)}{left_out}"
    ax.set(title=title, xlabel="percentage points, with 95% interval")
    marks = [Line2D([], [], marker="o", color=colour, markerfacecolor=fill) for colour, fill in kinds.values()]
    ax.figure.legend(marks, kinds, loc="outside lower right", ncols=2, frameon=False)
    return ax


def setting_effects(effects: pd.DataFrame, most: int = 12) -> Axes:
    """Mean validation accuracy with each value of a setting, one row a setting; blue where it matters.

    `effects`: what causes.which_settings returned; settings that cannot be separated are left out.
    """
    known = effects[effects["p"].notna()].head(most)
    ax = new_axes(8, max(1.8, 1 + 0.62 * len(known)))
    for place, row in enumerate(known.to_dict("records")):
        colour = PALETTE[0] if row["verdict"] == "matters" else "0.6"
        means = np.array(row["means"])
        ax.plot(means, np.full(len(means), place), "o", color=colour, markersize=7)
        ax.hlines(place, means.min(), means.max(), color=colour, linewidth=1.5)
        worst, *_, best = np.argsort(means, kind="stable")
        for number, side, shift in ((worst, "right", -8), (best, "left", 8)):  # those between would run into each other
            label, at = short(row["values"][number], 24), (means[number], place)
            ax.annotate(label, at, (shift, 0), textcoords="offset points", ha=side, va="center", fontsize="small")
    name_rows(ax, [short(name, 40) for name in known.index])
    title = "What each setting does, all else equal: its worst and its best value are named"
    ax.set(title=title, xlabel="mean validation accuracy")
    ax.margins(x=0.3)
    percent(ax.xaxis)
    return ax


def accuracy_against_time(table: pd.DataFrame, chosen: str | None, margin: float) -> Axes:
    """Validation accuracy against milliseconds an image; filled where it is shown to be not worse than the best.

    `table`: what costs.cheapest returned, with `chosen`. Bars are intervals of the difference to the most accurate
    run, so that one which ends above the dotted line is of a run that loses less than `margin`.
    """
    ax, top = new_axes(8, 4), table["accuracy"].max()
    ax.axhline(top - margin, color="0.5", linewidth=1, linestyle=":", label=f"{100 * margin:g} points below the best")
    ax.vlines(table["milliseconds"], top + table["low"], top + table["high"], color="0.75", linewidth=2, zorder=1)
    for number, (run, row) in enumerate(table.iterrows()):
        colour, name = PALETTE[run == chosen], short(f"{row['backbone']} ({run})", 36)
        fill, marker = colour if row["not worse"] else "white", MARKERS[number % len(MARKERS)]
        at = row["milliseconds"], row["accuracy"]
        ax.plot(*at, marker, color=colour, markersize=9, markerfacecolor=fill, label=name)
    ax.legend(**BESIDE)
    ax.set(title="Accuracy against time", xlabel="milliseconds an image, on one core", ylabel="validation accuracy")
    ax.set_xlim(0, 1.1 * table["milliseconds"].max())
    percent(ax.yaxis)
    return ax
