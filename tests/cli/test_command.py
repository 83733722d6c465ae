"""The command as a person meets it: bad input ends in one sentence, a code that is not 0, and no traceback."""

import json
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from conftest import make_folder, run_notebook

from retrainlab import project
from retrainlab.cli.main import main
from retrainlab.evaluation import scores
from retrainlab.runs import run_folder


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "image_dri", "x"], "Unknown parameter 'image_dri'. Did you mean image_dir?"),
        (["-p", "seed", "lots"], "Parameter seed is 'lots'. Expected a whole number"),
        (["-p", "images", "[1, {}]"], "Parameter images is [1, {}]. Expected a list: paths of images to label"),
        (["-p", "image_dir", "~nobody-here/x"], "'~nobody-here/x' begins with the home folder of nobody"),
        (["--params", "none.yaml"], "'none.yaml' cannot be read"),
        (["--only", "7"], "--only 7 names no notebook"),
        (["--run", "a/b"], "cannot be a folder's"),
    ],
)
def test_report_says_what_is_wrong_before_it_starts(call, tmp_path, arguments, said):
    done = call("report", "-p", "reports_dir", tmp_path, *arguments)
    assert done.exit_code == 1
    assert said in done.output and "Traceback" not in done.output and done.output.count("\n") == 1


def test_a_params_file_whose_images_are_left_empty(call, tmp_path):
    (tmp_path / "p.yaml").write_text("images:\n")
    done = call("report", "-p", "reports_dir", tmp_path / "out", "--params", tmp_path / "p.yaml")
    assert done.exit_code == 1 and done.output.startswith("Error: Parameter images is None. Expected a list: paths of")


