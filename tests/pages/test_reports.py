import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from conftest import make_folder, make_image, run_notebook
from nbformat import v4

from retrainlab.comparison import pairwise
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import intervals
from retrainlab.pages import reports
from retrainlab.runs import run_folder

KNOWN = {
    "steps": {"default": 1, "type": int, "help": "how many"},
    "rate": {"default": 0.1, "type": float, "help": "how fast"},
    "name": {"default": "", "type": str, "help": "what"},
    "on": {"default": True, "type": bool, "help": "whether"},
    "decay": {"default": [0.0], "type": list, "help": "which"},
    "images": {"default": [], "type": list, "help": "paths"},
    "compare": {"default": [], "type": list, "help": "names"},
}
SPLIT = {"n": 10, "accuracy": 0.8, "interval": [0.5, 0.9], "cross_entropy": 0.4}
METRICS = {"labels": ["a", "b"], "backbone": "tiny", "steps": 5, "train": SPLIT, "validation": SPLIT, "test": SPLIT,
           "gap": {"accuracy": 0.0, "interval": [-0.3, 0.3]}}  # fmt: skip


def test_values_are_made_to_fit():
    pairs = [("steps", "3"), ("rate", "1e-4"), ("name", "0815"), ("on", "false"), ("decay", "[0, 1e-3]")]
    found = reports.check_parameters(reports.read_parameters(pairs, KNOWN), KNOWN)
    assert found["steps"] == 3 and found["rate"] == 1e-4 and found["on"] is False
    assert [float(value) for value in found["decay"]] == [0, 1e-3]
    for text in ("/photos #1", "2024-05-01", "007", "no", "a: b", ""):
        assert reports.read_parameters([("name", text)], KNOWN) == {"name": text}
    assert reports.check_parameters({"decay": 0.5}, KNOWN) == {"decay": [0.5]}
    assert reports.check_parameters({"name": 2024}, KNOWN) == {"name": "2024"}


def test_a_list_of_names_or_of_paths_is_read_as_it_was_typed():
    typed = [("images", text) for text in ("5", "2024-05-01", "photo #1.jpg", "a: b.jpg", "a,b.jpg", " c.jpg")]
    names = {"a,b": ["a", "b"], "a , 5": ["a", "5"], "0815": ["0815"], "": [], "[a, 5]": ["a", "5"]}
    wanted = [["5"], ["2024-05-01"], ["photo #1.jpg"], ["a: b.jpg"], ["a,b.jpg"], [" c.jpg"], [], ["a", "b c"]]
    pairs = [*typed, ("images", ""), ("images", "[a, b c]"), *(("compare", text) for text in names)]
    read = [reports.check_parameters(reports.read_parameters([pair], KNOWN), KNOWN) for pair in pairs]
    assert [value for found in read for value in found.values()] == [*wanted, *names.values()]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stesp": 3}, "Unknown parameter 'stesp'. Did you mean steps?"),
        ({"steps": "many"}, "Parameter steps is 'many'. Expected a whole number: how many."),
        ({"steps": 1.5}, "Expected a whole number"),
        ({"rate": "fast"}, "Expected a number: how fast"),
        ({"on": 1}, "Expected true or false"),
        ({"images": None}, "Parameter images is None. Expected a list: paths."),
        ({"images": {"a": "b.jpg"}}, "Expected a list: paths"),
        ({"compare": [True]}, "Expected a list: names"),
    ],
)
def test_wrong_parameters_are_said(values, said):
    with pytest.raises(RetrainLabError) as error:
        reports.check_parameters(values, KNOWN)
    assert said in str(error.value)


def test_a_parameters_file_and_pairs_that_win(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("steps: 5\nname: x\n")
    assert reports.read_parameters([("steps", "6")], KNOWN, file) == {"steps": 6, "name": "x"}
    file.write_text("- steps")
    with pytest.raises(RetrainLabError, match="holds no parameters"):
        reports.read_parameters([], KNOWN, file)
    file.write_text("a: [")
    with pytest.raises(RetrainLabError, match="cannot be read as YAML"):
        reports.read_parameters([], KNOWN, file)
    with pytest.raises(RetrainLabError, match=r"none.yaml' cannot be read"):
        reports.read_parameters([], KNOWN, tmp_path / "none.yaml")


def test_an_index_without_runs_says_so(tmp_path):
    assert "No run yet" in reports.write_index(tmp_path).read_text()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "01_explore.html").touch()
    text = reports.write_index(tmp_path).read_text()
    assert "No run yet" not in text and '<a href="begun/01_explore.html">Explore</a>' in text


def test_pages_of_other_parameters_never_count_as_done(tmp_path, monkeypatch):
    def fail(*_):
        raise RetrainLabError("no")

    monkeypatch.setattr(reports, "_execute", fail)
    pages = tmp_path / "x"
    pages.mkdir()
    (pages / "03_retrain.html").touch()
    for resume in (False, True):
        with pytest.raises(RetrainLabError, match="no"):
            reports.report("x", {"reports_dir": str(tmp_path), "seed": 5}, resume=resume, say=lambda line: None)
        assert not list(pages.glob("*.html"))
    assert "No run yet" in (tmp_path / "index.html").read_text()


def test_only_must_name_a_notebook(tmp_path):
    with pytest.raises(RetrainLabError, match=r"--only 99 names no notebook\. Known: 01_explore"):
        reports.report("x", {"reports_dir": str(tmp_path)}, only=["99"])


def test_cells_that_show_nothing_fold_together():
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

    cells = [new_code_cell("a"), new_code_cell("b"), new_code_cell("c", outputs=[new_output("stream", text="x")])]
    folded = reports._folded([*cells, new_markdown_cell("text"), new_code_cell("d")])
    assert [cell.source for cell in folded] == ["a\n\nb\n\nc", "text", "d"]
    assert len(folded[0].outputs) == 1


