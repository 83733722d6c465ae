"""The figure of where a classifier fails: nothing cut off, and the weak groups marked."""

import numpy as np
import pandas as pd
import pytest
from figures import inside

from retrainlab import plots


@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_figure_marks_the_weak_and_cuts_nothing_off(count):
    plots.style()
    accuracy = np.linspace(0.9, 0.3, count)
    table = pd.DataFrame({"n": 1234, "accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1},
                         index=[f"folder: {number} {'long ' * 20}" for number in range(count)])  # fmt: skip
    ax = plots.weak_groups(table.assign(weak=accuracy < 0.5), 0.85, 120)
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines["within chance"].get_xdata()) == sorted(accuracy[accuracy >= 0.5])
    assert ("fewer right,\nbeyond chance" in lines) == (count > 1)
    assert list(lines["all images"].get_xdata()) == [0.85, 0.85] and inside(ax.figure)
    assert ax.get_title(loc="left") == f"Where it fails, {count} of 120 groups"
