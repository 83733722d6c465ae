"""The figures of 06_compare; see `plots` for their style."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .style import COLOURS, MARKERS, PALETTE, axes_of, short


def compare_runs(table: pd.DataFrame, ax: Axes | None = None, most: int = 30) -> Axes:
    """Train, validation and test accuracy of runs with 95% intervals. `table`: what runs.list_runs returned."""
    shown = table.head(most)
    ax = axes_of(ax, height=max(2.4, 1.3 + 0.5 * len(shown)))
    for shift, (split, colour) in zip((-0.22, 0, 0.22), COLOURS.items(), strict=True):
        places = np.arange(len(shown)) + shift
        ax.hlines(
            places,
            shown[f"{split} low"].astype(float),
            shown[f"{split} high"].astype(float),
            color=colour,
            linewidth=2,
        )
        label = split if shown[split].notna().any() else None  # light runs of a sweep have no test figures
        ax.plot(shown[split].astype(float), places, "o", color=colour, label=label)
    left_out = f", {most} of {len(table)}" if len(table) > most else ""
    ax.set(yticks=np.arange(len(shown)), yticklabels=[short(name, 60) for name in shown.index],
           xlabel="accuracy, with 95% interval", title=f"Accuracy of runs{left_out}")  # fmt: skip
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.legend(title="split", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def paired_differences(
    pairs: pd.DataFrame, names: Mapping[str, str], split: str = "validation", ax: Axes | None = None, most: int = 40
) -> Axes:
    """Differences of accuracy in points with 95% intervals, one row a pair; filled where beyond chance.

    `pairs`: what comparison.compare returned; those that share no image are left out. `names`: run -> what to call it.
    """
    known = pairs[pairs["n"] > 0]
    alone = len(set(known["against"])) == 1
    labels = known["run"].map(names) if alone else known["run"] + " − " + known["against"]
    title = f"{split.capitalize()} accuracy minus that of {short(known['against'].iloc[0], 40)}" if alone else (
        f"Difference of {split} accuracy, run − run")  # fmt: skip
    title += f" ({most} of {len(known)})" if len(known) > most else ""
    known, labels = known.head(most), [textwrap.fill(short(label, 80), 42) for label in labels[:most]]
    ax = axes_of(ax, 8, max(1.6, 1.1 + 0.28 * len(known) + 0.16 * sum("\n" in label for label in labels)))
    ax.axvline(0, color="0.3", linewidth=1)
    for place, row in enumerate(known.to_dict("records")):
        shown = row["verdict"] in ("better", "worse")
        colour = COLOURS[split] if shown else "0.6"
        ax.plot([100 * row["low"], 100 * row["high"]], [place, place], color=colour, linewidth=2.5, zorder=2)
        ax.plot(100 * row["difference"], place, "o", color=colour, markerfacecolor=colour if shown else "white",
                markersize=7, zorder=3)  # fmt: skip
    ax.set(ylim=(len(known) - 0.4, -0.6), title=title, xlabel="percentage points, with 95% interval")
    ax.set_yticks(range(len(known)), labels, fontsize="small")
    ax.grid(axis="y", visible=False)
    marks = [Line2D([], [], marker="o", color=colour, markerfacecolor=face, label=text) for colour, face, text in
             ((COLOURS[split],) * 2 + ("beyond chance",), ("0.6", "white", "not beyond chance"))]  # fmt: skip
    ax.figure.legend(handles=marks, loc="outside lower right", ncols=2, frameon=False)
    return ax


def setting_effects(effects: pd.DataFrame, ax: Axes | None = None, most: int = 12) -> Axes:
    """Mean validation accuracy with each value of a setting, one row a setting; blue where it matters.

    `effects`: what causes.which_settings returned; settings that cannot be separated are left out.
    """
    known = effects[effects["p"].notna()].head(most)
    ax = axes_of(ax, 8, max(1.8, 1 + 0.62 * len(known)))
    for place, row in enumerate(known.to_dict("records")):
        colour = PALETTE[0] if row["verdict"] == "matters" else "0.6"
        order = np.argsort(row["means"], kind="stable")
        ax.plot([min(row["means"]), max(row["means"])], [place, place], color=colour, linewidth=1.5)
        ax.plot(row["means"], [place] * len(order), "o", color=colour, markersize=7)
        ends = {int(order[0]): "right", int(order[-1]): "left"}  # values between the ends would run into each other
        for number, side in ends.items():
            ax.annotate(short(row["values"][number], 24), (row["means"][number], place),
                        (-8 if side == "right" else 8, 0), textcoords="offset points", ha=side, va="center",
                        fontsize="small")  # fmt: skip
    ax.set(yticks=range(len(known)), yticklabels=[short(name, 40) for name in known.index],
           ylim=(len(known) - 0.4, -0.6), xlabel="mean validation accuracy",
           title="What each setting does, all else equal: its worst and its best value are named")  # fmt: skip
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.3)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return ax


def accuracy_against_time(table: pd.DataFrame, chosen: str | None, margin: float, ax: Axes | None = None) -> Axes:
    """Validation accuracy against milliseconds an image; filled where it is shown to be not worse than the best.

    `table`: what costs.cheapest returned, with `chosen`. Bars are intervals of the difference to the most accurate
    run, so that one which ends above the dotted line is of a run that loses less than `margin`.
    """
    ax = axes_of(ax, 8, 4)
    top = table["accuracy"].max()
    ax.axhline(top - margin, color="0.5", linewidth=1, linestyle=":", label=f"{100 * margin:g} points below the best")
    ax.vlines(table["milliseconds"], top + table["low"], top + table["high"], color="0.75", linewidth=2, zorder=1)
    for number, (run, row) in enumerate(table.iterrows()):
        colour, name = PALETTE[1] if run == chosen else PALETTE[0], short(f"{row['backbone']} ({run})", 36)
        ax.plot(row["milliseconds"], row["accuracy"], MARKERS[number % len(MARKERS)], color=colour, markersize=9,
                markerfacecolor=colour if row["not worse"] else "white", label=name)  # fmt: skip
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    ax.set(xlabel="milliseconds an image, on one core", ylabel="validation accuracy", title="Accuracy against time",
           xlim=(0, 1.1 * table["milliseconds"].max()))  # fmt: skip
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return ax
