"""The figures of 01, 02 and 05: images and their labels, counted, measured and shown.

Pictures come as pixels, as `decoding.read_many` reads them; 160 pixels a side are as many as a gallery shows.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .style import BESIDE, COLOURS, MARKERS, PALETTE, name_rows, new_axes, percent, short, some_rows


def image_counts(counts: pd.DataFrame) -> Axes:
    """Bars of images a label, by split.

    `counts`: one row a label, columns train, validation, test, total, as of `overview.counts_by_label`.
    """
    ordered, said = some_rows(counts.sort_values("total", ascending=False))
    ax = new_axes(8, max(2.2, 0.9 + 0.24 * len(ordered)))
    ordered[list(COLOURS)].plot.barh(ax=ax, stacked=True, width=0.8, linewidth=0, color=COLOURS)
    name_rows(ax, map(short, ordered.index))
    ax.set(xlabel="images", ylabel="", title=f"Images by label and split{said}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(title="split", **BESIDE)
    return ax


def image_sizes(images: pd.DataFrame) -> Axes:
    """Dots of width against height in pixels; larger dots stand for more images of that size."""
    good = images[images["problem"].isna()].astype({"width": int, "height": int})
    sizes = good.groupby(["width", "height"]).size().rename("images").reset_index()
    ax = new_axes(6, 4.5)
    areas = 20 + 280 * sizes["images"] / sizes["images"].max()
    ax.scatter(sizes["width"], sizes["height"], areas, alpha=0.5, linewidth=0)
    ax.axline((0, 0), slope=1, color="0.8", linewidth=1)
    longest = 1.15 * sizes[["width", "height"]].to_numpy().max()
    ax.set(xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, longest), ylim=(0, longest), aspect="equal")
    ax.set_title(f"{len(sizes):,} different size{'s' * (len(sizes) > 1)} among {len(good):,} images")
    return ax


def bottleneck_map(points: np.ndarray, labels: pd.Series) -> Axes:
    """Dots of bottlenecks in two dimensions [n, 2], coloured by label; all but the 8 most common labels are grey."""
    ax = new_axes(8, 5)
    named = labels.value_counts().index[:8]
    size = float(np.clip(20000 / max(len(labels), 1), 4, 30))
    others = ~labels.isin(named).to_numpy()
    if others.any():
        said = f"{labels[others].nunique()} other labels"
        ax.scatter(points[others, 0], points[others, 1], size, color="0.8", linewidth=0, label=said)
    for label, colour, marker in zip(named, PALETTE, MARKERS, strict=False):
        x, y, *_ = points[(labels == label).to_numpy()].T
        ax.scatter(x, y, size, color=colour, marker=marker, alpha=0.6, linewidth=0, label=short(label))
    ax.set(xlabel="first principal component", ylabel="second principal component")
    ax.set_title(f"Map of {len(labels):,} bottlenecks")
    ax.legend(markerscale=min(3, 12 / size + 1), **BESIDE)
    return ax


def gallery(
    pictures: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str],
    title: str,
    columns: int = 6,
    side: float = 1.6,
) -> np.ndarray:
    """Small pictures, uint8 [height, width, 3], `side` inches each, with captions: the Axes, [rows, columns]."""
    rows = max(1, -(-len(pictures) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, (side + 0.5) * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        ax.imshow(picture)
        ax.set_title(caption, fontsize="small", loc="center")
    figure.suptitle(title, x=0.01, ha="left")
    return axes


def samples(drawn: pd.DataFrame, pictures: np.ndarray, labels: int) -> np.ndarray:
    """A gallery of images drawn at random, the rows of `overview.examples`, from as many `labels`."""
    shown = drawn["label"].nunique()
    title = "Images drawn at random" + (f", of {shown} labels" if labels > shown else "")
    return gallery(pictures, [short(label, 20) for label in drawn["label"]], title)


def distorted(pictures: np.ndarray, name: str) -> np.ndarray:
    """An image, called `name`, and its variants, uint8 [1 + variants, height, width, 3]: `distortions.examples`."""
    captions = ["as it is", *(f"variant {number}" for number in range(1, len(pictures)))]
    return gallery(pictures, captions, f"What the distortions make of {short(name)}")


def mistakes(
    wrong: pd.DataFrame, nearest: Sequence[Sequence[tuple[str, str, float]]], pictures: Sequence[Sequence[np.ndarray]]
) -> np.ndarray:
    """The most confident mistakes, two in a row, and right of each what lies nearest among the training images.

    Args:
        wrong: [n] rows of the predictions table: label, predicted, probability.
        nearest: [n], (path, label, distance) of what stands beside each; all of one length, or the last ones shorter.
        pictures: [n], of each mistake and what stands beside it, uint8 [height, width, 3] in their own proportions.

    Returns:
        Axes [n or one more, 1 + beside]: orange captions are of training images with the label of the wrong answer.
    """
    beside, rows = max(map(len, nearest), default=0), -(-len(wrong) // 2)
    ratios = ([1.0] * (1 + beside) + [0.12]) * 2  # with gaps
    size = 1.65 * sum(ratios), 2.5 * rows + 0.3
    figure, spaced = plt.subplots(rows, len(ratios), figsize=size, squeeze=False, width_ratios=ratios)
    for ax in spaced.flat:
        ax.axis("off")
    axes = spaced.reshape(2 * rows, 2 + beside)[:, :-1]
    told = zip(wrong[["label", "predicted", "probability"]].itertuples(index=False), nearest, pictures, strict=True)
    for group, ((label, predicted, sure), near, shown) in zip(axes, told, strict=False):
        captions = [f"{_wrapped(label)}\n→ {_wrapped(predicted)}\n{sure:.0%}"]
        captions += [f"{_wrapped(other)}\ndistance {away:.2f}" for _, other, away in near]
        for ax, picture, caption in zip(group, shown, captions, strict=False):
            ax.imshow(picture)
            ax.set_title(caption, fontsize="small", loc="center")
        group[0].title.set_fontweight("bold")
        for ax, (_, other, _) in zip(group[1:], near, strict=False):
            ax.title.set_color(PALETTE[3] if other == predicted else "0.25")
    figure.suptitle("The most confident mistakes, each with the training images that lie nearest", x=0.01, ha="left")
    return axes


def _wrapped(label: str) -> str:
    """Break a long label into lines, and shorten what fills more than two."""
    return "\n".join(textwrap.wrap(short(label, 36), 19))


def suspects(table: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """A gallery of images whose label is in doubt: as many of the first rows of `table` as there are pictures.

    `table`: columns path, label, suggested; the likeliest first.
    """
    rows = table[["path", "label", "suggested"]].head(len(pictures)).itertuples(index=False)
    captions = [f"{short(Path(path).name, 26)}\n{short(a, 26)}\n→ {short(b, 24)}?" for path, a, b in rows]
    said = f", the {len(pictures)} likeliest of {len(table):,}" if len(table) > len(pictures) else ""
    return gallery(pictures, captions, f"Labels in doubt{said}", columns=4, side=2.4)


def near_duplicates(crossing: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """Pairs of near-duplicates side by side: as many of the first as there are pictures, uint8 [pairs, 2, ..., 3].

    `crossing`: columns path, other, split, other split; the most similar pair first.
    """
    rows = crossing[["path", "split", "other", "other split"]].head(len(pictures)).itertuples(index=False)
    images = [image for path, split, other, other_split in rows for image in ((path, split), (other, other_split))]
    captions = [f"{split}\n{short(Path(path).name, 18)}" for path, split in images]
    said = f", the {len(pictures)} most alike of {len(crossing)}" if len(crossing) > len(pictures) else ""
    title = f"Near-duplicates in different splits, pair by pair{said}"
    axes = gallery(pictures.reshape(-1, *pictures.shape[2:]), captions, title)
    for ax, (_, split) in zip(axes.flat, images, strict=False):
        ax.title.set_color(COLOURS[split])
    return axes


def label_bars(table: pd.DataFrame, pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Each image, by its path, beside bars of its most probable labels.

    `table`: columns path, rank, label, probability, as of `answering.label`.
    """
    images = table.groupby("path", sort=False)
    _, axes = plt.subplots(len(images), 2, figsize=(8, 1.9 * len(images)), squeeze=False, width_ratios=[1, 2.6])
    for (picture, bars), (path, mine) in zip(axes, images, strict=True):
        picture.imshow(pictures[path])
        picture.axis("off")
        picture.set_title(short(Path(path).name, 24), fontsize="small", loc="center")
        colours = [PALETTE[0]] + ["0.75"] * (len(mine) - 1)
        drawn = bars.barh(range(len(mine)), mine["probability"], color=colours, height=0.7)
        bars.bar_label(drawn, fmt="{:.1%}", padding=4, fontsize="small")
        name_rows(bars, map(short, mine["label"]))
        bars.set(xlim=(0, 1.15), xticks=[0, 0.25, 0.5, 0.75, 1], ylim=(max(table["rank"].max(), 3) - 0.4, -0.6))
        percent(bars.xaxis)
    axes[-1, 1].set_xlabel("probability")
    return axes
