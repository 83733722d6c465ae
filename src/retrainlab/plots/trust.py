"""The figures of 07_trust: what an answer goes by, when to give none, what hard conditions cost, what to label next."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from .style import BESIDE, COLOURS, MARKERS, PALETTE, name_rows, new_axes, percent, short, with_intervals

_WAYS = {"ordered": (PALETTE[3], "-", "o"), "random": ("0.45", "--", "s")}  # not the colours of splits


def masked(found: pd.DataFrame, guessing: float) -> Axes:
    """Accuracy on whole and on masked images: a row each, with its interval; a line for guessing.

    `found`: by what is seen, columns accuracy and interval.
    """
    ax = new_axes(8, 0.8 + 0.42 * len(found))
    low, high = np.array(found["interval"].tolist()).T
    ax.axvline(guessing, color="0.4", linewidth=1.2, linestyle=":", label="always the most common label")
    with_intervals(ax, np.arange(len(found)), (found["accuracy"].astype(float), low, high), COLOURS["validation"])
    name_rows(ax, found.index)
    percent(ax.xaxis)
    ax.set(xlabel="accuracy on images that were not learnt from", title="What is left when a part is hidden")
    ax.legend(**BESIDE)
    return ax


def robustness(table: pd.DataFrame, clean: Mapping[str, Any]) -> Axes:
    """Accuracy by step, a line a condition; the band is the interval of images as they are.

    `table`: a row a condition, a column a step. `clean`: accuracy and interval.
    """
    ax = new_axes(8, 4.2)
    steps = [0, *table.columns]
    low, high = clean["interval"]
    ax.axhspan(low, high, color="0.9", zorder=0)
    looks = zip(cycle(PALETTE), cycle(MARKERS), cycle(["-", "--", "-."]), strict=False)
    for (name, row), (colour, marker, line) in zip(table.iterrows(), looks, strict=False):
        points = [clean["accuracy"], *row]
        ax.plot(steps, points, color=colour, marker=marker, linestyle=line, linewidth=1.6, markersize=5, label=name)
    percent(ax.yaxis)
    ax.set_xticks(steps, ["as they are", *map(str, table.columns)])
    ax.set(xlabel="step, from hardly visible to severe", ylabel="accuracy", title="What hard conditions cost")
    ax.legend(**BESIDE)
    return ax


def coverage(curve: pd.DataFrame) -> Axes:
    """Accuracy of the surest answers against the share that they are of all.

    `curve`: columns share, accuracy, low, high; the surest first.
    """
    ax = new_axes(8, 3.4)
    ax.fill_between(curve["share"], curve["low"], curve["high"], color=COLOURS["test"], alpha=0.2, linewidth=0)
    ax.plot(curve["share"], curve["accuracy"], color=COLOURS["test"], linewidth=1.8)
    percent(ax.xaxis, ax.yaxis)
    ax.set(xlabel="share of the images that are answered, the surest first", ylabel="accuracy of these answers")
    ax.set_title("What is gained by not answering: accuracy, and its 95% interval")
    return ax


def strangeness(scores: np.ndarray) -> Axes:
    """How unlike the training images test images are: a histogram of scores, of which 1 is the threshold, a line."""
    ax = new_axes(8, 3)
    bins = np.linspace(scores.min() - 1e-3, max(1.0, np.quantile(scores, 0.995)) + 1e-3, 50)
    counts, edges = np.histogram(np.clip(scores, bins[0], bins[-1]), bins)
    ax.stairs(counts / len(scores), edges, fill=True, alpha=0.5, color=COLOURS["test"], label="test images")
    ax.axvline(1, color="0.3", linewidth=1.2, linestyle="--", label="unlike, beyond this")
    percent(ax.yaxis)
    ax.set(
        xlabel="how far from what was learnt from; 1 is the limit",
        ylabel="share of the images",
        title="How unlike images are",
    )
    ax.legend(**BESIDE)
    return ax


def explained(pictures: np.ndarray, maps: Mapping[str, np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Images, and over each of them its maps: warm where the label comes from, dark where nothing does.

    Args:
        pictures: uint8 [n, height, width, 3].
        maps: by what they are of, float [n, height, width], 0 to 1.
        titles: of the n images.

    Returns:
        Axes [1 + maps, n].
    """
    rows, columns = 1 + len(maps), len(pictures)
    height = 1.75 * rows + 0.5
    axes = plt.subplots(rows, columns, figsize=(max(3.0, 1.75 * columns), height), squeeze=False)[1]
    for column, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        grey = picture.mean(axis=2)
        axes[0, column].imshow(picture)
        axes[0, column].set_title("\n".join(short(line, 24) for line in title.splitlines()), fontsize=8, loc="center")
        for ax, values in zip(axes[1:, column], maps.values(), strict=True):
            ax.imshow(grey, cmap="gray", vmin=0, vmax=255)
            ax.imshow(values[column], cmap="inferno", alpha=0.55, vmin=0, vmax=1)
    for row, name in enumerate(["image", *maps]):
        axes[row, 0].set_ylabel(name, fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    return axes


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
