"""The figures of 01_explore and 02_bottlenecks: how many images, how large, and how the backbone sees them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .style import COLOURS, MARKERS, PALETTE, axes_of, name_rows, short, some_rows


def image_counts(counts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Bars of images a label, by split.

    `counts`: one row a label, columns train, validation, test, total, as of `overview.counts_by_label`.
    """
    ordered, said = some_rows(counts.sort_values("total", ascending=False))
    ax = axes_of(ax, height=max(2.2, 0.9 + 0.24 * len(ordered)))
    ordered[list(COLOURS)].plot.barh(ax=ax, stacked=True, width=0.8, linewidth=0, color=COLOURS)
    name_rows(ax, map(short, ordered.index))
    ax.set(xlabel="images", ylabel="", title=f"Images by label and split{said}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(title="split", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def image_sizes(images: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Dots of width against height in pixels; larger dots stand for more images of that size."""
    good = images[images["problem"].isna()].astype({"width": int, "height": int})
    sizes = good.groupby(["width", "height"]).size().rename("images").reset_index()
    ax = axes_of(ax, 6, 4.5)
    areas = 20 + 280 * sizes["images"] / sizes["images"].max()
    ax.scatter(sizes["width"], sizes["height"], areas, alpha=0.5, linewidth=0)
    ax.axline((0, 0), slope=1, color="0.8", linewidth=1)
    longest = 1.15 * sizes[["width", "height"]].to_numpy().max()
    ax.set(xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, longest), ylim=(0, longest), aspect="equal")
    ax.set_title(f"{len(sizes):,} different size{'s' * (len(sizes) > 1)} among {len(good):,} images")
    return ax


def bottleneck_map(points: np.ndarray, labels: pd.Series, ax: Axes | None = None, most_labels: int = 8) -> Axes:
    """Dots of bottlenecks in two dimensions [n, 2], coloured by label; all but the most common labels are grey."""
    ax = axes_of(ax, 8, 5)
    named = labels.value_counts().index[:most_labels]
    size = float(np.clip(20000 / max(len(labels), 1), 4, 30))
    others = ~labels.isin(named).to_numpy()
    if others.any():
        said = f"{labels[others].nunique()} other labels"
        ax.scatter(points[others, 0], points[others, 1], size, color="0.8", linewidth=0, label=said)
    for label, colour, marker in zip(named, PALETTE, MARKERS, strict=False):
        mine = (labels == label).to_numpy()
        look: dict[str, Any] = {"color": colour, "marker": marker, "alpha": 0.6, "linewidth": 0}
        ax.scatter(points[mine, 0], points[mine, 1], size, label=short(label), **look)
    ax.set(xlabel="first principal component", ylabel="second principal component")
    ax.set_title(f"Map of {len(labels):,} bottlenecks")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=min(3, 12 / size + 1))
    return ax
