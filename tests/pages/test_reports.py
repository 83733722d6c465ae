import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_folder, make_image, run_notebook
from nbformat import v4

from retrainlab import project
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation.intervals import accuracy
from retrainlab.pages import execution, index_page, notebooks, parameters, rendering, reports
from retrainlab.runs import results, run_folder

SPLIT = {"n": 10, "accuracy": 0.8, "interval": [0.5, 0.9], "cross_entropy": 0.4}
METRICS = {"labels": ["a", "b"], "backbone": "tiny", "steps": 5, "temperature": 1.0, "train": SPLIT,
           "validation": SPLIT, "test": SPLIT, "gap": {"accuracy": 0.0, "interval": [-0.3, 0.3]}}  # fmt: skip


def test_an_index_without_runs_says_so(tmp_path):
    assert "No run yet" in index_page.write_index(tmp_path).read_text()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "01_explore.html").touch()
    text = index_page.write_index(tmp_path).read_text()
    assert "No run yet" not in text and '<a href="begun/01_explore.html">Explore</a>' in text


def test_a_broken_run_is_a_row_of_the_index_and_breaks_no_other(tmp_path):
    for name in ("fine", "three ends", "null", "flipped"):
        run_folder.open_run(tmp_path, name).write_metrics(METRICS)
    three = METRICS | {"test": SPLIT | {"interval": [0.1, 0.5, 0.9]}}
    (tmp_path / "three ends" / "metrics.json").write_text(json.dumps(three))
    (tmp_path / "null" / "run.json").write_text(json.dumps({"run": "null", "dataset": None}))
    text = (tmp_path / "flipped" / "metrics.json").read_text()
    (tmp_path / "flipped" / "metrics.json").write_text(text.replace("0.8", "0.9", 1))
    index = index_page.write_index(tmp_path).read_text()
    assert "Retrain Lab: 1 run<" in index and '<th class="text">fine' in index and "No run yet" not in index
    for name, why in (
        ("three ends", "metrics.json is damaged (&#39;test.interval&#39; holds a list of 3, not a list of 2 or null)"),
        ("null", "run.json is damaged (&#39;dataset&#39; holds null, not names with values)"),
        ("flipped", "metrics.json is damaged (its content is not what its seal says"),
    ):
        assert f"<p><b>{name}</b> cannot be read. {tmp_path / name}/{why}" in index
    with pytest.raises(RetrainLabError, match=r"null/run.json is damaged"):
        results.load(tmp_path, ["fine", "null"])
    assert list(results.load(tmp_path)) == ["fine"]


def test_pages_of_other_parameters_never_count_as_done(tmp_path, monkeypatch):
    def fail(*_):
        raise RetrainLabError("no")

    monkeypatch.setattr(reports, "execute", fail)
    pages = tmp_path / "x"
    pages.mkdir()
    (pages / "03_retrain.html").touch()
    for resume in (False, True):
        with pytest.raises(RetrainLabError, match="no"):
            reports.report("x", {"reports_dir": str(tmp_path), "seed": 5}, resume=resume, say=lambda line: None)
        assert not list(pages.glob("*.html"))
    assert "No run yet" in (tmp_path / "index.html").read_text()


def test_the_index_prints_commands_that_can_be_pasted(tmp_path):
    assert f"<code>{project.command()} report</code>" in index_page.write_index(tmp_path).read_text()
    run_folder.open_run(tmp_path, "my birds").write_metrics(METRICS)
    said = re.findall("<code>(.*?)</code>", index_page.write_index(tmp_path).read_text())
    assert f"{project.command()} report --run &#39;my birds&#39; --only 04" in said
    assert f"{project.command()} tensorboard" in said


def test_only_must_name_a_notebook(tmp_path):
    with pytest.raises(RetrainLabError, match=r"--only 99 names no notebook\. Known: 01_explore"):
        reports.report("x", {"reports_dir": str(tmp_path)}, only=["99"])


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
    rendering.write_page(run, Path(f"{stem}.ipynb"))
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
    run.begin(_TABLE.assign(path="b"), tmp_path, "another")  # seen, and not trained on yet
    assert 'class="outdated"' not in _page(run, "01_explore") + _page(run, "04_overfitting")
    (run.folder / "metrics.json").unlink()
    assert "<b>one</b>, not trained yet: " in index_page.write_index(tmp_path).read_text()
    run.begin(_TABLE.assign(path="b"), tmp_path, "another")
    for stem in ("01_explore", "04_overfitting"):
        assert f"Made from other images or labels than this run has now: run {stem} again." in _page(run, stem)
    _executed(run, "06_compare")
    assert 'class="outdated"' not in _page(run, "06_compare")


