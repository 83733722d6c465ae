"""The figures of 04_overfitting; see `plots` for their style."""

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, PercentFormatter, StrMethodFormatter

from ..images.decoding import read_many
from .pictures import gallery
from .style import COLOURS, LINES, MARKERS, axes_of, short

if TYPE_CHECKING:  # an analysis draws its figures from here
    from ..analysis.learning_curve import DataCurve, Fit

_SHOWN = 0.12  # of the accuracies of settings, from the best one down


def gaps(rows: pd.DataFrame, guess: float, ax: Axes | None = None) -> Axes:
    """Training and validation accuracy, one row a way of training, joined by the gap between them.

    Args:
        rows: of `overfitting.gaps`.
        guess: the accuracy of always answering with the most common label; a dotted line.
    """
    ax = axes_of(ax, 8, 1.3 + 0.5 * len(rows))
    places = np.arange(len(rows))
    ax.hlines(places, rows["validation"], rows["train"], color="0.8", linewidth=6)
    for shift, split in ((-0.12, "train"), (0.12, "validation")):
        ax.hlines(places + shift, rows[f"{split} low"], rows[f"{split} high"], color=COLOURS[split], linewidth=2.5)
        ax.plot(rows[split], places + shift, "o", color=COLOURS[split], markersize=7, label=split)
    ax.axvline(guess, color="0.4", linewidth=1, linestyle=":", label="always the most\ncommon label")
    ax.set(yticks=places, yticklabels=list(rows.index), ylim=(len(rows) - 0.5, -0.5),
           xlabel="accuracy (bars: the run's 95% interval; where 95% of re-splits lie)", title="The gap")  # fmt: skip
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def bands(history: pd.DataFrame, quantity: str, mark: int | None = None, ax: Axes | None = None) -> Axes:
    """Accuracy or cross_entropy by step over re-splits: their mean, and the band that holds 95% of them.

    Args:
        history: columns member, step, split and the quantity.
        mark: a step to mark with a vertical line.
    """
    ax = axes_of(ax, 8, 3.2)
    trained = history[history["step"] > 0]  # the untrained layer's figure would squeeze the rest
    for split, line in LINES.items():
        mine = trained[trained["split"] == split].groupby("step")[quantity]
        mean = mine.mean()
        ax.fill_between(mean.index, mine.quantile(0.025), mine.quantile(0.975), color=COLOURS[split], alpha=0.2,
                        linewidth=0)  # fmt: skip
        ax.plot(mean.index, mean, line, color=COLOURS[split], linewidth=1.8, label=split)
    if mark is not None:
        ax.axvline(mark, color="0.4", linewidth=1, linestyle=":", label="lowest validation\ncross-entropy")
    unit = "accuracy" if quantity == "accuracy" else "cross-entropy (nats)"
    ax.set(xlabel="training step (logarithmic)", ylabel=unit, xscale="log",
           title=f"{unit.split(' ')[0].capitalize()} over {history['member'].nunique()} re-splits: mean, and where "
                 "95% of them lie")  # fmt: skip
    _plain_ticks(ax)
    if quantity == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _plain_ticks(ax: Axes) -> None:
    """Ticks of a logarithmic axis as 1, 2, 5, 10, 20, ... instead of powers of ten."""
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.minorticks_off()


