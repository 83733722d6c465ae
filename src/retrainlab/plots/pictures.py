"""Figures that show images: galleries, and labels beside them. Pictures come as pixels, read by the caller.

`decoding.read_many` reads them; 160 pixels a side are as many as a gallery shows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from .style import COLOURS, PALETTE, name_rows, short


def gallery(
    pictures: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str],
    title: str = "",
    columns: int = 6,
    side: float = 1.6,
) -> np.ndarray:
    """Small pictures, uint8 [n, height, width, 3], with captions; returns the Axes, [rows, columns].

    `side`: of a picture, in inches.
    """
    rows = max(1, -(-len(pictures) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, (side + 0.5) * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        ax.imshow(picture)
        ax.set_title(caption, fontsize="small", loc="center")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return axes


def samples(drawn: pd.DataFrame, pictures: np.ndarray, labels: int) -> np.ndarray:
    """A gallery of images drawn at random, under their labels.

    Args:
        drawn: the rows of `overview.examples`.
        pictures: theirs, uint8 [n, height, width, 3].
        labels: how many labels there are.
    """
    shown = drawn["label"].nunique()
    title = "Images drawn at random" + (f", of {shown} labels" if labels > shown else "")
    return gallery(pictures, [short(label, 20) for label in drawn["label"]], title)


def distorted(pictures: np.ndarray, name: str) -> np.ndarray:
    """An image, called `name`, and its variants, uint8 [1 + variants, height, width, 3]: `distortions.examples`."""
    captions = ["as it is", *(f"variant {number}" for number in range(1, len(pictures)))]
    return gallery(pictures, captions, f"What the distortions make of {short(name)}")


def mistakes(wrong: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """A gallery of the most confident mistakes: rows of the predictions table, and their pictures."""
    rows = zip(wrong["label"], wrong["predicted"], wrong["probability"], strict=True)
    captions = [f"{short(label, 19)}\n→ {short(predicted, 17)}\n{sure:.0%}" for label, predicted, sure in rows]
    return gallery(pictures, captions, "The most confident mistakes", side=1.65)


def suspects(table: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """A gallery of images whose label is in doubt, the likeliest first.

    Args:
        table: columns path, label, suggested; the likeliest first.
        pictures: of its first rows, as many as are to be shown: uint8 [n, height, width, 3].
    """
    rows = table[["path", "label", "suggested"]].head(len(pictures)).itertuples(index=False)
    captions = [f"{short(Path(path).name, 26)}\n{short(a, 26)}\n→ {short(b, 24)}?" for path, a, b in rows]
    said = f", the {len(pictures)} likeliest of {len(table):,}" if len(table) > len(pictures) else ""
    return gallery(pictures, captions, f"Labels in doubt{said}", columns=4, side=2.4)


def near_duplicates(crossing: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """Pairs of near-duplicates side by side, the most similar first.

    Args:
        crossing: columns path, other, split, other split; the most similar pair first.
        pictures: of the first pairs, as many as are to be shown: uint8 [pairs, 2, height, width, 3].
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
    """Each image beside bars of its most probable labels.

    Args:
        table: columns path, rank, label, probability, as of `labelers.label`.
        pictures: path -> uint8 [height, width, 3].
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
        bars.xaxis.set_major_formatter(PercentFormatter(1))
    axes[-1, 1].set_xlabel("probability")
    return axes