def test_the_head_of_a_page_is_brought_up_to_date_alone(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    run.begin(_TABLE, tmp_path, "digest")
    _executed(run, "04_overfitting", minutes=90)
    before = _page(run, "04_overfitting")
    assert "06_compare.html" not in before and 'class="outdated"' not in before
    _executed(run, "06_compare")
    run.write_metrics(METRICS)
    for _ in range(2):
        rendering.link_page(run, Path("04_overfitting.ipynb"))
        text = (run.folder / "04_overfitting.html").read_text()
        assert '<a href="06_compare.html">Compare</a>' in text and text.count('class="outdated"') == 1
    assert text == _page(run, "04_overfitting")


def test_resume_passes_over_pages_of_the_same_parameters_and_of_the_last_training(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    run.begin(_TABLE, tmp_path, "digest")
    run.write_metrics(METRICS)
    book = next(book for book in notebooks.every() if book.stem == "04_overfitting")
    for minutes, seed, done in ((0, 5, True), (0, 6, False), (90, 5, False)):
        _executed(run, book.stem, minutes, seed=seed)
        assert execution.is_done(run, book, {"run": "one", "seed": 5}) is done
    (run.folder / "04_overfitting.ipynb").unlink()
    assert not execution.is_done(run, book, {"run": "one", "seed": 5})


def test_a_report_on_some_notebooks_keeps_what_the_run_was_given_before(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    run.record(parameters={"run": "one", "seed": 5, "weight_decay": [0.1]}, learnt_from={"weight_decay": [0.0, 1.0]})
    place = {"reports_dir": str(tmp_path)}
    _executed(run, "06_compare", **place, compare=[])
    said = []
    reports.report("one", place, only=["06"], resume=True, say=said.append)
    assert said == ["06_compare: already there"]
    assert run.info()["parameters"] == {"run": "one", "seed": 5, "weight_decay": [0.1], "compare": [], **place}
    reports.report("one", place | {"budget_minutes": 1.0}, only=["06"], resume=True, say=said.append)
    assert run.info()["parameters"]["budget_minutes"] == 1.0 and run.info()["parameters"]["seed"] == 5
    run.write_metrics(METRICS)
    assert results.load(str(tmp_path))["one"].settings["weight_decay"] == "chosen of 0, 1"  # what it learnt with


@pytest.mark.parametrize(("gain", "shown"), [(0.012, True), (0.0004, False), (-0.01, False), (None, False)])
def test_the_index_names_advice_only_where_it_promises_something(tmp_path, gain, shown):
    run = run_folder.open_run(tmp_path, "one")
    advice = [{"what": what, "accuracy": gain, "interval": [-0.02, 0.05], "sentence": f"{what}."}
              for what in ("Rest more", "Sleep")]  # fmt: skip
    run.write_metrics(METRICS | {"overfitting": {"verdict": "fits", "sentence": "It fits.", "advice": advice}})
    text = index_page.write_index(tmp_path).read_text()
    assert "It fits." in text and "tried" not in text
    assert ("Most promising: Rest more" in text) is shown and ("Most promising" in text) is shown


@pytest.mark.parametrize(
    ("interval", "shown"), [([0.4, 0.79], True), ([0.81, 0.9], True), ([0.4, 0.8], False), (None, False)]
)
def test_the_index_says_the_balanced_accuracy_where_accuracy_lies_outside_its_interval(tmp_path, interval, shown):
    value = None if interval is None else 0.6
    run_folder.open_run(tmp_path, "one").write_metrics(
        METRICS | {"rare_labels": {"balanced_accuracy": {"value": value, "interval": interval}}}
    )
    text = index_page.write_index(tmp_path).read_text()
    assert ("Rare labels do otherwise: each counted alike, 60.0% [" in text) is shown
    assert ("where accuracy is 80.0%." in text) is ("Labels are called rare where" in text) is shown


@pytest.mark.parametrize("rare", [{}, {"rare_labels": {}}])
def test_the_index_says_a_threshold_where_one_was_chosen(tmp_path, rare):
    run = run_folder.open_run(tmp_path, "one")
    run.write_metrics(METRICS | rare | {"threshold": {}})
    assert "is said from" not in index_page.write_index(tmp_path).read_text()
    none, some = accuracy(np.zeros(0, bool)), accuracy(np.array([True, True, False, True]))
    for found, said in ((none, "on."), (some, "on: of its test images, 75.0% [30.1, 95.4], n = 4, are found;")):
        judged = {"positive_label": "a", "threshold": 0.123, "at_threshold": {"recall": some, "precision": found}}
        run.write_metrics(METRICS | rare | {"threshold": judged})
        text = index_page.write_index(tmp_path).read_text()
        assert f"&#39;a&#39; is said from a probability of 12.3% {said}" in text and "Rare labels" not in text


def test_a_run_is_of_other_images_once_it_is_trained_on_them_and_a_refused_training_touches_nothing(
    tmp_path, module, bottleneck_dir
):
    photos, others = (make_folder(tmp_path / name, {"red": 20, "blue": 20}) for name in ("photos", "others"))
    make_image(7, 3).save(others / "red" / "new.png")
    values = {"run": "one", "reports_dir": str(tmp_path / "out"), "image_dir": str(photos), "tfhub_module": str(module),
              "bottleneck_dir": str(bottleneck_dir), "how_many_training_steps": 40, "weight_decay": [0.0]}  # fmt: skip
    run_notebook("03", **values)
    place = {name: values[name] for name in ("run", "reports_dir", "image_dir")}
    known = parameters.known()
    kept = run_folder.Run(tmp_path / "out" / "one").info()["parameters"]
    defaults = {name: entry["default"] for name, entry in known.items()} | {"run": "one"}
    kept_by_a_notebook = defaults | values | {name: defaults[name] for name in ("run", "reports_dir", "bottleneck_dir")}
    assert defaults | kept == kept_by_a_notebook  # what it learnt with, by whatever it was run
    run_notebook("01", **place)
    assert list(results.load(values["reports_dir"])) == ["one"]
    other = values | {"image_dir": str(others)}
    with pytest.raises(RetrainLabError, match="learning_rate is -1"):
        run_notebook("03", **other | {"start_from": "one", "learning_rate": -1.0})
    assert list(results.load(values["reports_dir"])) == ["one"]  # nothing was touched
    run_notebook("01", **place | {"image_dir": str(others)})
    assert "red/new.png" not in set(results.load(values["reports_dir"])["one"].images["path"])
    run_notebook("03", **other)
    (found,) = results.load(values["reports_dir"]).values()
    assert "red/new.png" in set(found.images["path"]) & set(found.predictions["path"])
    assert found.info["parameters"]["image_dir"] == found.info["dataset"]["image_dir"] == str(others)
