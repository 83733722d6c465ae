"""A table in, a figure out: one function each.

Every figure of a notebook, and `style`, is here by its name: `plots.confusion(...)`.

Takes: tables and arrays of what was measured; pictures as uint8 [n, height, width, 3].
Gives: the Axes that it drew on, or an array of them.
May use: no other room.
"""

from .comparing import accuracy_against_time, compare_runs, paired_differences, setting_effects
from .overfitting import bands, gaps, learning_curve, memorised, settings_path
from .pictures import (
    bottleneck_map,
    distorted,
    gallery,
    image_counts,
    image_sizes,
    label_bars,
    mistakes,
    near_duplicates,
    samples,
    suspects,
)
from .ranking import rank_curves
from .slices import weak_groups
from .style import style
from .training import accuracies, choices, confusion, curves, differences, per_label, reliability
from .trust import coverage, explained, labels_saved, masked, robustness, strangeness
