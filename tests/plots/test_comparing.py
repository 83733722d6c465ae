"""Figures of 06_compare: with 2 and with many rows, nothing cut off, and what is drawn is what was measured."""

import numpy as np
import pandas as pd
import pytest
from figures import inside
from matplotlib.colors import to_rgb

from retrainlab import plots
from retrainlab.plots import comparing
from retrainlab.plots.style import COLOURS, short

LONG = "a run with a very long name, ünïcode and $dollars$ <b>: how_many_training_steps 4000, weight_decay 0.0001"


@pytest.fixture(autouse=True)
def _style():
    plots.style()


def pairs(count: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    difference = np.sort(random.normal(-0.03, 0.03, count))[::-1]
    rows = [{"run": f"run {n}", "against": "best", "n": 300, "difference": change,
             "low": change - 0.02, "high": change + 0.025,
             "verdict": "worse" if change < -0.025 else "better" if change > 0.02 else "no difference can be shown"}
            for n, change in enumerate(difference)]  # fmt: skip
    return pd.DataFrame(rows)


def fills(ax) -> list[tuple]:
    """How the dots are filled, in the order they were drawn."""
    return [to_rgb(line.get_markerfacecolor()) for line in ax.lines if line.get_marker() not in ("", "None")]


@pytest.mark.parametrize("count", [1, 2, 60])
@pytest.mark.parametrize("wide", [False, True], ids=["short names", "long names"])
def test_pairs_fit_and_are_filled_where_beyond_chance(count, wide):
    table = pairs(count)
    names = {run: run + LONG * wide for run in table["run"]}
    ax = comparing.paired_differences(table, names)
    assert inside(ax.figure)
    drawn = table.head(40)
    beyond = drawn["verdict"].isin(["better", "worse"]).tolist()
    assert [fill == to_rgb(COLOURS["validation"]) for fill in fills(ax)] == beyond
    assert [fill == to_rgb("white") for fill in fills(ax)] == [not shown for shown in beyond]
    dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert dots == pytest.approx((100 * drawn["difference"]).tolist())
    assert ("(40 of 60)" in ax.get_title(loc="left")) == (count == 60)


def test_runs_that_share_no_image_are_left_out():
    table = pairs(3)
    table.loc[1, "n"] = 0
    ax = comparing.paired_differences(table, dict(zip(table["run"], "abc", strict=True)), "test")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "c"]
    assert ax.get_title(loc="left") == "Test accuracy minus that of best"
    assert inside(ax.figure)


def effects(count: int, values: list[str]) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = {f"setting {n}": {"values": values, "means": random.normal(0.85, 0.01, len(values)).tolist(), "p": 0.01,
                             "verdict": "matters" if n % 2 == 0 else "no effect can be shown"}
            for n in range(count)}  # fmt: skip
    rows["mixed up"] = {"values": None, "means": None, "p": np.nan, "verdict": "cannot be separated"}
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.mark.parametrize(("count", "values"), [(1, ["0", "0.1"]), (20, ["0.0001", "0.001", "0.01", "0.1", "1"]),
                                               (3, [f"https://example.org/{'x' * 90}", "y" * 90])])  # fmt: skip
def test_settings_fit_and_name_their_ends(count, values):
    table = effects(count, values)
    ax = comparing.setting_effects(table)
    assert inside(ax.figure)
    rows = min(count, 12)
    assert len(ax.get_yticks()) == rows and len(ax.texts) == 2 * rows
    first = table.iloc[0]
    assert ax.texts[0].get_text() == short(values[int(np.argmin(first["means"]))], 24)
    assert ax.texts[1].get_text() == short(values[int(np.argmax(first["means"]))], 24)
    assert fills(ax)[0] == to_rgb(COLOURS["train"])  # blue: it matters


@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("wide", [False, True], ids=["short names", "long names"])
def test_backbones_fit_and_are_filled_where_not_worse(count, wide):
    milliseconds, accuracy = np.geomspace(2, 80, count), np.linspace(0.8, 0.9, count)
    low = accuracy - accuracy.max() - 0.01
    table = pd.DataFrame({"backbone": "small", "milliseconds": milliseconds, "accuracy": accuracy,
                          "low": low, "high": low + 0.02, "not worse": low > -0.02},
                         [f"run {n}" + LONG * wide for n in range(count)])  # fmt: skip
    table.loc[table.index[-1], ["low", "high", "not worse"]] = 0.0, 0.0, True
    chosen = table.index[table["not worse"]][0]
    ax = comparing.accuracy_against_time(table, chosen, 0.02)
    assert inside(ax.figure)
    assert [fill != to_rgb("white") for fill in fills(ax)] == table["not worse"].astype(bool).tolist()
    orange = [line for line in ax.lines if to_rgb(line.get_color()) == to_rgb(COLOURS["validation"])]
    assert [line.get_xdata()[0] for line in orange] == [table.loc[chosen, "milliseconds"]]
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert said == ["2 points below the best", *(short(f"small ({run})", 36) for run in table.index)]


@pytest.mark.parametrize("count", [1, 40])
def test_runs_fit_and_those_left_out_are_counted(count):
    columns = [f"{split}{part}" for split in ("train", "validation", "test") for part in ("", " low", " high")]
    names = [f"run {n}, with a very long name that somebody gave it" for n in range(count)]
    table = pd.DataFrame([[0.9, 0.8, 0.95] * 2 + [None] * 3] * count, names, columns)
    ax = comparing.compare_runs(table)
    assert inside(ax.figure) and len(ax.get_yticks()) == min(count, 30)
    assert ("30 of 40" in ax.get_title(loc="left")) == (count == 40)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "validation"]  # no test figures


def test_compare_runs_with_missing_splits():
    columns = [f"{split}{part}" for split in ("train", "validation", "test") for part in ("", " low", " high")]
    table = pd.DataFrame([[0.9, 0.8, 0.95] * 3, [0.9, 0.8, 0.95] * 2 + [None] * 3], ["one", "two"], columns)
    assert inside(comparing.compare_runs(table).figure)
