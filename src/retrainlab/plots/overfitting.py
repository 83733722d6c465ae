"""The figures of 04_overfitting: the gap, how it came about, what would help, what is remembered."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, StrMethodFormatter

from .style import BESIDE, COLOURS, LINES, MARKERS, UNITS, name_rows, new_axes, percent, short, with_intervals

_SHOWN = 0.12  # of the accuracies of settings, from the best one down


def gaps(rows: Mapping[str, Mapping[str, Any]], baseline: float) -> Axes:
    """Training and validation accuracy, one row a way of training, joined by the gap between them.

    `rows`: name -> {"train", "validation"}, each {"accuracy", "interval"}. `baseline`: a dotted line, the accuracy of
    always answering with the most common label.
    """
    ax = new_axes(8, 1.3 + 0.5 * len(rows))
    for place, row in enumerate(rows.values()):
        ax.hlines(place, row["validation"]["accuracy"], row["train"]["accuracy"], color="0.8", linewidth=6)
    for shift, split in ((-0.12, "train"), (0.12, "validation")):
        measured = np.array([(row[split]["accuracy"], *row[split]["interval"]) for row in rows.values()], float).T
        with_intervals(ax, np.arange(len(rows)) + shift, measured, COLOURS[split], 2.5, markersize=7, label=split)
    ax.axvline(baseline, color="0.4", linewidth=1, linestyle=":", label="always the most\ncommon label")
    ax.set(xlabel="accuracy (bars: the run's 95% interval; where 95% of re-splits lie)", title="The gap")
    name_rows(ax, rows)
    percent(ax.xaxis)
    ax.legend(**BESIDE)
    return ax


def bands(history: pd.DataFrame, quantity: str, mark: int | None = None) -> Axes:
    """Accuracy or cross_entropy by step over re-splits: their mean, and the band that holds 95% of them.

    `history`: columns member, step, split and the quantity. `mark`: a step to mark with a vertical line.
    """
    ax = new_axes(8, 3.2)
    trained = history[history["step"] > 0]  # the untrained layer's figure would squeeze the rest
    for split, line in LINES.items():
        mine = trained[trained["split"] == split].groupby("step")[quantity]
        low, mean, high = mine.quantile(0.025), mine.mean(), mine.quantile(0.975)
        ax.fill_between(mean.index, low, high, color=COLOURS[split], alpha=0.2, linewidth=0)
        ax.plot(mean.index, mean, line, color=COLOURS[split], linewidth=1.8, label=split)
    if mark is not None:
        ax.axvline(mark, color="0.4", linewidth=1, linestyle=":", label="lowest validation\ncross-entropy")
    said = f"{quantity.replace('_', '-').capitalize()} over {history['member'].nunique()} re-splits"
    ax.set(xlabel="training step (logarithmic)", ylabel=UNITS[quantity], xscale="log")
    ax.set_title(f"{said}: mean, and where 95% of them lie")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.minorticks_off()
    if quantity == "accuracy":
        percent(ax.yaxis)
    ax.legend(**BESIDE)
    return ax


def settings_path(table: pd.DataFrame, current: pd.Series, chosen: pd.Series) -> Axes:
    """Validation accuracy against the gap, one dot a setting and step, coloured by weight decay.

    `table`: columns weight_decay, train accuracy, validation accuracy. `current` and `chosen` are rows of it: a square
    and a star, joined by an arrow.
    """
    ax = new_axes(8, 4.2)
    decays = sorted(set(table["weight_decay"]))
    colours = colormaps["viridis"](np.linspace(0, 1, len(decays) + 2)[1:-1])

    def place(rows: Any) -> tuple[Any, Any]:
        return 100 * (rows["train accuracy"] - rows["validation accuracy"]), rows["validation accuracy"]

    for decay, colour, marker in zip(decays, colours, cycle(MARKERS), strict=False):
        mine = place(table[table["weight_decay"] == decay])
        ax.plot(*mine, marker, color=colour, markersize=6, alpha=0.8, label=f"{decay:g}")
    ends = place(current), place(chosen)
    ax.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->", "color": "0.3", "shrinkA": 7, "shrinkB": 9})
    for (x, y), marker, name in zip(ends, "s*", ("as it is", "chosen"), strict=True):
        ax.plot(x, y, marker, color="white", markeredgecolor="black", markersize=9 if marker == "s" else 15, label=name)
    ax.set(xlabel="gap: training minus validation accuracy (percentage points)", ylabel="validation accuracy")
    title = f"{len(table)} settings: weight decays, learning rates and steps"
    top, bottom = table["validation accuracy"].max(), table["validation accuracy"].min()
    lowest = min(top - _SHOWN, *(y for _, y in ends))
    if bottom < lowest:  # a few that learn hardly anything would squeeze the others
        room = 0.05 * (top - lowest)
        ax.set_ylim(lowest - room, top + room)
        title += " (some lie below)"
    ax.set_title(title)
    percent(ax.yaxis)
    ax.legend(title="weight decay", **BESIDE)
    return ax


def learning_curve(measured: pd.DataFrame, law: pd.DataFrame | None, interval: tuple[float, float]) -> Axes:
    """Accuracy against training images: what was measured, the power law, and its prediction for twice as many.

    `measured`: columns images, train, validation (accuracies). `law`: columns images, accuracy; the last row is the
    prediction, with its 95% `interval`; None where there is none.
    """
    ax = new_axes(8, 3.6)
    mine, line = COLOURS["validation"], LINES["train"]
    ax.plot(measured["images"], measured["train"], line, marker="o", color=COLOURS["train"], label="train")
    ax.plot(measured["images"], measured["validation"], "o", color=mine, label="validation")
    ticks = measured["images"].tolist()
    if law is not None:
        ax.plot(law["images"], law["accuracy"], LINES["validation"], color=mine, label="power law")
        most, accuracy = law.iloc[-1][["images", "accuracy"]]
        ax.plot([most] * 2, interval, "_-", color=mine, linewidth=1.5, markersize=9)
        said = "twice the images,\nwith the 95% interval\nof the gain"
        ax.plot(most, accuracy, "D", color="white", markeredgecolor=mine, markersize=4, label=said)
        ticks.append(most)
    ax.set(xlabel="training images (logarithmic)", ylabel="accuracy", title="More images", xscale="log")
    ax.set_xticks(ticks, [f"{size:,.0f}" for size in ticks])
    ax.minorticks_off()
    percent(ax.yaxis)
    ax.legend(**BESIDE)
    return ax


def memorised(table: pd.DataFrame) -> Axes:
    """Share of images that are right in training and wrong out of fold, by label, with 95% intervals; worst first.

    `table`: what `scores.memorised` returned.
    """
    known = table[table["n"] > 0]
    shown = known.head(15)
    ax = new_axes(8, max(1.8, 1 + 0.26 * len(shown)))
    measured = shown[["memorised", "low", "high"]].to_numpy().T
    with_intervals(ax, range(len(shown)), measured, COLOURS["train"], 2.5, markersize=7)
    name_rows(ax, [f"{short(str(label))} (n = {n:,})" for label, n in shown["n"].items()])
    said = f", the {len(shown)} worst of {len(known)} labels" if len(known) > len(shown) else ""
    ax.set(xlim=(0, None), title=f"Remembered, not understood{said}")
    ax.set_xlabel("share of its images: right when learnt from, wrong when not; with 95% interval")
    percent(ax.xaxis)
    return ax
