"""How well a classifier ranks images, whatever threshold its answers are made with."""

from collections.abc import Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .style import BESIDE, PALETTE, percent, short

_DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]  # so that lines can be told apart without their colours, too


def rank_curves(points: Mapping[str, pd.DataFrame], shares: Mapping[str, float], runs_on: str = "") -> np.ndarray:
    """ROC and precision-recall side by side, one line a label or a run; thin lines for guessing.

    Args:
        points: label or run -> what `curves.operating_points` returned; of few.
        shares: the same -> the label's share of the images, 0 to 1, which is the precision of guessing.
        runs_on: where lines are runs, the label that all of them rank.

    Returns:
        The two Axes.
    """
    axes = plt.subplots(1, 2, figsize=(9.4, 3.8))[1]
    roc, precision = axes
    roc.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for (name, curve), colour, dash in zip(points.items(), cycle(PALETTE), cycle(_DASHES)):
        look = {"color": colour, "linestyle": dash}
        roc.plot(curve["false_alarm_rate"], curve["recall"], linewidth=1.8, **look)
        shown = short(name, 22) if runs_on else f"{short(name, 22)} ({shares[name]:.1%})"
        # a step: between two thresholds no precision is reached that lies between theirs
        precision.step(curve["recall"], curve["precision"], where="pre", linewidth=1.8, label=shown, **look)
        precision.axhline(shares[name], linewidth=0.8, **{"color": "0.6"} if runs_on else look)
    roc.set(xlabel="false alarms among the other images", ylabel="recall", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", title="Precision-recall")
    for ax in axes:
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        percent(ax.xaxis, ax.yaxis)
    title = f"runs, for '{short(runs_on, 20)}'" if runs_on else "label (share of images)"
    precision.legend(title=title, **BESIDE)
    return axes
