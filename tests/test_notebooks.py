"""The notebooks as files, and run: all of them on tiny images, from both places that people start them from."""

import ast
import json
import re
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import run_notebook

from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores
from retrainlab.labeling import answering, labelers
from retrainlab.pages import parameters, reports
from retrainlab.runs import listing, run_folder

ROOT = Path(__file__).resolve().parents[1]
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DEFAULTS = {name: entry["default"] for name, entry in parameters.known().items()}
names = pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)


def cells(book, kind):
    return [cell for cell in nbformat.read(book, 4).cells if cell.cell_type == kind]


def test_the_notebooks_are_those_of_the_plan():
    assert [book.stem for book in BOOKS] == [
        "01_explore", "02_bottlenecks", "03_retrain", "04_overfitting", "05_label", "06_compare", "07_trust",
    ]  # fmt: skip


def is_tagged(cell) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def lines(cell) -> int:
    """Lines of code beside imports, which the formatter lists one a line."""
    imports = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return len(cell.source.splitlines()) - sum(node.end_lineno - node.lineno + 1 for node in imports)


@names
def test_committed_without_outputs_and_thin(book):
    code = cells(book, "code")
    assert not [cell for cell in code if cell.outputs or cell.execution_count is not None]
    (set_up,) = [after for before, after in pairwise(code) if is_tagged(before)]
    assert set_up.source.startswith("parameters.hold(globals())\n") and lines(set_up) <= 5, set_up.source
    shown = [cell for cell in code if not is_tagged(cell)]
    assert max(map(lines, shown)) <= 10
    assert statistics.median(map(lines, shown)) <= 3


@names
def test_a_cell_needs_no_second_reading(book):
    hard = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.IfExp, ast.Try)
    for cell in cells(book, "code"):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not [node for node in nodes if isinstance(node, hard)], cell.source
        assert not [node for node in nodes if isinstance(node, ast.comprehension) and node.ifs], cell.source
        assert not re.search(r"sys\.path|^[!%]|# fmt:", cell.source, re.MULTILINE), cell.source


@names
def test_the_parameters_cell_holds_typed_and_explained_literals_only(book):
    tagged = [cell for cell in cells(book, "code") if is_tagged(cell)]
    assert len(tagged) == 1
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.AnnAssign)
        ast.literal_eval(statement.value)
    declared = [statement.target.id for statement in ast.parse(tagged[0].source).body]
    found = parameters.declared(book)
    assert list(found) == declared
    assert all(entry["help"] for entry in found.values())


@names
def test_it_holds_what_it_is_given_to_what_it_declares_before_anything_else(book):
    with pytest.raises(RetrainLabError, match=r"Parameter run is 7\. Expected text\."):
        run_notebook(book.name[:2], run=7)


def test_a_parameter_means_the_same_in_every_notebook():
    seen = {}
    for book in BOOKS:
        for name, entry in parameters.declared(book).items():
            if name != "run":
                assert seen.setdefault(name, entry) == entry, name


@names
def test_it_says_what_it_asks_reads_writes_and_takes(book):
    first = cells(book, "markdown")[0].source
    assert first.startswith("# ") and "?" in first.splitlines()[0]
    for word in ("**Reads**", "**Writes**", "**Takes**"):
        assert word in first


@pytest.fixture(scope="module")
def made(photos, module, bottleneck_dir, tmp_path_factory):
    """The whole chain, run as the command runs it."""
    folder = tmp_path_factory.mktemp("reports")
    values = {"reports_dir": str(folder), "image_dir": str(photos), "tfhub_module": str(module),
              "bottleneck_dir": str(bottleneck_dir), "how_many_training_steps": 400, "final_tensor_name": "answer",
              "testing_percentage": 20.0, "validation_percentage": 20.0, "budget_minutes": 0.2}  # fmt: skip
    said = []
    index = reports.report("tiny", values, say=said.append)
    return run_folder.Run(folder / "tiny"), index, said, values


def test_the_chain_runs_and_learns(made):
    run, _, said, _ = made
    stems = [book.stem for book in BOOKS]
    assert [line.split(":")[0] for line in said if line.endswith(": running")] == stems
    assert sorted(line.split(":")[0] for line in said if re.search(r": \d+ s$", line)) == stems
    metrics = run.metrics()
    assert metrics["labels"] == ["blue", "green", "red"] and metrics["steps"] == 400
    assert metrics["test"]["accuracy"] > 0.9 and metrics["overfitting"]["verdict"]
    assert set(metrics["seconds"]) == {"scan", "bottlenecks", "retrain"}


def test_every_contract_of_the_run_folder_is_kept(made):
    run, _, _, values = made
    images = run.read_table("images")
    assert list(images.columns)[:4] == ["path", "label", "given", "split"] and len(images) == 90
    assert list(run.read_table("history").columns) == ["step", "split", "accuracy", "cross_entropy"]
    predicted = run.read_table("predictions")
    assert list(predicted.columns) == ["path", "label", "split", "predicted", "probability", "logits"]
    info = run.info()
    assert info["parameters"] == DEFAULTS | values | {"run": "tiny"} and info["settings"]["learning_rate"] == 0.01
    assert info["dataset"]["digest"] and info["backbone"]["digest"] and info["commit"]
    assert {"train", "validation", "results"} == {folder.name for folder in run.logs.iterdir()}
    files = {"saved_model.pb", "output_graph.pb", "output_labels.txt", "model.tflite", "contract.json"}
    assert files <= {file.name for file in run.model.iterdir()}


