"""The figures of what a classifier is worth: by split, by label, what it confuses, how well it knows how sure to be."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .style import COLOURS, PALETTE, axes_of, name_rows, short, some_rows


def accuracies(metrics: dict, published: dict[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Accuracy of the three splits with 95% intervals; lines for what others published, method -> accuracy.

    `metrics`: what `scores.summarise` returned; splits without images are left out.
    """
    ax = axes_of(ax, 8, 2.2)
    shift: dict[str, Any] = {"textcoords": "offset points", "ha": "center"}
    above: dict[str, Any] = shift | {"xycoords": ("data", "axes fraction"), "fontsize": "x-small"}
    for method, accuracy in (published or {}).items():
        ax.axvline(accuracy, color="0.45", linewidth=1.2, linestyle=":")
        ax.annotate(f"{method}: {accuracy:.1%}", (accuracy, 1), (0, 3), **above)
    present = [split for split in COLOURS if metrics[split]["accuracy"] is not None]
    for place, split in enumerate(present):
        accuracy = metrics[split]["accuracy"]
        ax.hlines(place, *metrics[split]["interval"], color=COLOURS[split], linewidth=3)
        ax.plot(accuracy, place, "o", color=COLOURS[split], markersize=8)
        ax.annotate(f"{accuracy:.1%}", (accuracy, place), (0, 8), **shift)
    name_rows(ax, [f"{split} (n = {metrics[split]['n']:,})" for split in present], above=0.8)
    ax.set(xlabel="accuracy, with 95% interval", title="" if published else "Accuracy by split")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    return ax


def per_label(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy of each label with its 95% interval, worst first. `table`: what `scores.per_label` returned."""
    ordered, said = some_rows(table[table["n"] > 0].sort_values("accuracy"))
    ax = axes_of(ax, height=max(1.8, 0.9 + 0.24 * len(ordered)))
    places = np.arange(len(ordered))
    ax.hlines(places, ordered["low"], ordered["high"], color=PALETTE[0], linewidth=2)
    ax.plot(ordered["accuracy"], places, "o", color=PALETTE[0])
    name_rows(ax, [f"{short(label)} (n = {n})" for label, n in ordered["n"].items()])
    ax.set(xlim=(-0.02, 1.02), xlabel="accuracy, with 95% interval", title=f"Accuracy by label, worst first{said}")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    return ax


def confusion(counts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Confusion matrix: share of each label's images by predicted label, with counts where there is room.

    With many labels, a list of the most frequent confusions is drawn instead.
    `counts`: what `scores.confusion` returned.
    """
    if len(counts) > 30:
        return _most_confused(counts, ax)
    import seaborn as sns  # see `style`

    side = max(3.4, 1.8 + 0.36 * len(counts))
    ax = axes_of(ax, side + 1.2, side)
    shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0).to_numpy()
    names = [short(label, 20) for label in counts.index]
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


def _most_confused(counts: pd.DataFrame, ax: Axes | None, most: int = 20) -> Axes:
    wrong = counts.to_numpy(copy=True)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: min(most, np.count_nonzero(wrong))]
    pairs = list(zip(*np.unravel_index(order, wrong.shape), strict=True))
    ax = axes_of(ax, height=max(1.8, 0.9 + 0.24 * len(pairs)))
    ax.barh(range(len(pairs)), [wrong[pair] for pair in pairs], color=PALETTE[0])
    names = [short(label, 20) for label in counts.index]
    name_rows(ax, [f"{names[label]} → {names[predicted]}" for label, predicted in pairs])
    ax.set(xlabel="images", title=f"The most frequent confusions of {len(counts)} labels")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def reliability(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy against stated probability; on the diagonal the classifier is as good as it says.

    `table`: what `calibration.reliability` returned.
    """
    ax = axes_of(ax, 4.6, 4)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    ax.vlines(table["probability"], table["low"], table["high"], color="0.25", linewidth=2)
    ax.plot(table["probability"], table["accuracy"], "o", color="0.25")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title="Reliability")
    ax.set(xlabel="stated probability", ylabel="accuracy, with 95% interval")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return ax
