"""How well a classifier ranks images, whatever threshold its answers are made with."""

from collections.abc import Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .style import BESIDE, PALETTE, percent, short

_DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]  # so that lines can be told apart without their colours, too


def rank_curves(points: Mapping[str, pd.DataFrame], shares: Mapping[str, float]) -> np.ndarray:
    """ROC and precision-recall side by side, one line a label; thin lines for guessing.

    Args:
        points: label -> what `curves.operating_points` returned; of few labels.
        shares: label -> its share of the images, 0 to 1, which is the precision of guessing.

    Returns:
        The two Axes.
    """
    axes = plt.subplots(1, 2, figsize=(9.4, 3.8))[1]
    roc, precision = axes
    roc.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for (label, curve), colour, dash in zip(points.items(), cycle(PALETTE), cycle(_DASHES)):
        look = {"color": colour, "linestyle": dash}
        roc.plot(curve["false_alarm_rate"], curve["recall"], linewidth=1.8, **look)
        # a step: between two thresholds no precision is reached that lies between theirs
        name = f"{short(label, 22)} ({shares[label]:.1%})"
        precision.step(curve["recall"], curve["precision"], where="pre", linewidth=1.8, label=name, **look)
        precision.axhline(shares[label], linewidth=0.8, **look)
    roc.set(xlabel="false alarms among the other images", ylabel="recall", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", title="Precision-recall")
    for ax in axes:
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        percent(ax.xaxis, ax.yaxis)
    precision.legend(title="label (share of images)", **BESIDE)
    return axes
