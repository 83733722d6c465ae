"""A sweep's figures are those of the same settings alone; its runs are light, and it writes over no others."""

import json
import os
import re
import shlex
import shutil
import signal

import pandas as pd
import pytest
from conftest import METRICS, save_convolutions, save_module

from retrainlab import project
from retrainlab.bottlenecks import cluster
from retrainlab.bottlenecks.features import with_variants
from retrainlab.cli import combinations, grids, light_runs, sweeps, swept
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores
from retrainlab.images import overview
from retrainlab.lab import Lab
from retrainlab.pages import index_page, parameters, repeating
from retrainlab.pixels.distortions import Distortion
from retrainlab.pixels.levels import OWN
from retrainlab.runs import listing, run_folder, summaries
from retrainlab.training import heads, trainer

KNOWN = parameters.known()
DEFAULTS = {name: entry["default"] for name, entry in KNOWN.items()}
GRID = {"learning_rate": [0.01, 0.1], "weight_decay": [0.0, 0.1]}
STEPS = 40


@pytest.fixture(scope="module")
def given(photos, module, bottleneck_dir):
    return {"image_dir": str(photos), "tfhub_module": str(module), "bottleneck_dir": str(bottleneck_dir),
            "how_many_training_steps": STEPS, "testing_percentage": 20.0, "validation_percentage": 20.0,
            "depth": "last"}  # fmt: skip


@pytest.fixture
def sweep(given, tmp_path):
    """Sweep into a folder of the test's own; returns (what was found, what was said)."""

    def call(grid, run="s", **more):
        said = []
        found = sweeps.sweep(run, given | {"reports_dir": str(tmp_path)} | more, grid, KNOWN, say=said.append)
        return found, said

    return call


