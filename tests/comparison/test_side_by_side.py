"""06_compare, on runs of all kinds: what it says of them, what it draws, and what it leaves out."""

import pytest
from conftest import run_notebook
from written_runs import write_run

from retrainlab.comparison.side_by_side import Comparison
from retrainlab.errors import RetrainLabError
from retrainlab.runs import listing
from retrainlab.runs.results import load


def notebook(folder, **parameters) -> str:
    return run_notebook("06", reports_dir=str(folder), **parameters)


def test_the_notebook_on_runs_of_all_kinds(tmp_path):
    write_run(tmp_path, "a", accuracy=0.95, n=200, settings={"weight_decay": 0.1}, learnt_from={"weight_decay": [0.1]},
              milliseconds=9)  # fmt: skip
    write_run(tmp_path, "b", accuracy=0.75, n=200, settings={"weight_decay": 0.0}, learnt_from={"weight_decay": [0.0]},
              milliseconds=9)  # fmt: skip
    write_run(tmp_path, "c", seed=3, accuracy=0.9, n=200, backbone="large", milliseconds=30)
    write_run(tmp_path, "d", n=100, seed=4)
    said = notebook(tmp_path, run="b")
    for part in ("4 runs under", "3 of 4 runs have the same images", "Right less often",
                 "Best on validation: a, judged on the 100 images that all 4 runs share",
                 "weight_decay matters: 0.1 has the highest mean", "Only one thing differs (weight_decay)",
                 "also the cheapest"):  # fmt: skip
        assert part in said, part
    assert "100 images are only in 'c'" in notebook(tmp_path, run="c", compare=["c", "d"])
    write_run(tmp_path, "e", n=60, first=140)  # shares images with a, b and c, and none with d
    said = notebook(tmp_path, run="b")
    assert "Which of these 5 runs is best cannot be told" in said and "3 of 5 runs have the same images" in said


def asked(folder, run: str, names: tuple[str, ...] = ()) -> dict:
    """All questions that 06_compare asks of runs."""
    compared = Comparison(load(folder, names), run)
    found = {"all_runs": compared.all_runs(listing.list_runs(folder), folder)}
    others = ("difference", "difference_in_numbers", "tested", "settings", "set_to", "change", "backbones", "summary")
    return found | {name: getattr(compared, name)() for name in others}


def test_figures_and_tables_are_there_where_there_is_something_to_show(tmp_path):
    assert not [name for name, found in asked(tmp_path, "a").items() if found.draw]  # no run at all
    write_run(tmp_path, "a", n=60, milliseconds=9, settings={"learning_rate": 0.1})
    alone = asked(tmp_path, "a")
    assert [name for name, found in alone.items() if found.draw] == ["all_runs"]
    assert [name for name, found in alone.items() if found.table is not None] == ["all_runs"]
    write_run(tmp_path, "b", n=90, accuracy=0.6, backbone="large", milliseconds=30)
    write_run(tmp_path, "c", n=60, accuracy=0.7, settings={"learning_rate": 0.2})
    found = asked(tmp_path, "b")
    drawn = ["all_runs", "difference", "tested", "settings", "change", "backbones"]
    assert [name for name, one in found.items() if one.draw] == drawn
    assert all(found[name].plot() is not None for name in drawn)
    tables = {name: one.table.data for name, one in found.items() if one.table is not None}
    assert list(tables) == ["all_runs", "difference_in_numbers", "set_to"]
    assert sorted(tables["all_runs"].index) == ["a", "b", "c"] and tables["all_runs"].loc["b", "n"] == 90
    assert sorted(tables["difference_in_numbers"]["run"]) == ["b", "c"]
    assert tables["set_to"]["learning_rate"].to_dict() == {"a": "0.1", "b": "not set", "c": "0.2"}


def test_the_summary_says_nothing_that_the_questions_did_not(tmp_path):
    for name, accuracy in (("a", 0.95), ("b", 0.7)):
        write_run(tmp_path, name, n=90, accuracy=accuracy, backbone=name, milliseconds=9, settings={"rate": name})
    found = asked(tmp_path, "b")
    lines = found["summary"].sentence.splitlines()
    said = "\n".join(one.sentence for name, one in found.items() if name != "summary")
    tested = [line for line in lines if line.startswith("Test accuracy of 'a', which validation chose: ")]
    prefixes = ("Settings: ", "'b' and 'a', looked at alone: ")
    for prefix in prefixes:
        assert any(line.startswith(prefix) for line in lines)
        lines = [line.removeprefix(prefix) for line in lines]
    assert len(tested) == 1 and all(line in said for line in lines if line not in tested)


def test_the_notebook_goes_on_without_what_it_needs(tmp_path):
    assert "nothing to choose by" in notebook(tmp_path)
    write_run(tmp_path, "bare").folder.joinpath("predictions.parquet").unlink()
    said = notebook(tmp_path)
    assert "1 run under" in said and "'bare' has no predictions" in said and "nothing to choose by" in said
    write_run(tmp_path, "one", n=30)
    said = notebook(tmp_path)
    assert "Best on validation: one." in said and "where a change came from cannot be told" in said
    write_run(tmp_path, "far", prefix="other ")
    said = notebook(tmp_path, compare=["one", "far"])
    assert "Left out from here on" in said and "cannot be told" in said
    for name in ("x", "y"):
        write_run(tmp_path, name, splits=("train", "test"), settings={"learning_rate": len(name)})
    said = notebook(tmp_path, compare=["x", "y"])
    assert "nothing to choose by" in said and "Not both have validation images" in said
    with pytest.raises(RetrainLabError, match="no trained run 'z'"):
        notebook(tmp_path, compare=["z"])
