import subprocess
import sys

import pandas as pd
import pytest
from matplotlib import font_manager

from retrainlab import plots
from retrainlab.plots.style import short


@pytest.fixture(autouse=True)
def _style():
    plots.style()


def test_short_keeps_control_characters_off_axes():
    assert short("a\tb\nc") == "a b c"
    assert len(short("x" * 99)) == 28


def test_labels_in_chinese_are_drawn_where_a_font_for_them_is_here(recwarn):
    if not any("CJK" in font for font in font_manager.get_font_names()):
        pytest.skip("no Noto CJK font here; .ci/run installs one")
    recwarn.clear()
    ax = plots.per_label(pd.DataFrame({"n": [1], "accuracy": [1.0], "low": [0.2], "high": [1.0]}, index=["猫"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [])  # `style` hushes the warning that is looked for
        ax.figure.canvas.draw()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_importing_plots_and_evaluation_does_not_import_what_only_some_functions_need():
    code = "import sys; from retrainlab import plots; from retrainlab.evaluation import calibration, scores\n"
    code += "print(*sorted({'scipy', 'seaborn', 'sklearn', 'statsmodels'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
