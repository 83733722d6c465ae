"""What runs left behind, as comparisons read it: whole, in part, and in which order."""

import json

import pytest
from written_runs import write_run

from retrainlab import sealing
from retrainlab.errors import RetrainLabError
from retrainlab.runs import run_folder
from retrainlab.runs.results import load


def test_runs_are_read_with_what_they_left(tmp_path):
    write_run(tmp_path, "one")
    write_run(tmp_path, "two").folder.joinpath("predictions.parquet").unlink()
    write_run(tmp_path, "three").folder.joinpath("images.parquet").write_text("damaged")
    run_folder.open_run(tmp_path, "untrained")
    results = load(tmp_path, ["two", "one", "two", "three"])
    assert list(results) == ["two", "one", "three"]
    assert results["two"].predictions is None and results["three"].images is None
    assert [len(result.damaged) for result in results.values()] == [0, 0, 1]
    assert "three/images.parquet is damaged (it is no sealed Parquet file)" in results["three"].damaged[0]
    assert list(results["one"].predictions) == [
        "path",
        "label",
        "split",
        "predicted",
        "logits",
        "cross_entropy",
        "sha256",
    ]
    assert "sha256" not in results["three"].predictions
    assert set(load(tmp_path)) == {"one", "two", "three"} and len(load(tmp_path, most=2)) == 2
    assert load(tmp_path / "nowhere") == {}
    with pytest.raises(RetrainLabError, match=r"no trained run 'untrained' under .*Known: .*one"):
        load(tmp_path, ["untrained"])


def test_the_page_of_a_run_has_that_run_in_it(tmp_path):
    for number in range(4):
        write_run(tmp_path, f"run {number}")
        file = tmp_path / f"run {number}" / "run.json"
        values = json.loads(file.read_text()) | {"updated": f"2024-01-0{number + 1}T00:00:00+00:00"}
        file.write_text(sealing.json_text(values))
    assert list(load(tmp_path, most=2)) == ["run 3", "run 2"]
    assert list(load(tmp_path, most=2, run="run 0")) == ["run 3", "run 2", "run 0"]
    assert list(load(tmp_path, most=2, run="run 2")) == ["run 3", "run 2"]
    assert list(load(tmp_path, most=2, run="not trained")) == ["run 3", "run 2"]
    assert list(load(tmp_path, ["run 1"], most=2, run="run 0")) == ["run 1"]  # as it was asked for


def test_the_settings_of_a_run_say_how_weight_decay_was_set(tmp_path):
    write_run(tmp_path, "fixed", learnt_from={"weight_decay": [0.1]})
    write_run(tmp_path, "listed", learnt_from={"weight_decay": [0.0, 0.0001], "random_crop": 10})
    found = {name: result.settings for name, result in load(tmp_path).items()}
    assert found["fixed"]["weight_decay"] == 0.1
    assert found["listed"]["weight_decay"] == "chosen of 0, 0.0001"
    assert (found["listed"]["random_crop"], found["fixed"]["random_crop"]) == (10, None)
    assert found["fixed"]["tfhub_module"] == "small"
