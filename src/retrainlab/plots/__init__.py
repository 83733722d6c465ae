"""A table in, a figure out: one function each.

Every figure of a notebook, and `style`, is here by its name: `plots.confusion(...)`.

Takes: tables and arrays of what was measured; pictures as uint8 [n, height, width, 3].
Gives: the Axes that it drew on, or an array of them.
May use: no other room.
"""

from .comparing import accuracy_against_time, compare_runs, paired_differences, setting_effects
from .evaluation import accuracies, confusion, per_label, reliability
from .images import bottleneck_map, image_counts, image_sizes
from .overfit import bands, data_curve, gaps, memorised, settings_path
from .pictures import distorted, gallery, label_bars, mistakes, near_duplicates, samples, suspects
from .style import style
from .training import choices, curves, differences
