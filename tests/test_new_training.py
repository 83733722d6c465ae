"""A run is what it was until a training is published whole: whatever fails on the way, and wherever it ends."""

import gc
import shutil
from pathlib import Path

import pytest
from conftest import mounted, run_notebook

from retrainlab.backbones.backbone import BackboneSettings
from retrainlab.errors import RetrainLabError
from retrainlab.lab import Lab
from retrainlab.labeling import labelers
from retrainlab.new_training import NewTraining
from retrainlab.runs import listing, run_folder
from retrainlab.training.heads import HeadSettings
from retrainlab.trust import guard


def files(folder: Path) -> dict[str, bytes]:
    """All that a person sees in a folder."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return {name: file.read_bytes() for file in found if not (name := str(file.relative_to(folder))).startswith(".")}


@pytest.fixture
def begin(photos, module, bottleneck_dir):
    """Opens a run, trains it with a seed, and writes all but the export."""

    def begin(reports_dir, seed, **of_the_lab):
        lab = Lab.open("one", str(photos), 20.0, 20.0, reports_dir=reports_dir, **of_the_lab)
        features = lab.features(BackboneSettings(str(module)), bottleneck_dir)
        before = files(lab.run.folder)
        study = lab.choose_weight_decay(features, HeadSettings(40, seed=seed), [0.01])
        training = NewTraining.of(lab)
        layer = training.train_chosen(study, 20)
        training.write_results(layer)
        assert files(lab.run.folder) == before
        return training, layer

    return begin


def finish(training, layer):
    training.export(layer, guard.of(layer), "final_result")
    training.log_tensorboard(layer, layer.predicted, {})
    training.publish()


def is_whole(run):
    """Whether metrics, tables, logs and the model are of one training."""
    metrics, predicted = run.metrics(), run.read_table("predictions")
    test = predicted[predicted["split"] == "test"]
    assert metrics["test"]["accuracy"] == pytest.approx((test["label"] == test["predicted"]).mean())
    assert labelers.load(run.model).labels == metrics["labels"]
    assert len(list((run.logs / "train").glob("events*"))) == 1
    return run.info()["settings"]["seed"]


def test_an_export_that_fails_leaves_the_run_byte_for_byte(begin, tmp_path):
    training, layer = begin(tmp_path, 1)
    finish(training, layer)
    run = training.lab.run
    assert is_whole(run) == 1 and not [path for path in run.folder.iterdir() if path.name.startswith(".")]
    training, layer = begin(tmp_path, 2)
    before = files(run.folder)
    with pytest.raises(RetrainLabError, match="final_tensor_name is 'two words'"):
        training.export(layer, guard.of(layer), "two words")
    assert files(run.folder) == before and is_whole(run) == 1
    finish(training, layer)  # corrected, in the same notebook
    assert is_whole(run) == 2
    with pytest.raises(RetrainLabError, match="of run 'one' is published already"):
        training.write_results(layer)
    run.add_metrics(overfitting={"verdict": "fits"})
    assert run.metrics()["overfitting"] and is_whole(run) == 2


def test_a_training_that_nobody_publishes_goes(begin, tmp_path):
    training, layer = begin(tmp_path, 1)
    folder = training.made.folder
    assert (folder / "metrics.json").exists() and listing.list_runs(tmp_path).empty
    del training, layer
    gc.collect()
    assert not folder.exists() and list(files(tmp_path / "one")) == ["run.json"]


def test_a_disk_that_fills_up_leaves_the_run_and_says_so_in_a_sentence(begin, tmp_path, capfd):
    with mounted(tmp_path / "disk", 8) as disk:
        training, layer = begin(disk, 1)
        finish(training, layer)
        training, layer = begin(disk, 2)
        before, run = files(disk / "one"), training.lab.run
        filler, problems = disk / "filler", set()
        for left in (0, 4, 12, 24, 48, 96):  # kilobytes
            filler.unlink(missing_ok=True)
            filler.write_bytes(bytes(shutil.disk_usage(disk).free - 1024 * left))
            with pytest.raises(RetrainLabError, match="cannot be written") as error:
                finish(training, layer)
            problems.add(str(error.value))
            assert files(disk / "one") == before
        said = f"The new training of '{disk}/one' cannot be written: No space left on device. "
        assert problems == {f"{said}The run is what it was. Make room there, and run it again."}
        filler.unlink()
        finish(training, layer)
        assert is_whole(run) == 2
        for left in (0, 4, 16):
            filler.unlink(missing_ok=True)
            filler.write_bytes(bytes(shutil.disk_usage(disk).free - 1024 * left))
            with pytest.raises(RetrainLabError, match="cannot be written: No space left on device"):
                begin(disk, 3)
        assert not capfd.readouterr().err.count("Traceback") and is_whole(run) == 2


def test_whoever_opens_a_model_or_lists_runs_completes_what_was_published(begin, tmp_path):
    for seed in (1, 2):
        training, layer = begin(tmp_path, seed)
        training.export(layer, guard.of(layer), "final_result")
        if seed == 1:
            training.publish()
    folder = training.lab.run.folder
    training.made.folder.rename(folder / ".published")
    assert labelers.load(folder / "model").labels == layer.head.labels
    assert not (folder / ".published").exists() and is_whole(run_folder.Run(folder)) == 2
    training, layer = begin(tmp_path, 3)
    training.made.folder.rename(folder / ".published")
    assert list(listing.list_runs(tmp_path).index) == ["one"] and not (folder / ".published").exists()


def test_what_was_found_out_about_one_training_is_not_said_of_the_next(begin, tmp_path):
    training, layer = begin(tmp_path, 1)
    finish(training, layer)
    reopened = Lab.reopen("one", tmp_path)
    reopened.add_metrics(trust={"n": 1})
    assert reopened.run.metrics()["trust"] == {"n": 1}
    training, layer = begin(tmp_path, 2)
    finish(training, layer)
    with pytest.raises(RetrainLabError, match="Run 'one' was trained anew meanwhile"):
        reopened.add_metrics(trust={"n": 2})
    assert "trust" not in reopened.run.metrics()


def test_a_first_run_that_fails_leaves_no_folder(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RetrainLabError):
        Lab.open("one", str(tmp_path / "empty"), 20.0, 20.0, reports_dir=tmp_path / "out")
    assert not (tmp_path / "out" / "one").exists()
    Lab.open("one", str(photos), 20.0, 20.0, reports_dir=tmp_path / "out").begin()
    with pytest.raises(RetrainLabError):
        Lab.open("one", str(tmp_path / "empty"), 20.0, 20.0, reports_dir=tmp_path / "out")
    assert (tmp_path / "out" / "one" / "images.parquet").exists()


@pytest.mark.hard
def test_03_on_other_images_that_fails_leaves_the_run(photos, module, bottleneck_dir, tmp_path):
    values = {"run": "one", "reports_dir": str(tmp_path), "image_dir": str(photos), "tfhub_module": str(module),
              "bottleneck_dir": str(bottleneck_dir), "how_many_training_steps": 40, "weight_decay": [0.0]}  # fmt: skip
    run_notebook("03", **values)
    run, before = run_folder.Run(tmp_path / "one"), files(tmp_path / "one")
    other = values | {"testing_percentage": 40.0, "seed": 7}
    with pytest.raises(RetrainLabError, match="final_tensor_name is 'two words'"):
        run_notebook("03", **other | {"final_tensor_name": "two words"})
    after = files(tmp_path / "one")
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {"run.json"}  # when, with what
    assert run.info()["settings"]["seed"] == 0 and is_whole(run) == 0
    tested = run.metrics()["test"]["n"]
    run_notebook("03", **other)
    assert is_whole(run) == 7
    assert (run.read_table("images")["split"] == "test").sum() == run.metrics()["test"]["n"] > tested
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".")]
