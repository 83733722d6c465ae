"""The look that all figures share.

Training is blue and solid, validation orange and dashed, test green, in every figure. The colours are seaborn's
colour-blind safe ones.
"""

import contextlib
import warnings
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import PercentFormatter

# without its grey, which is for the rest
PALETTE = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#ece133", "#56b4e9"]
COLOURS = {"train": PALETTE[0], "validation": PALETTE[1], "test": PALETTE[2]}
LINES = {"train": "-", "validation": "--"}
MARKERS = "osD^vP*X"  # so that dots can be told apart without their colours, too
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)}  # the figure, where a legend hides nothing
UNITS = {"accuracy": "accuracy", "cross_entropy": "cross-entropy (nats)"}
_FONTS = (  # in the order in which Matplotlib looks for a sign
    "DejaVu Sans, Noto Sans, Noto Sans CJK SC, Noto Sans CJK JP, WenQuanYi Zen Hei, Hiragino Sans GB, PingFang SC, "
    "Microsoft YaHei, Malgun Gothic, Arial Unicode MS, Noto Sans Arabic, Noto Sans Devanagari"
)


def style() -> None:
    """Set the look of every figure, and crisp pictures in notebooks; call it once, next to the imports."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    # seaborn's look, but seaborn is not imported for it: with SciPy and statsmodels here, that takes a second
    plt.style.use("seaborn-v0_8-whitegrid")
    plt.rcParams.update({"figure.figsize": (8, 4), "figure.dpi": 96, "figure.constrained_layout.use": True})
    plt.rcParams.update({"axes.titlesize": "medium", "axes.titlelocation": "left", "axes.formatter.useoffset": False})
    plt.rcParams.update({"axes.prop_cycle": cycler(color=PALETTE), "axes.linewidth": 1.25, "legend.frameon": True})
    plt.rcParams.update(dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9.9))
    plt.rcParams.update({"xtick.major.pad": 8, "ytick.major.pad": 8, "grid.linewidth": 1})
    plt.rcParams.update({"font.size": 10.8, "font.family": _fonts(), "text.parse_math": False})
    set_matplotlib_formats("retina")
    # a label in a script that no font here has shows as boxes; saying so for every sign would bury the figure
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")


def _fonts() -> list[str]:
    """Fonts that are here, so that labels in most scripts are shown."""
    from matplotlib import font_manager

    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for file in set(font_manager.findSystemFonts()) - listed:  # Matplotlib's list is older than these
        with contextlib.suppress(RuntimeError, OSError):  # bitmap fonts and the like
            font_manager.fontManager.addfont(file)
    here = set(font_manager.get_font_names())
    return [font for font in _FONTS.split(", ") if font in here]


def new_axes(width: float, height: float) -> Axes:
    """Make a figure of this size in inches, and return its Axes."""
    return plt.subplots(figsize=(width, height))[1]


def short(label: str, most: int = 28) -> str:
    """Shorten a label for an axis, and keep control characters off it."""
    shown = " ".join(str(label).split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def some_rows(table: pd.DataFrame, most: int = 40) -> tuple[pd.DataFrame, str]:
    """Keep both ends of a sorted table of labels; the second value says so for a title."""
    if len(table) <= most:  # more than that cannot be told apart on one axis
        return table, ""
    half = most // 2
    return pd.concat([table.head(half), table.tail(half)]), f" (first and last {half} of {len(table)} labels)"


def name_rows(ax: Axes, names: Iterable[str], above: float = 0.6) -> None:
    """Name the rows of a figure from the top down, without lines between them; `above`: room over the first one."""
    names = list(names)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -above)
    ax.grid(axis="y", visible=False)


def with_intervals(ax: Axes, places: Any, measured: Any, colour: str, width: float = 2, **look: Any) -> None:
    """Draw what was `measured`, (values, low, high), as dots on bars of this width in the rows `places`."""
    values, low, high = measured
    ax.hlines(places, low, high, color=colour, linewidth=width)
    ax.plot(values, places, "o", color=colour, **look)


def percent(*axes: Axis) -> None:
    """Write shares, 0 to 1, as percent."""
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1))
