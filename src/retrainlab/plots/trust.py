"""The figures of 07: whether one answer may be believed, and what to label next."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from .style import BESIDE, PALETTE, new_axes, percent

_WAYS = {"ordered": (PALETTE[3], "-", "o"), "random": ("0.45", "--", "s")}  # not the colours of splits


def labels_saved(curves: pd.DataFrame) -> Axes:
    """Accuracy against the number of labels, asked for by an order and at random: mean, and the range of the repeats.

    `curves`: columns repeat, labelled, way ("ordered" or "random"), accuracy (of held-out images).
    """
    ax = new_axes(8, 3.6)
    for way, (colour, line, marker) in _WAYS.items():
        mine = curves[curves["way"] == way].groupby("labelled")["accuracy"]
        low, mean, high = mine.min(), mine.mean(), mine.max()
        ax.fill_between(mean.index, low, high, color=colour, alpha=0.2, linewidth=0)
        ax.plot(mean.index, mean, line, marker=marker, color=colour, linewidth=1.8, markersize=5, label=way)
    ax.set(xlabel="labelled images (logarithmic)", ylabel="accuracy on held-out images", xscale="log")
    ax.set_title(f"What to label next: mean of {curves['repeat'].nunique()} repeats, and their range")
    ticks = sorted(set(curves["labelled"]))
    ax.set_xticks(ticks, [f"{size:,.0f}" for size in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    percent(ax.yaxis)
    ax.legend(**BESIDE)
    return ax