@pytest.fixture(scope="module")
def done(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    found = sweeps.sweep("s", given | {"reports_dir": str(folder)}, GRID, KNOWN, say=lambda line: None)
    return found, folder


@pytest.fixture(scope="module")
def data(loaded):
    return loaded.table, loaded.cache, loaded.matrix, loaded.table


# --------------------------------------------------------------------------------------------- known answers


def test_a_combination_is_what_the_same_settings_are_alone(done, data):
    found, folder = done
    _, _, features, known = data
    assert list(found.table.index) == ["s-01", "s-02", "s-03", "s-04"] and found.problems == []
    for name, rate, decay in zip(found.table.index, [0.01, 0.01, 0.1, 0.1], [0.0, 0.1] * 2, strict=True):
        assert found.table.loc[name, ["learning_rate", "weight_decay"]].tolist() == [rate, decay]
        settings = heads.HeadSettings(STEPS, rate, weight_decay=decay)
        (head,), history = trainer.train(features, known["label"], known["split"], [settings], 50)
        written = run_folder.Run(folder / name).read_table("history")
        pd.testing.assert_frame_equal(written, history.drop(columns="member"), atol=1e-4)
        alone = scores.summarise(scores.predictions(known, head.logits(features), head.labels), head.labels)
        figure = run_folder.Run(folder / name).metrics()["validation"]
        assert figure["n"] == alone["validation"]["n"] > 0
        assert figure["accuracy"] == alone["validation"]["accuracy"] == found.table.loc[name, "validation"]
        assert figure["interval"] == pytest.approx(alone["validation"]["interval"])
        assert found.table.loc[name, "train"] == alone["train"]["accuracy"]


def test_the_lowest_validation_cross_entropy_is_chosen(done):
    found, folder = done
    last = {name: run_folder.Run(folder / name).read_table("history").iloc[-1] for name in found.table.index}
    figures = {name: row["cross_entropy"] for name, row in last.items()}
    assert found.table["cross_entropy"].to_dict() == pytest.approx(figures)  # before temperature scaling
    assert len(set(figures.values())) == 4
    assert found.chosen == min(figures, key=figures.get)
    assert run_folder.Run(folder / "s").info()["sweep"]["chosen"] == found.chosen


def test_where_decay_is_not_varied_validation_chooses_it_for_each(done, sweep):
    every, folder = done
    found, _ = sweep({"learning_rate": [0.01, 0.1]}, weight_decay=[0.0, 0.1])
    for row in found.table.itertuples():
        mine = every.table[every.table["learning_rate"] == row.learning_rate]
        last = {name: run_folder.Run(folder / name).read_table("history").iloc[-1] for name in mine.index}
        assert {figure["split"] for figure in last.values()} == {"validation"}
        best = min(last, key=lambda name: last[name]["cross_entropy"])  # before temperature scaling, as 03_retrain does
        assert row.weight_decay == mine.loc[best, "weight_decay"]
        assert row.cross_entropy == pytest.approx(mine.loc[best, "cross_entropy"], abs=1e-4)


def test_backbones_and_distortions_may_be_varied(sweep, data, module, tmp_path):
    _, cache, features, known = data
    other = str(save_module(tmp_path / "modules" / "other", dim=8, seed=1))
    grid = {"tfhub_module": [str(module), other], "flip_left_right": [False, True]}
    found, said = sweep(grid, distortion_variants=2, weight_decay=[0.01])
    assert [line.split(":")[0] for line in said if "distorted images" in line] == [str(module), other]
    assert len(set(found.table["n"])) == 1 and found.table["train"].notna().all()
    written = [run_folder.Run(tmp_path / name) for name in found.table.index]
    assert [run.metrics()["backbone"] for run in written] == [str(module)] * 2 + [other] * 2
    assert len({run.info()["backbone"]["digest"] for run in written}) == 2

    cache.refresh()  # the sweep has added variants
    learn_features, learn = with_variants(cache, features, known, Distortion(flip_left_right=True), 2, OWN)
    settings = heads.HeadSettings(STEPS, weight_decay=0.01)
    _, history = trainer.train(learn_features, learn["label"], learn["split"], [settings], 50)
    pd.testing.assert_frame_equal(written[1].read_table("history"), history.drop(columns="member"), atol=1e-4)


# --------------------------------------------------------------------------------------------- fine-tuning


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    shapes = {"first": (3, 3, 3, 8), "second": (3, 3, 8, 16)}
    return save_convolutions(tmp_path_factory.mktemp("convolutions") / "module", shapes, 16)


def test_fine_tuning_may_be_varied_and_each_combination_is_tuned(sweep, convolutions, tmp_path):
    grid = {"fine_tune_from": ["", "first_out"], "fine_tune_learning_rate": [0.002, 0.02]}
    found, said = sweep(grid, tfhub_module=convolutions, fine_tune_epochs=2, weight_decay=[0.01, 0.1])
    assert found.problems == [] and "s: 4 settings, 8 heads to train and 2 fine-tunings, one after the other" in said
    (first, last) = (line for line in said if "fine-tunings in" in line)
    assert first.startswith("s: 1 of 2 fine-tunings in 0.") and re.search(
        r" minutes, about \d\.\d minutes left$", first
    )
    assert last.startswith("s: 2 of 2 fine-tunings in 0.") and last.endswith(" minutes")
    for row in found.table.itertuples():
        run = run_folder.Run(tmp_path / row.Index)
        info, history = run.info(), run.read_table("history").query("split == 'validation'")
        assert info["parameters"]["fine_tune_from"] == row.fine_tune_from and info["device"] == "CPU, in float32"
        if row.fine_tune_from:
            assert history["step"].tolist() == [0, 1, 2]
            assert row.cross_entropy == pytest.approx(history["cross_entropy"].min())
            assert info["backbone"]["tuned"] and info["learnt_from"]["fine_tune_learning_rate"] in (0.002, 0.02)
        else:
            assert row.cross_entropy == pytest.approx(history["cross_entropy"].iloc[-1])
            assert not info["backbone"].get("tuned") and history["step"].max() == STEPS
    plain, same, slow, quick = found.table["cross_entropy"]
    assert plain == pytest.approx(same) and slow != quick


# --------------------------------------------------------------------------------------------- on a cluster

BOTH = {"optimizer": ["sgd", "adam"], "fine_tune_from": ["", "first_out"]}  # two stacks, and two fine-tunings


def test_a_cluster_gives_the_sweep_of_one_machine_though_a_worker_is_killed(joined, given, convolutions, tmp_path):
    client, said, place = cluster.current(), [], [tmp_path / "here", tmp_path / "there"]
    pids = client.run(os.getpid)
    client.run(lambda: bool(__import__("tensorflow")))  # as here: once it is loaded, NumPy's last bits are others
    more = given | {"tfhub_module": convolutions, "fine_tune_epochs": 2, "weight_decay": [0.01, 0.1]}

    def say(line):
        said.append(line)
        busy = [address for address, tasks in client.processing().items() if tasks]
        if "1 of 2 fine-tunings" in line and busy:
            os.kill(pids[busy[0]], signal.SIGKILL)

    there = sweeps.sweep("s", more | {"reports_dir": str(place[1])}, BOTH, KNOWN, say=say)
    client.close()
    here = sweeps.sweep("s", more | {"reports_dir": str(place[0])}, BOTH, KNOWN, say=print)
    cluster.join(joined.address)
    assert (there.chosen, there.problems, list(there.table.index)) == (here.chosen, [], list(here.table.index))
    pd.testing.assert_frame_equal(here.table, there.table, check_exact=True)
    for name in here.table.index:
        one, other = (run_folder.Run(folder / name) for folder in place)
        for table in ("history", "predictions", "images"):
            pd.testing.assert_frame_equal(one.read_table(table), other.read_table(table), check_exact=True)
        assert {path.name for path in other.folder.iterdir()} == {path.name for path in one.folder.iterdir()}
    assert "s: 4 settings, 8 heads to train and 2 fine-tunings, 2 at a time" in said
    assert "s: 4 of 4 settings trained" in said


def test_a_worker_that_does_not_see_the_runs_is_no_fault_of_a_setting(photos, tmp_path):
    lab = Lab.open("s", str(photos), 0, 20, reports_dir=tmp_path)
    shutil.rmtree(lab.run.folder)
    with pytest.raises(RetrainLabError, match=rf"^It does not see the folder '{lab.run.folder}'.*let reports_dir be"):
        combinations._Work(lab, {"eval_step_interval": 10}).write((None, None, None))


@pytest.mark.parametrize(
    ("grid", "more", "said"),
    [
        ({"fine_tune_epochs": [1, 2]}, {}, "fine_tune_epochs is to be tried, but nothing is fine-tuned. Set fine_tune"),
        ({"fine_tune_from": ["first_out", "frist_out"]}, {}, "fine_tune_from is 'frist_out'"),
        ({"fine_tune_epochs": [1, 0]}, {"fine_tune_from": "auto"}, "fine_tune_epochs is 0"),
        (
            {"hidden_units": [0, 4]},
            {"fine_tune_from": "auto"},
            "hidden_units 4: fine-tuning starts from a layer without",
        ),
    ],
)
def test_what_cannot_be_tuned_is_said_before_anything_is_trained(sweep, convolutions, tmp_path, grid, more, said):
    with pytest.raises(RetrainLabError) as error:
        sweep(grid, tfhub_module=convolutions, **more)
    assert said in str(error.value)
    assert not list(tmp_path.glob("s-*"))


# --------------------------------------------------------------------------------------------- light runs


def test_light_runs_are_read_back(done, data):
    found, folder = done
    table, *_ = data
    for name in found.table.index:
        run = run_folder.Run(folder / name)
        assert {path.name for path in run.folder.iterdir()} == {
            "run.json", "metrics.json", "images.parquet", "history.parquet", "predictions.parquet", "logs",
        }  # fmt: skip
        predicted = run.read_table("predictions")
        expected = table[table["split"] != "test"].sort_values("path")
        assert predicted.sort_values("path")["path"].tolist() == expected["path"].tolist()
        assert set(predicted["split"]) == {"train", "validation"}
        metrics, info = run.metrics(), run.info()
        again = scores.summarise(predicted, metrics["labels"])
        assert again == {split: metrics[split] for split in again} and metrics["test"]["n"] == 0
        assert metrics["steps"] == STEPS and metrics["temperature"] > 0
        assert info["sweep"] == {"name": "s"} and info["backbone"]["milliseconds"] > 0
        assert info["settings"]["learning_rate"] == found.table.loc[name, "learning_rate"]
        assert info["dataset"]["digest"] == overview.digest(table) == overview.digest(run.read_table("images"))
    listed = listing.list_runs(folder)
    assert sorted(listed.index) == list(found.table.index) and listed["test"].isna().all()


def test_tensorboard_can_compare_them(done):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2
    from tensorboard.util import tensor_util

    found, folder = done
    for name in found.table.index:
        events = EventAccumulator(str(folder / name / "logs" / "results"), {"tensors": 0}).Reload()
        started = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
        hparams = plugin_data_pb2.HParamsPluginData.FromString(started).session_start_info.hparams
        assert hparams["learning_rate"].number_value == found.table.loc[name, "learning_rate"]
        assert hparams["weight_decay"].number_value == found.table.loc[name, "weight_decay"]
        (event,) = events.Tensors("results/validation_accuracy")
        value = float(tensor_util.make_ndarray(event.tensor_proto))
        assert (event.step, value) == (STEPS, pytest.approx(found.table.loc[name, "validation"]))
        assert set(summaries.RESULTS) - set(events.Tags()["tensors"]) == {"results/test_accuracy"}
        curves = {tag for tag in events.Tags()["tensors"] if tag.endswith("/pr_curves")}
        assert len(curves) == (3 if name == found.chosen else 0)
        history = run_folder.Run(folder / name).read_table("history").set_index(["split", "step"])
        for split in ("train", "validation"):
            drawn = EventAccumulator(str(folder / name / "logs" / split), {"tensors": 0}).Reload()
            for figure in ("accuracy", "cross_entropy"):
                steps = {e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in drawn.Tensors(figure)}
                assert steps == pytest.approx(history.loc[split, figure].to_dict()) and len(steps) > 1


def test_the_index_lists_light_runs_and_the_sweeps_page(done):
    found, folder = done
    (folder / "s" / "06_compare.html").touch()
    text = index_page.write_index(folder).read_text()
    assert all(f">{name}<" in text for name in found.table.index)
    assert "0 runs, 1 sweep<" in text and "s: a sweep of 4 settings" in text
    assert '<a href="s/06_compare.html">Compare</a>' in text


def test_the_printed_command_repeats_the_chosen_run_in_full(done, given):
    found, folder = done
    place = {"reports_dir": str(folder)}
    words = [*shlex.split(project.command()), "report", "--run", found.chosen, "-p", "reports_dir", str(folder)]
    assert shlex.split(found.command) == words
    run = run_folder.Run(folder / found.chosen)
    values, said = repeating.in_force(run, place, KNOWN, DEFAULTS)
    best = found.table.loc[found.chosen]
    varied = {"learning_rate": best["learning_rate"], "weight_decay": [best["weight_decay"]]}
    assert values == DEFAULTS | given | place | varied | {"run": found.chosen}
    assert len(said) == 1 and said[0].startswith(f"Run '{found.chosen}' as before: image_dir {given['image_dir']}, ")
    kept = run.info()["parameters"]
    assert {name: kept[name] for name in run.info()["settings"]} == run.info()["settings"] | varied


def test_a_sweep_again_computes_no_bottleneck_and_replaces_its_runs(sweep, tmp_path):
    sweep({"learning_rate": [0.01, 0.1, 0.2]}, weight_decay=[0.0], label_smoothing=0.1)
    found, said = sweep({"learning_rate": [0.1, 0.2]}, weight_decay=[0.0])
    assert said[0] == "Run 's' as before: label_smoothing 0.1."
    assert any("none computed" in line for line in said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s-01", "s-02"]
    info = run_folder.Run(tmp_path / "s-01").info()
    assert info["parameters"]["learning_rate"] == 0.1
    assert len(list((tmp_path / "s-01" / "logs" / "results").glob("events*"))) == 1
    assert run_folder.Run(tmp_path / "s").info()["sweep"]["runs"] == ["s-01", "s-02"] == list(found.table.index)


@pytest.mark.parametrize("taken", ["s", "s-02"])
def test_other_runs_are_never_written_over(sweep, tmp_path, taken):
    run = run_folder.open_run(tmp_path, taken)
    run.write_metrics(METRICS)
    with pytest.raises(RetrainLabError, match=f"There is a run '{taken}' already.* another --run"):
        sweep({"learning_rate": [0.01, 0.1]})
    assert [path.name for path in tmp_path.iterdir()] == [taken] and run.metrics() == METRICS


@pytest.mark.parametrize("added", ["model", "03_retrain.ipynb", "labels.csv", "test figures"])
def test_a_light_run_with_more_in_it_is_no_light_run(sweep, tmp_path, added):
    run = run_folder.open_run(tmp_path, "s-07")
    run.record(sweep={"name": "s"})
    run.write_metrics(METRICS | ({"test": METRICS["train"]} if added == "test figures" else {}))
    if added != "test figures":
        (run.folder / added).touch()
    points = grids.points("s", {"seed": range(9)}, DEFAULTS)
    with pytest.raises(RetrainLabError, match="There is a run 's-07' already"):
        light_runs.keep_others(str(tmp_path), "s", points)
    assert light_runs.keep_others(str(tmp_path), "s", points[:5]) == set()  # nor is it cleared away
    if added != "test figures":
        (run.folder / added).unlink()
        assert light_runs.keep_others(str(tmp_path), "s", points) == {"s-07"}


# --------------------------------------------------------------------------------------------- what goes wrong


def test_what_diverges_is_said_and_the_others_are_kept(sweep, tmp_path):
    """A penalty of 1e9 at any of these rates grows the weights a millionfold a step."""
    found, _ = sweep({"learning_rate": [0.01, 0.02], "weight_decay": [0.0, 1e9]}, label_smoothing=0.1)
    assert list(found.table.index) == ["s-01", "s-03"] and len(found.problems) == 2
    assert found.problems[0].startswith("learning_rate 0.01, weight_decay 1e+09: Training diverged")
    assert not (tmp_path / "s-02").exists() and found.chosen in found.table.index
    assert any(line.startswith("Left out: learning_rate 0.01, weight_decay") for line in swept.describe(found))


def test_a_decay_that_diverges_is_not_in_the_full_run(sweep, tmp_path):
    found, _ = sweep({"learning_rate": [0.01, 0.02]}, weight_decay=[0.0, 0.1, 1e9])
    assert len(found.table) == 2
    assert found.problems[0] == "learning_rate 0.01 with weight_decay 1e+09: diverged"
    assert run_folder.Run(tmp_path / "s-01").info()["parameters"]["weight_decay"] == [0.0, 0.1]


def test_nothing_is_left_where_all_diverge(sweep, tmp_path):
    with pytest.raises(RetrainLabError, match=r"None of these 2 settings could be trained\. weight_decay .* diverged"):
        sweep({"weight_decay": [1e9, 1e10]})
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_without_validation_images_nothing_is_chosen(sweep):
    found, _ = sweep({"learning_rate": [0.01, 0.1]}, validation_percentage=0.0, weight_decay=[0.0])
    assert found.chosen is None and found.command == "" and found.table["train"].notna().all()
    lines = swept.describe(found)
    assert lines[-1].startswith("There are no validation images, so none") and not any("nan" in line for line in lines)
    assert found.compared == ["s-01", "s-02"]


@pytest.mark.parametrize(
    ("grid", "more", "said"),
    [
        ({}, {}, "There is nothing to try"),
        ({"learning_rate": [0.1, 0.1]}, {}, "There is nothing to try"),
        ({"image_dir": ["a", "b"]}, {}, "image_dir cannot be varied. Expected one of average_views, class_weight"),
        ({"learning_rate": []}, {}, "learning_rate has no values"),
        ({"learning_rate": [0.1, -1.0]}, {}, "learning_rate is -1.0. Expected a number above 0."),
        ({"weight_decay": [["0"], ["much"]]}, {}, "weight_decay is ['much']. Expected a number from 0 up"),
        ({"seed": [1, 2]}, {"weight_decay": []}, "weight_decay is []"),
        ({"optimizer": ["sgd", "adm"]}, {}, "optimizer is 'adm'. Expected adam or sgd."),
        ({"random_crop": [0, -1]}, {}, "random_crop is -1"),
        ({"flip_left_right": [False, True]}, {"distortion_variants": 0}, "distortion_variants reaches 0"),
        ({"seed": range(300)}, {}, "300 settings, each with 7 values of weight_decay to choose from: 2,100 heads"),
        ({"seed": range(50), "dropout": [i / 50 for i in range(50)]}, {"weight_decay": [0.0]}, "2,500 heads to train"),
        ({"tfhub_module": ["efficientnet_lite7", "efficientnet_lite8"]}, {}, "No backbone 'efficientnet_lite7'"),
        ({"seed": [0, 1]}, {"start_from": "nobody"}, "There is no run 'nobody' under"),
        ({"seed": [0, 1]}, {"testing_percentage": 90.0}, "leave no training image"),
        ({"seed": [0, 1]}, {"image_dir": "nowhere/at all"}, "does not exist"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(sweep, tmp_path, grid, more, said):
    with pytest.raises(RetrainLabError) as error:
        sweep(grid, **more)
    assert said in str(error.value)
    assert not list(tmp_path.glob("s-*"))


# --------------------------------------------------------------------------------------------- words


def test_a_sweep_in_words(done):
    found, _ = done
    lines = swept.describe(found)
    names = ["run", "learning_rate", "weight_decay", "train", "validation [95% interval]", "cross-entropy"]
    assert re.split("  +", lines[0]) == names
    best = found.table.sort_values("cross_entropy")
    assert [line.split()[0] for line in lines[1:5]] == list(best.index) and lines[1].startswith(found.chosen)
    row = best.iloc[0]
    assert f"{row['validation']:.1%} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in lines[1]
    assert len({len(line) for line in lines[:5]}) == 1  # it lines up
    assert f"Chosen: {found.chosen} (learning_rate" in lines[6] and f"on {int(row['n'])} validation images" in lines[6]
    assert lines[-1].strip() == found.command


def test_a_large_table_is_cut_and_the_best_are_compared():
    numbers = pd.Series(range(300))
    table = pd.DataFrame({"seed": numbers, "weight_decay": 0.0, "n": 9, "validation": 0.5, "low": 0.4, "high": 0.6,
                          "cross_entropy": 1000.0 - numbers, "train": 0.5})  # fmt: skip
    table.index = pd.Index([f"s-{number:03}" for number in range(1, 301)], name="run")
    found = swept.Swept(table, "s-300", "retrainlab report", [f"seed {number}: diverged" for number in range(7)])
    lines = swept.describe(found)
    assert lines[1].startswith("s-300") and "... and 260 more." in lines
    assert "Left out as well: 2 more." in lines and len(lines) < 60
    assert found.compared == list(table.index[100:])


def test_what_is_recorded_can_be_written_as_json(done):
    info = json.loads((done[1] / "s" / "run.json").read_text())
    assert info["sweep"]["grid"] == GRID
