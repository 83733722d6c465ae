"""The figure of where a classifier fails."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .style import BESIDE, PALETTE, name_rows, new_axes, percent, short, with_intervals


def weak_groups(table: pd.DataFrame, overall: float, looked_at: int) -> Axes:
    """Accuracy of groups of images with its 95% interval, the lowest first; those weak beyond chance are marked.

    `table`: by the group's name, columns n, accuracy, low, high, and weak (bool). `overall`: the accuracy of all
    images, a line. `looked_at`: how many groups were, these among them.
    """
    shown = table.sort_values("accuracy", kind="stable")
    ax = new_axes(9, max(1.8, 1 + 0.3 * len(shown)))
    kinds = ((True, PALETTE[3], PALETTE[3], "fewer right,\nbeyond chance"), (False, "0.5", "white", "within chance"))
    for is_weak, colour, filling, said in kinds:
        places = np.flatnonzero(shown["weak"] == is_weak)
        if len(places):
            measured = shown.iloc[places][["accuracy", "low", "high"]].to_numpy(float).T
            with_intervals(ax, places, measured, colour, 2.5, markerfacecolor=filling, markersize=7, label=said)
    ax.axvline(overall, color="0.4", linewidth=1, linestyle=":", label="all images")
    name_rows(ax, [f"{short(str(name), 60)} (n = {n:,})" for name, n in shown["n"].items()])
    some = f", {len(shown)} of {looked_at:,} groups" if looked_at > len(shown) else ""
    ax.set(xlabel="accuracy, with 95% interval", title=f"Where it fails{some}")
    ax.xaxis.set_major_locator(MaxNLocator(5))  # beside long names there is little room
    percent(ax.xaxis)
    ax.legend(**BESIDE)
    return ax