def test_metrics_can_be_recomputed_from_the_predictions_exactly(made):
    run, _, _, _ = made
    predicted, metrics = run.read_table("predictions"), run.metrics()
    for name in scores.SPLITS:
        rows = predicted[predicted["split"] == name]
        assert metrics[name]["n"] == len(rows)
        assert metrics[name]["accuracy"] == (rows["label"] == rows["predicted"]).sum() / len(rows)
    again = scores.summarise(predicted, metrics["labels"])
    assert {name: metrics[name] for name in again} == again
    logits = np.stack(list(predicted["logits"]))
    assert (np.array(metrics["labels"])[logits.argmax(axis=1)] == predicted["predicted"]).all()


def test_the_export_gives_the_probabilities_of_the_predictions(made, photos):
    run, _, _, _ = made
    some = run.read_table("predictions").query("split == 'test'").iloc[::2]  # what is exported is judged by those
    table, _ = answering.label(labelers.load(run.model), [photos / path for path in some["path"]], 1)
    assert table["label"].tolist() == some["predicted"].tolist()
    assert table["probability"].to_numpy() == pytest.approx(some["probability"].to_numpy(), abs=1e-5)


def test_pages_are_whole_and_load_nothing_from_elsewhere(made):
    run, index, _, _ = made
    for page in [index, *run.folder.glob("*.html")]:
        text = page.read_text()
        assert text.rstrip().endswith("</html>") and text.count("<script") == (page != index)
        assert not re.findall(r'<(?:img|link)[^>]*(?:src|href)="(?!data:)', text)
        for link in re.findall(r'<a href="([^"#:]+)"', text):
            assert (page.parent / link).exists(), link
    assert "tiny/03_retrain.html" in index.read_text()
    shown = (run.folder / "03_retrain.html").read_text()
    assert shown.count("<details><summary>code</summary>") >= 10 and shown.count("data:image/png") >= 6
    assert "%|" not in shown  # progress bars stay off pages


def test_every_figure_that_is_drawn_is_shown(made):
    run, _, _, _ = made
    drawn = 0
    for book in BOOKS:
        for cell in cells(run.folder / book.name, "code"):
            if re.match(r"plots\.(?!style)", cell.source.splitlines()[-1]):
                assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
                drawn += 1
    assert drawn >= 4


def test_a_second_report_computes_no_bottleneck_and_resume_runs_nothing(made):
    run, _, _, values = made
    assert run.info()["extraction"].startswith("90 images: ")
    reports.report("tiny", values, only=["02"], say=lambda line: None)
    assert run.info()["extraction"] == "90 images: 90 bottlenecks from the cache, none computed."
    said = []
    reports.report("tiny", {"reports_dir": values["reports_dir"]}, resume=True, say=said.append)
    assert said[0].startswith(f"Run 'tiny' as before: image_dir {values['image_dir']}, ")
    assert said[1:] == [f"{book.stem}: already there" for book in BOOKS]


@pytest.mark.parametrize("place", ["", "notebooks"], ids=["root", "notebooks"])
def test_plain_papermill_from_both_places(made, place, tmp_path):
    run, _, _, _ = made
    book = ROOT / "notebooks" / "06_compare.ipynb"
    command = [sys.executable, "-m", "papermill", str(book), str(tmp_path / "out.ipynb"),
               "-p", "reports_dir", str(run.folder.parent)]  # fmt: skip
    subprocess.run(command, cwd=ROOT / place, check=True, capture_output=True)
    text = json.dumps(json.loads((tmp_path / "out.ipynb").read_text()))
    assert "1 run under" in text and "Best on validation: tiny." in text


@pytest.mark.hard
def test_distortions_are_shown_cached_and_judged(made, tmp_path):
    _, _, _, values = made
    some = {"flip_left_right": True, "random_crop": 10, "distortion_variants": 3, "reports_dir": str(tmp_path),
            "distortions_apart": True}  # fmt: skip
    reports.report("bent", values | some, only=["02", "03"], say=lambda line: None)
    text = (tmp_path / "bent" / "03_retrain.html").read_text()
    for name in ("together", "flip_left_right", "random_crop"):
        assert f"{name}: validation accuracy " in text
    assert "distorted images: " in text and "none computed" in text  # 02 had computed them


@pytest.mark.hard
def test_without_validation_or_test_images_the_chain_still_ends_well(photos, module, bottleneck_dir, tmp_path):
    values = {"reports_dir": str(tmp_path), "image_dir": str(photos), "tfhub_module": str(module),
              "bottleneck_dir": str(bottleneck_dir), "how_many_training_steps": 50,
              "testing_percentage": 0.0, "validation_percentage": 0.0, "budget_minutes": 0.2}  # fmt: skip
    reports.report("all", values, only=["03", "04", "05", "07"], say=lambda line: None)
    metrics = run_folder.Run(tmp_path / "all").metrics()
    assert metrics["train"]["n"] == 90 and metrics["test"]["accuracy"] is None
    assert metrics["overfitting"]["verdict"] == "fits"  # re-splits make validation images of their own
    assert isinstance(listing.list_runs(tmp_path), pd.DataFrame)