def near_duplicates(crossing: pd.DataFrame, image_dir: Path, most: int = 9) -> np.ndarray:
    """Pairs of near-duplicates side by side, the most similar first.

    `crossing`: columns path, other, split, other split, similarity.
    """
    shown = crossing.head(most)
    figure, axes = plt.subplots(-(-len(shown) // 3), 6, figsize=(9.6, 2.1 * -(-len(shown) // 3)), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for place, row in enumerate(shown.to_dict("records")):
        for side, (path, split) in enumerate(((row["path"], row["split"]), (row["other"], row["other split"]))):
            ax = axes.flat[2 * place + side]
            ax.imshow(read_many([image_dir / path], (160, 160))[0])
            name = short(Path(path).name, 18)
            ax.set_title(f"{split}\n{name}", fontsize="small", loc="center", color=COLOURS[split])
    said = f", the {most} most alike of {len(crossing)}" if len(crossing) > most else ""
    figure.suptitle(f"Near-duplicates in different splits, pair by pair{said}", x=0.01, ha="left")
    return axes


def suspects(table: pd.DataFrame, image_dir: Path, most: int = 12) -> np.ndarray:
    """A gallery of images whose label is in doubt, the likeliest first; `table`: columns path, label, suggested."""
    shown = table.head(most)
    captions = [
        f"{short(Path(r.path).name, 26)}\n{short(r.label, 26)}\n→ {short(r.suggested, 24)}?" for r in shown.itertuples()
    ]
    title = "Labels in doubt" + (f", the {most} likeliest of {len(table):,}" if len(table) > most else "")
    pictures = read_many([image_dir / path for path in shown["path"]], (240, 240))
    return gallery(pictures, captions, title, columns=4, side=2.4)


def settings_path(table: pd.DataFrame, current: pd.Series, chosen: pd.Series, ax: Axes | None = None) -> Axes:
    """Validation accuracy against the gap, one dot a setting and step, coloured by weight decay.

    Args:
        table: weight_decay, and train and validation accuracy, as of `regularisation.SettingsPath`.
        current, chosen: rows of it: a square and a star, joined by an arrow.
    """
    ax = axes_of(ax, 8, 4.2)
    decays = sorted(set(table["weight_decay"]))
    for decay, colour, marker in zip(decays, sns.color_palette("viridis", len(decays)), cycle(MARKERS), strict=False):
        mine = table[table["weight_decay"] == decay]
        ax.plot(100 * (mine["train accuracy"] - mine["validation accuracy"]), mine["validation accuracy"], marker,
                color=colour, markersize=6, alpha=0.8, linestyle="", label=f"{decay:g}")  # fmt: skip
    ends = [(100 * (row["train accuracy"] - row["validation accuracy"]), row["validation accuracy"])
            for row in (current, chosen)]  # fmt: skip
    ax.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->", "color": "0.3", "shrinkA": 7, "shrinkB": 9})
    for (x, y), marker, name in zip(ends, "s*", ("as it is", "chosen"), strict=True):
        ax.plot(x, y, marker, color="white", markeredgecolor="black", markersize=9 if marker == "s" else 15, label=name)
    ax.set(xlabel="gap: training minus validation accuracy (percentage points)", ylabel="validation accuracy",
           title=f"{len(table)} settings: weight decays, learning rates and steps")  # fmt: skip
    top, bottom = table["validation accuracy"].max(), table["validation accuracy"].min()
    lowest = min(top - _SHOWN, *(y for _, y in ends))
    if bottom < lowest:  # a few that learn hardly anything would squeeze the others
        room = 0.05 * (top - lowest)
        ax.set_ylim(lowest - room, top + room)
        ax.set_title(f"{len(table)} settings: weight decays, learning rates and steps (some lie below)")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.legend(title="weight decay", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def data_curve(curve: "DataCurve", fit: "Fit", ax: Axes | None = None) -> Axes:
    """Accuracy against training images: what was measured, the power law, and its prediction for twice as many."""
    ax = axes_of(ax, 8, 3.6)
    ax.plot(curve.sizes, np.nanmean(curve.train_accuracy, axis=1), LINES["train"], marker="o", color=COLOURS["train"],
            label="train")  # fmt: skip
    ax.plot(fit.sizes, 1 - fit.errors, "o", color=COLOURS["validation"], label="validation")
    if np.isfinite(fit.twice):
        sizes = np.geomspace(fit.sizes[0], 2 * fit.sizes[-1], 60)
        ax.plot(sizes, 1 - fit.error(sizes), LINES["validation"], color=COLOURS["validation"], label="power law")
        low, high = (1 - fit.now + gain for gain in fit.gain_interval)
        ax.plot([sizes[-1]] * 2, [low, high], "_-", color=COLOURS["validation"], linewidth=1.5, markersize=9)
        ax.plot(sizes[-1], 1 - fit.twice, "D", color="white", markeredgecolor=COLOURS["validation"], markersize=4,
                label="twice the images,\nwith the 95% interval\nof the gain")  # fmt: skip
    ax.set(xlabel="training images (logarithmic)", ylabel="accuracy", title="More images", xscale="log")
    ax.set_xticks(ticks := [*curve.sizes, *([2 * curve.sizes[-1]] if np.isfinite(fit.twice) else [])])
    ax.set_xticklabels([f"{size:,.0f}" for size in ticks])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def memorised(table: pd.DataFrame, ax: Axes | None = None, most: int = 15) -> Axes:
    """Share of images that are right in training and wrong out of fold, by label, with 95% intervals; worst first.

    `table`: what evaluation.memorised returned.
    """
    known = table[table["n"] > 0]
    shown = known.head(most)
    ax = axes_of(ax, 8, max(1.8, 1 + 0.26 * len(shown)))
    places = np.arange(len(shown))
    ax.hlines(places, shown["low"], shown["high"], color=COLOURS["train"], linewidth=2.5)
    ax.plot(shown["memorised"], places, "o", color=COLOURS["train"], markersize=7)
    said = f", the {most} worst of {len(known)} labels" if len(known) > most else ""
    ax.set(yticks=places, yticklabels=[f"{short(str(label))} (n = {n:,})" for label, n in shown["n"].items()],
           ylim=(len(shown) - 0.4, -0.6), xlim=(0, None),
           xlabel="share of its images: right when learnt from, wrong when not; with 95% interval",
           title=f"Remembered, not understood{said}")  # fmt: skip
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.grid(axis="y", visible=False)
    return ax