_TABLE = pd.DataFrame({"path": ["a"], "label": ["x"], "problem": [None]})


def _executed(run, stem, minutes=0, **parameters):
    """A page as papermill leaves it, executed minutes ago."""
    ended = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    book = v4.new_notebook(cells=[v4.new_markdown_cell("# What?")])
    book.metadata["papermill"] = {"parameters": {"run": run.name, **parameters}, "end_time": ended}
    (run.folder / f"{stem}.ipynb").write_text(json.dumps(book))
    (run.folder / f"{stem}.html").touch()
    return ended


def _page(run, stem):
    reports._write_page(run, run.folder / f"{stem}.ipynb")
    return (run.folder / f"{stem}.html").read_text()


def test_a_page_tells_when_it_was_made_and_what_has_happened_since(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    pages = ("01_explore", "03_retrain", "04_overfitting", "06_compare")
    ended = {stem: _executed(run, stem, minutes=90) for stem in pages}
    run.begin(_TABLE, tmp_path, "digest")
    run.write_table("predictions", pd.DataFrame({"path": ["a"]}))
    run.write_metrics(METRICS)
    for stem in pages[1:]:
        text = _page(run, stem)
        assert ended[stem][:16].replace("T", " ") + " UTC." in text
        assert f'<p class="outdated">Made before the last training: run {stem} again.</p>' in text
    assert 'class="outdated"' not in _page(run, "01_explore")
    _executed(run, "04_overfitting")
    assert 'class="outdated"' not in _page(run, "04_overfitting")
    run.begin(_TABLE.assign(path="b"), tmp_path, "another")
    for stem, again in (("01_explore", "01_explore"), ("04_overfitting", "03_retrain")):
        assert f"Made from other images or labels than this run has now: run {again} again." in _page(run, stem)
    assert "<b>one</b>, not trained yet on the images that it has now: " in reports.write_index(tmp_path).read_text()
    _executed(run, "06_compare")
    assert 'class="outdated"' not in _page(run, "06_compare")


def test_resume_passes_over_pages_of_the_same_parameters_and_of_the_last_training(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    run.begin(_TABLE, tmp_path, "digest")
    run.write_metrics(METRICS)
    book = next(book for book in reports.notebooks() if book.stem == "04_overfitting")
    for minutes, seed, done in ((0, 5, True), (0, 6, False), (90, 5, False)):
        _executed(run, book.stem, minutes, seed=seed)
        assert reports._is_done(run, book, {"run": "one", "seed": 5}) is done
    (run.folder / "04_overfitting.ipynb").unlink()
    assert not reports._is_done(run, book, {"run": "one", "seed": 5})


def test_a_report_on_some_notebooks_keeps_what_the_run_was_given_before(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    run.record(parameters={"run": "one", "seed": 5, "weight_decay": [0.1]}, learnt_from={"weight_decay": [0.0, 1.0]})
    place = {"reports_dir": str(tmp_path)}
    _executed(run, "06_compare", **place)
    said = []
    reports.report("one", place, only=["06"], resume=True, say=said.append)
    assert said == ["06_compare: already there"]
    assert run.info()["parameters"] == {"run": "one", "seed": 5, "weight_decay": [0.1], **place}
    reports.report("one", place | {"budget_minutes": 1.0}, only=["06"], resume=True, say=said.append)
    assert run.info()["parameters"]["budget_minutes"] == 1.0 and run.info()["parameters"]["seed"] == 5
    run.write_metrics(METRICS)
    assert pairwise.load(str(tmp_path))["one"].settings["weight_decay"] == "chosen of 0, 1"  # what it learnt with


@pytest.mark.parametrize(("gain", "shown"), [(0.012, True), (0.0004, False), (-0.01, False), (None, False)])
def test_the_index_names_advice_only_where_it_promises_something(tmp_path, gain, shown):
    run = run_folder.open_run(tmp_path, "one")
    change = {"accuracy": gain, "interval": [-0.02, 0.05]}
    advice = [f"Rest more: validation accuracy {intervals.points(change)}.", "Sleep: validation accuracy +9.0 points"]
    run.write_metrics(METRICS | {"overfitting": {"verdict": "fits", "sentence": "It fits.", "advice": advice}})
    text = reports.write_index(tmp_path).read_text()
    assert "It fits." in text and "tried" not in text
    assert ("Most promising: Rest more" in text) is shown and ("Most promising" in text) is shown


def test_a_training_that_fails_on_other_images_leaves_no_figures_under_them(tmp_path, module, bottleneck_dir):
    photos, others = (make_folder(tmp_path / name, {"red": 20, "blue": 20}) for name in ("photos", "others"))
    make_image(7, 3).save(others / "red" / "new.png")
    values = {"run": "one", "reports_dir": str(tmp_path / "out"), "image_dir": str(photos), "tfhub_module": str(module),
              "bottleneck_dir": str(bottleneck_dir), "how_many_training_steps": 40, "weight_decay": [0.0]}  # fmt: skip
    run_notebook("03", **values)
    place = {name: values[name] for name in ("run", "reports_dir", "image_dir")}
    run_notebook("01", **place)
    assert list(pairwise.load(values["reports_dir"])) == ["one"]
    with pytest.raises(RetrainLabError, match="learning_rate is -1"):  # said after `start_from` has been read
        run_notebook("03", **values | {"image_dir": str(others), "start_from": "one", "learning_rate": -1.0})
    assert pairwise.load(values["reports_dir"]) == {}
    assert "No run yet" in reports.write_index(tmp_path / "out").read_text()
    run_notebook("01", **place)
    assert pairwise.load(values["reports_dir"]) == {}
