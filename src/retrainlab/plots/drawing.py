"""One function a figure: a table in, an Axes out. Those of 04 and 06 are in `plots_overfitting` and `plots_comparing`.

Training is blue and solid, validation orange and dashed, test green, in every figure. The colours are seaborn's
colour-blind safe ones.
"""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..images.decoding import read_many, read_pixels
from ..images.distortions import Distortion, apply

PALETTE = sns.color_palette("colorblind")
COLOURS = {"train": PALETTE[0], "validation": PALETTE[1], "test": PALETTE[2]}
LINES = {"train": "-", "validation": "--"}
MARKERS = "osD^vP*X"  # so that dots can be told apart without their colours, too
_MOST_LABELS = 40  # more than that cannot be told apart on one axis


def style() -> None:
    """Set the look of every figure, and crisp pictures in notebooks; call it once, next to the imports."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    sns.set_theme(style="whitegrid", palette="colorblind", font_scale=0.9)
    plt.rcParams.update({"figure.figsize": (8, 4), "figure.dpi": 96, "figure.constrained_layout.use": True,
                         "axes.titlesize": "medium", "axes.titlelocation": "left", "savefig.facecolor": "white",
                         "axes.formatter.useoffset": False, "text.parse_math": False,
                         "font.family": _fonts()})  # fmt: skip
    set_matplotlib_formats("retina")
    # a label in a script that no font here has shows as boxes; saying so for every sign would bury the figure
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")


def _fonts() -> list[str]:
    """Fonts that are here, in the order in which Matplotlib looks for a sign: labels in most scripts are shown."""
    from matplotlib import font_manager

    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for file in set(font_manager.findSystemFonts()) - listed:  # Matplotlib's list is older than these
        with contextlib.suppress(RuntimeError, OSError):  # bitmap fonts and the like
            font_manager.fontManager.addfont(file)
    here = set(font_manager.get_font_names())
    wanted = ["DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei",
              "Hiragino Sans GB", "PingFang SC", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
              "Noto Sans Arabic", "Noto Sans Devanagari"]  # fmt: skip
    return [font for font in wanted if font in here]


def axes_of(ax: Axes | None, width: float = 8, height: float = 4) -> Axes:
    return ax if ax is not None else plt.subplots(figsize=(width, height))[1]


def short(label: str, most: int = 28) -> str:
    """Shorten a label for an axis, and keep control characters off it."""
    shown = " ".join(str(label).split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _some_rows(table: pd.DataFrame, most: int = _MOST_LABELS) -> tuple[pd.DataFrame, str]:
    """Keep both ends of a sorted table; the second value says so for a title."""
    if len(table) <= most:
        return table, ""
    half = most // 2
    return pd.concat([table.head(half), table.tail(half)]), f" (first and last {half} of {len(table)} labels)"


# --------------------------------------------------------------------------------------------- images


def image_counts(counts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Bars of images a label, by split. `counts`: what images.counts_by_label returned."""
    ordered, said = _some_rows(counts.sort_values("total", ascending=False))
    ax = axes_of(ax, height=max(2.2, 0.9 + 0.24 * len(ordered)))
    left = np.zeros(len(ordered))
    names = [short(label) for label in ordered.index]
    for split, colour in COLOURS.items():
        ax.barh(np.arange(len(names)), ordered[split], left=left, color=colour, label=split)
        left += ordered[split].to_numpy()
    ax.set(
        yticks=np.arange(len(names)),
        yticklabels=names,
        xlabel="images",
        title=f"Images by label and split{said}",
    )
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(title="split", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def image_sizes(images: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Dots of width against height in pixels; larger dots stand for more images of that size."""
    good = images[images["problem"].isna()]
    sizes = good.groupby(["width", "height"]).size().rename("images").reset_index()
    ax = axes_of(ax, 6, 4.5)
    areas = 20 + 280 * sizes["images"] / sizes["images"].max()
    ax.scatter(sizes["width"].astype(int), sizes["height"].astype(int), areas, alpha=0.5, linewidth=0)
    ax.set(xlabel="width (pixels)", ylabel="height (pixels)",
           title=f"{len(sizes):,} different size{'s' * (len(sizes) > 1)} among {len(good):,} images")  # fmt: skip
    ax.axline((0, 0), slope=1, color="0.8", linewidth=1)
    longest = max(int(good["width"].max()), int(good["height"].max())) * 1.15
    ax.set(xlim=(0, longest), ylim=(0, longest), aspect="equal")
    return ax


def gallery(
    paths: Sequence[Path],
    captions: Sequence[str],
    title: str = "",
    columns: int = 6,
    side: float = 1.6,
    rows: int = 1,
) -> np.ndarray:
    """Small pictures with captions, in at least `rows` rows; returns the Axes, [rows, columns].

    A picture that cannot be read (any more) is grey.
    """
    rows = max(rows, -(-len(paths) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, (side + 0.5) * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, caption in zip(axes.flat, read_many(paths, (round(100 * side),) * 2), captions, strict=False):
        ax.imshow(picture)
        ax.set_title(caption, fontsize="small", loc="center")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return axes


def distorted(path: Path, size: tuple[int, int], distortion: Distortion, sha256: str, variants: int) -> np.ndarray:
    """One image and its first variants, at most 11, exactly as the backbone gets them."""
    count = min(variants, 11)
    axes = gallery([path], ["as it is"], f"What the distortions make of {short(path.name)}", rows=-(-(count + 1) // 6))
    for number, ax in enumerate(axes.flat[1 : count + 1], start=1):
        drawn = distortion.draw(size, sha256, number)
        ax.imshow(apply(read_pixels(path, drawn.resized), drawn, size))
        ax.set_title(f"variant {number}", fontsize="small", loc="center")
    return axes


def samples(images: pd.DataFrame, image_dir: Path, most_labels: int = 12, each: int = 1, seed: int = 0) -> np.ndarray:
    """A gallery with a few images of each label, drawn by `seed`; of the most common labels where there are many."""
    good = images[images["problem"].isna()]
    labels = good["label"].value_counts().index[:most_labels]
    each = max(each, -(-12 // len(labels)))
    drawn = good[good["label"].isin(labels)].sample(frac=1, random_state=seed).groupby("label").head(each)
    drawn = drawn.sort_values("label", kind="stable")
    title = "Images drawn at random" + (f", of {len(labels)} labels" if good["label"].nunique() > len(labels) else "")
    return gallery([image_dir / p for p in drawn["path"]], [short(label, 20) for label in drawn["label"]], title)


# --------------------------------------------------------------------------------------------- bottlenecks


def bottleneck_map(points: np.ndarray, labels: pd.Series, ax: Axes | None = None, most_labels: int = 8) -> Axes:
    """Dots of bottlenecks in two dimensions [n, 2], coloured by label; all but the most common labels are grey."""
    ax = axes_of(ax, 8, 5)
    named = labels.value_counts().index[:most_labels]
    others = ~labels.isin(named).to_numpy()
    size = float(np.clip(20000 / max(len(labels), 1), 4, 30))
    if others.any():
        ax.scatter(
            points[others, 0],
            points[others, 1],
            size,
            color="0.8",
            linewidth=0,
            label=f"{labels[others].nunique()} other labels",
        )
    for number, label in enumerate(named):
        mine = (labels == label).to_numpy()
        ax.scatter(points[mine, 0], points[mine, 1], size, color=PALETTE[number % len(PALETTE)], alpha=0.6,
                   linewidth=0, marker=MARKERS[number % len(MARKERS)], label=short(label))  # fmt: skip
    ax.set(xlabel="first principal component", ylabel="second principal component",
           title=f"Map of {len(labels):,} bottlenecks")  # fmt: skip
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=min(3, 12 / size + 1))
    return ax


# --------------------------------------------------------------------------------------------- training


def curves(history: pd.DataFrame, quantity: str, ax: Axes | None = None) -> Axes:
    """Accuracy or cross_entropy by step: training solid, validation dashed. `history`: of one head."""
    ax = axes_of(ax, 8, 3.4)
    for split, mine in history.groupby("split"):
        ax.plot(
            mine["step"],
            mine[quantity],
            LINES[str(split)],
            color=COLOURS[str(split)],
            label=split,
            linewidth=1.8,
        )
    unit = "accuracy" if quantity == "accuracy" else "cross-entropy (nats)"
    ax.set(
        xlabel="training step",
        ylabel=unit,
        title=f"{unit.split(' (')[0].capitalize()} of both splits while training",
    )
    if quantity == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set_xlim(0, max(history["step"].max(), 1))
    trained = history.loc[history["step"] > 0, quantity]  # the untrained layer's figure would squeeze the rest
    margin = 0.08 * max(trained.max() - trained.min(), 1e-3)
    ax.set_ylim(trained.min() - margin, trained.max() + margin)
    ax.legend(title="split")
    return ax


def choices(
    table: pd.DataFrame, setting: str, chosen: int, quantity: str = "cross_entropy", ax: Axes | None = None
) -> Axes:
    """What a setting does to both splits, one point a head; a vertical line marks the chosen one."""
    ax = axes_of(ax, 8, 3.4)
    places = np.arange(len(table))
    for split, line in LINES.items():
        if f"{split} {quantity}" in table:
            ax.plot(places, table[f"{split} {quantity}"], line, marker="o", color=COLOURS[split], label=split)
    ax.axvline(chosen, color="0.4", linewidth=1, linestyle=":", label="chosen")
    unit = "accuracy" if quantity == "accuracy" else "cross-entropy (nats)"
    ax.set(xticks=places, xticklabels=[f"{value:g}" for value in table[setting]], xlabel=setting.replace("_", " "),
           ylabel=unit, title=f"{setting.replace('_', ' ').capitalize()}, tried side by side")  # fmt: skip
    ax.legend()
    return ax


def differences(changes: Mapping[str, dict], title: str, ax: Axes | None = None) -> Axes:
    """Differences of accuracy in points with 95% intervals, one row each; a line marks none.

    `changes`: name -> what evaluation.paired_difference returned; those without images are left out.
    """
    known = {name: change for name, change in changes.items() if change["accuracy"] is not None}
    ax = axes_of(ax, 8, max(1.5, 0.9 + 0.36 * len(known)))
    ax.axvline(0, color="0.6", linewidth=1)
    for place, change in enumerate(known.values()):
        low, high = (100 * value for value in change["interval"])
        ax.plot([low, high], [place, place], color=PALETTE[0], linewidth=3, solid_capstyle="butt")
        ax.plot(100 * change["accuracy"], place, "o", color=PALETTE[0], markersize=7)
    ax.set(yticks=range(len(known)), yticklabels=[short(name.replace("_", " "), 60) for name in known],
           ylim=(len(known) - 0.4, -0.6), xlabel="percentage points, with 95% interval", title=title)  # fmt: skip
    ax.grid(axis="y", visible=False)
    return ax


def accuracies(metrics: dict, published: dict[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Accuracy of the three splits with 95% intervals; lines for what others published, method -> accuracy."""
    ax = axes_of(ax, 8, 2.2)
    for method, accuracy in (published or {}).items():
        ax.axvline(accuracy, color="0.45", linewidth=1.2, linestyle=":")
        ax.annotate(f"{method}: {accuracy:.1%}", (accuracy, 1), (0, 3), xycoords=("data", "axes fraction"),
                    textcoords="offset points", ha="center", fontsize="x-small")  # fmt: skip
    present = [split for split in COLOURS if metrics[split]["accuracy"] is not None]
    for place, split in enumerate(present):
        figure = metrics[split]
        low, high = figure["interval"]
        ax.plot([low, high], [place, place], color=COLOURS[split], linewidth=3, solid_capstyle="butt")
        ax.plot(figure["accuracy"], place, "o", color=COLOURS[split], markersize=8)
        ax.annotate(
            f"{figure['accuracy']:.1%}",
            (figure["accuracy"], place),
            (0, 8),
            textcoords="offset points",
            ha="center",
        )
    if not published:
        ax.set_title("Accuracy by split")
    ax.set(yticks=range(len(present)), yticklabels=[f"{s} (n = {metrics[s]['n']:,})" for s in present],
           ylim=(len(present) - 0.4, -0.8), xlabel="accuracy, with 95% interval")  # fmt: skip
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return ax


# --------------------------------------------------------------------------------------------- evaluation


def per_label(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy of each label with its 95% interval, worst first. `table`: what evaluation.per_label returned."""
    ordered, said = _some_rows(table[table["n"] > 0].sort_values("accuracy"))
    ax = axes_of(ax, height=max(1.8, 0.9 + 0.24 * len(ordered)))
    places = np.arange(len(ordered))
    ax.hlines(places, ordered["low"], ordered["high"], color=PALETTE[0], linewidth=2)
    ax.plot(ordered["accuracy"], places, "o", color=PALETTE[0])
    names = [f"{short(label)} (n = {n})" for label, n in ordered["n"].items()]
    ax.set(yticks=places, yticklabels=names, xlim=(-0.02, 1.02), xlabel="accuracy, with 95% interval",
           title=f"Accuracy by label, worst first{said}")  # fmt: skip
    ax.set_ylim(len(ordered) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    return ax


def confusion(counts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Confusion matrix: share of each label's images by predicted label, with counts where there is room.

    With many labels, a list of the most frequent confusions is drawn instead.
    """
    if len(counts) > 30:
        return _most_confused(counts, ax)
    side = max(3.4, 1.8 + 0.36 * len(counts))
    ax = axes_of(ax, side + 1.2, side)
    shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0)
    names = [short(label, 20) for label in counts.index]
    numbers = counts.map(lambda count: str(count) if count else "") if len(counts) <= 20 else False
    sns.heatmap(shares.to_numpy(), annot=np.asarray(numbers) if numbers is not False else False, fmt="", vmin=0, vmax=1,
                cmap="Blues", square=True, xticklabels=names, yticklabels=names, ax=ax, linewidths=0.5,
                cbar_kws={"label": "share of the label's images", "shrink": 0.8})  # fmt: skip
    ax.set(xlabel="predicted label", ylabel="label", title="Confusion, in images")
    slanted = len(counts) > 3 or max(map(len, names)) > 10
    plt.setp(ax.get_xticklabels(), rotation=45 if slanted else 0, ha="right" if slanted else "center",
             rotation_mode="anchor")  # fmt: skip
    plt.setp(ax.get_yticklabels(), rotation=0)
    return ax


def _most_confused(counts: pd.DataFrame, ax: Axes | None, most: int = 20) -> Axes:
    pairs = (
        counts.rename_axis(index="label", columns="predicted")
        .reset_index()
        .melt("label", var_name="predicted", value_name="n")
    )
    pairs = pairs[(pairs["label"] != pairs["predicted"]) & (pairs["n"] > 0)].nlargest(most, "n")
    ax = axes_of(ax, height=max(1.8, 0.9 + 0.24 * len(pairs)))
    names = [f"{short(a, 20)} → {short(b, 20)}" for a, b in zip(pairs["label"], pairs["predicted"], strict=True)]
    ax.barh(np.arange(len(pairs)), pairs["n"], color=PALETTE[0])
    ax.set(yticks=np.arange(len(pairs)), yticklabels=names, xlabel="images",
           title=f"The most frequent confusions of {len(counts)} labels")  # fmt: skip
    ax.set_ylim(len(pairs) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def reliability(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy against stated probability; on the diagonal the classifier is as good as it says."""
    ax = axes_of(ax, 4.6, 4)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    ax.vlines(table["probability"], table["low"], table["high"], color="0.25", linewidth=2)
    ax.plot(table["probability"], table["accuracy"], "o", color="0.25")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="stated probability", ylabel="accuracy, with 95% interval",
           title="Reliability")  # fmt: skip
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return ax


def mistakes(predicted: pd.DataFrame, image_dir: Path, most: int = 12) -> np.ndarray:
    """A gallery of the most confident mistakes."""
    wrong = predicted[predicted["label"] != predicted["predicted"]].nlargest(most, "probability")
    captions = [f"{short(r.label, 19)}\n→ {short(r.predicted, 17)}\n{r.probability:.0%}" for r in wrong.itertuples()]
    return gallery([image_dir / p for p in wrong["path"]], captions, "The most confident mistakes", side=1.65)


# --------------------------------------------------------------------------------------------- labelling


def label_bars(table: pd.DataFrame, photos: Mapping[str, bytes] | None = None) -> np.ndarray:
    """Each image beside bars of its most probable labels.

    `table`: what labeling.label returned; `photos`: what it was given, if that was content and not paths.
    """
    paths = list(dict.fromkeys(table["path"]))
    _, axes = plt.subplots(len(paths), 2, figsize=(8, 1.9 * len(paths)), squeeze=False,
                                width_ratios=[1, 2.6])  # fmt: skip
    for (picture, bars), path in zip(axes, paths, strict=True):
        mine = table[table["path"] == path]
        picture.imshow(read_pixels(photos[path] if photos else path, (160, 160)))
        picture.axis("off")
        picture.set_title(short(Path(path).name, 24), fontsize="small", loc="center")
        names = [short(label) for label in mine["label"]]
        places = np.arange(len(names))
        most = int(table["rank"].max())
        bars.barh(places, mine["probability"], color=[PALETTE[0]] + ["0.75"] * (len(names) - 1), height=0.7)
        for place, value in zip(places, mine["probability"], strict=True):
            bars.annotate(
                f"{value:.1%}",
                (value, place),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
            )
        bars.set(yticks=places, yticklabels=names, xlim=(0, 1.15), ylim=(max(most, 3) - 0.4, -0.6),
                 xticks=[0, 0.25, 0.5, 0.75, 1])  # fmt: skip
        bars.xaxis.set_major_formatter(PercentFormatter(1))
        bars.grid(axis="y", visible=False)
    axes[-1, 1].set_xlabel("probability")
    return axes