def test_an_image_is_found_where_the_person_is_whatever_its_name(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("5", "2024-05-01", "photo #1.jpg", "a: b.jpg", "a,b.jpg"):
        done = call("report", "-p", "reports_dir", "out", "--only", "05", "-p", "images", path, "-p", "top", "none")
        assert "Parameter top is 'none'" in done.output  # all others were right
    done = call("report", "-p", "reports_dir", "out", "--only", "05", "-p", "images", "a: b.jpg")
    assert done.exit_code == 1 and "Traceback" not in done.output
    given = json.loads((tmp_path / "out" / "demo" / "05_label.ipynb").read_text())["metadata"]["papermill"]
    assert given["parameters"]["images"] == [str(tmp_path / "a: b.jpg")]


def test_what_the_system_refuses_is_one_sentence(call, tmp_path):
    in_the_way = tmp_path / "demo" / "01_explore.html"
    in_the_way.mkdir(parents=True)
    done = call("report", "-p", "reports_dir", tmp_path)
    assert done.exit_code == 1 and done.output == f"Error: '{in_the_way}': Is a directory.\n"


def test_a_reader_that_has_gone_ends_the_command_quietly():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "from retrainlab.cli.main import main; main(['fetch', '--help'])"]
    with os.fdopen(write, "w") as broken:
        done = subprocess.run(command, stdout=broken, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""


def test_report_into_a_place_that_cannot_be_written(call, tmp_path):
    (tmp_path / "file").touch()
    done = call("report", "-p", "reports_dir", tmp_path / "file")
    assert done.exit_code == 1 and "cannot be written" in done.output and "Traceback" not in done.output


@pytest.mark.parametrize(
    ("make", "more", "said"),
    [
        (None, [], "does not exist"),
        ({}, [], "holds no images"),
        ({"a": 3}, [], "one label only, 'a'"),
        ({"a": 3, "b": 3}, ["-p", "testing_percentage", "100"], "leave no training image"),
    ],
)
def test_a_notebook_ends_in_the_same_sentence(call, tmp_path, make, more, said):
    root = tmp_path / "images"
    if make is not None:
        root.mkdir()
        make_folder(root, make)
    done = call("report", "--only", "01", "-p", "reports_dir", tmp_path / "out", "-p", "image_dir", root, *more)
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert said in done.output.splitlines()[-1] and done.output.splitlines()[-1].startswith("Error: ")
    notebook = json.loads((tmp_path / "out" / "demo" / "01_explore.ipynb").read_text())
    errors = [o for cell in notebook["cells"] for o in cell.get("outputs", []) if o["output_type"] == "error"]
    assert len(errors) == 1 and len(errors[0]["traceback"]) == 1 and said in errors[0]["traceback"][0]
    assert not (tmp_path / "out" / "demo" / "01_explore.html").exists()


def test_an_unknown_backbone_is_named_in_a_sentence(call, tmp_path, photos):
    place = ["-p", "reports_dir", tmp_path, "-p", "image_dir", photos, "-p", "bottleneck_dir", tmp_path / "cache"]
    done = call("report", "--only", "02", *place, "-p", "tfhub_module", "efficientnet_lite7")
    assert done.exit_code == 1 and "No backbone 'efficientnet_lite7'" in done.output.splitlines()[-1]


def test_paths_count_from_where_the_person_is(tmp_path, monkeypatch):
    from retrainlab.cli.arguments import from_here

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    assert from_here("reports_dir", "new") == str(tmp_path / "new")
    assert from_here("labels_csv", "labels.csv") == str(tmp_path / "labels.csv") and from_here("labels_csv", "") == ""
    assert from_here("images", ["a.png", "/b.png"]) == [str(tmp_path / "a.png"), "/b.png"]
    assert from_here("tfhub_module", "net") == str(tmp_path / "net")
    assert from_here("tfhub_module", "efficientnet_lite0") == "efficientnet_lite0"
    assert from_here("image_dir", "elpv") == "elpv" and from_here("seed", 3) == 3


def test_fetch(call, tmp_path, monkeypatch):
    done = call("fetch", "elpv", "--to", tmp_path / "cells")
    assert done.exit_code == 0 and "2,624 images" in done.output and "CC BY-NC-SA 4.0" in done.output
    assert "neighbours are alike" in done.output
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = call("fetch", "elpv", "--to=~/more/cells")
    assert done.exit_code == 0 and (tmp_path / "more" / "cells").is_dir() and not (tmp_path / "~").exists()
    done = call("fetch", "nothing")
    assert done.exit_code == 1 and "No dataset 'nothing'" in done.output


def test_notebooks_are_copied_and_never_overwritten(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("notebooks", "mine")
    assert done.exit_code == 0 and f"7 notebooks in {tmp_path / 'mine'}" in done.output
    carried = {file.name: file.read_bytes() for file in project.carried_dir().glob("*.ipynb")}
    assert {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()} == carried
    (tmp_path / "mine" / "06_compare.ipynb").unlink()
    assert call("notebooks", "mine").exit_code == 0 and len(list((tmp_path / "mine").iterdir())) == 7
    (tmp_path / "mine" / "03_retrain.ipynb").write_text("my own")
    (tmp_path / "mine" / "06_compare.ipynb").unlink()
    done = call("notebooks", "mine")
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert "mine' has 03_retrain.ipynb already, with other content, and nothing is overwritten." in done.output
    assert not (tmp_path / "mine" / "06_compare.ipynb").exists()
    assert call("notebooks").exit_code == 0 and len(list((tmp_path / "notebooks").iterdir())) == 7
    (tmp_path / "file").touch()
    assert "file' cannot be written: " in call("notebooks", "file").output


def test_a_report_in_an_empty_folder_is_written_there(call, tmp_path, photos, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = call("report", "--only", "01", "-p", "image_dir", photos)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"Pages: file://{tmp_path}/empty/reports/index.html"
    assert (tmp_path / "empty" / "reports" / "demo" / "01_explore.html").exists()


def test_help_names_every_dataset(call):
    from retrainlab.datasets import catalogue

    assert all(name in call("fetch", "--help").output for name in catalogue.DATASETS)


def test_help_names_every_command(call):
    assert all(name in call("--help").output for name in ("report", "label", "fetch", "sweep", "notebooks"))


def test_sweep_trains_a_grid_and_opens_the_comparison(call, tmp_path, photos, module, bottleneck_dir):
    file = tmp_path / "grid.yaml"
    file.write_text(f"learning_rate: [0.01, 0.1]\ntfhub_module: {module}\nhow_many_training_steps: 40\nseed: 3\n")
    place = ["-p", "reports_dir", tmp_path / "out", "-p", "image_dir", photos, "-p", "bottleneck_dir", bottleneck_dir]
    done = call("sweep", "--run", "mine", "--params", file, *place, "-p", "weight_decay", "0,1e-4", "-p", "seed", "1,2")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "mine: 8 settings, 8 heads to train"
    (header,) = [number for number, line in enumerate(lines) if line.startswith("run ")]
    runs = sorted(line.split()[0] for line in lines[header + 1 : header + 9])
    assert runs == [f"mine-{number:02}" for number in range(1, 9)]
    assert any(line.startswith(f"Chosen: {lines[header + 1].split()[0]} (") for line in lines)
    out = f"file://{tmp_path}/out"
    assert lines[-2:] == [f"Comparison: {out}/mine/06_compare.html", f"Pages: {out}/index.html"]
    notebook = json.loads((tmp_path / "out" / "mine" / "06_compare.ipynb").read_text())
    assert notebook["metadata"]["papermill"]["parameters"]["compare"] == runs
    assert "mine-08" in (tmp_path / "out" / "mine" / "06_compare.html").read_text()
    index = (tmp_path / "out" / "index.html").read_text()
    assert '<a href="mine/06_compare.html">Compare</a>' in index and ">mine-08<" in index
    values = [json.loads((tmp_path / "out" / name / "run.json").read_text())["parameters"] for name in runs]
    assert {(v["learning_rate"], *v["weight_decay"], v["seed"]) for v in values} == {
        (rate, decay, seed) for rate in (0.01, 0.1) for decay in (0.0, 1e-4) for seed in (1, 2)
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "There is nothing to try. Give a parameter several values"),
        (["-p", "learning_rtae", "1,2"], "Unknown parameter 'learning_rtae'. Did you mean learning_rate?"),
        (["-p", "learning_rate", "0.1,fast"], "Parameter learning_rate is 'fast'. Expected a number"),
        (["-p", "hidden_units", "8,8.5"], "Parameter hidden_units is 8.5. Expected a whole number"),
        (["-p", "learning_rate", "1,,2"], "learning_rate is '1,,2'. Expected values with one comma between two"),
        (["-p", "learning_rate", "0.1,0"], "learning_rate is 0.0. Expected a number above 0."),
        (["-p", "weight_decay", "0,-1"], "weight_decay is -1.0. Expected a number from 0 up."),
        (["-p", "image_dir", "a,b"], "image_dir cannot be varied. Expected one of"),
        (["-p", "validation_percentage", "10,20"], "validation_percentage cannot be varied"),
        (["-p", "seed", ",".join(map(str, range(400)))], "400 settings, each with 7 values of weight_decay"),
        (["--run", "/a", "-p", "seed", "1,2"], "cannot be a folder's"),
        (["--params", "none.yaml"], "'none.yaml' cannot be read"),
    ],
)
def test_sweep_says_what_is_wrong_before_it_starts(call, tmp_path, arguments, said):
    done = call("sweep", "-p", "reports_dir", tmp_path, *arguments)
    assert done.exit_code == 1 and said in done.output and done.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "option"), [("retrain", "--image_dir"), ("report", "-p image_dir"), ("sweep", "-p image_dir")]
)
def test_a_stray_argument_is_told_which_option_the_folder_goes_with(call, command, option):
    done = call(command, "photos")
    assert done.exit_code == 2 and done.output.count("\n") == 1
    assert f"'photos' belongs to no option. The folder of images goes with {option};" in done.output
    assert f"{command} [OPTIONS]\n" in call(command, "--help").output


def test_fetch_without_a_name_lists_the_datasets(call):
    done = call("fetch")
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert "Name the dataset to fetch. Expected one of: elpv, stanford-dogs, flower-photos." in done.output


def test_a_report_says_nothing_of_notebooks_that_did_not_run(call, tmp_path, photos, trained):
    labels = trained["head"].labels
    metrics = {"labels": labels, "backbone": "tiny", "steps": 300, "temperature": 1.0}
    run_notebook("01", run="new", reports_dir=str(tmp_path), image_dir=str(photos))
    run_folder.open_run(tmp_path, "new").write_metrics(metrics | scores.summarise(trained["predicted"], labels))
    done = call("report", "--run", "new", "--only", "01", "-p", "reports_dir", tmp_path, "-p", "image_dir", photos)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert all(line.strip() for line in lines)
    assert lines[0] == "01_explore: running" and re.fullmatch(r"01_explore: \d+ s", lines[1])
    assert lines[2] == "  Understood as one folder a label." and lines[-1].startswith("Pages: ")
    assert "accuracy" not in "\n".join(lines)
