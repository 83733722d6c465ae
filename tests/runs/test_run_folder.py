import json
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from conftest import METRICS, SPLIT

from retrainlab.errors import RetrainLabError
from retrainlab.runs import listing, run_folder

TRAINING = {"dataset": {"image_dir": "/images", "said": []}, "settings": {"seed": 5},
            "backbone": {"digest": "d", "handle": "tiny", "image_size": 0, "depth": "last", "average_views": False,
                         "tuned": "", "milliseconds": 2.5}}  # fmt: skip


def images(**columns):
    return pd.DataFrame(columns).reindex(columns=["path", "label", "split", "sha256", "problem"])


def test_a_run_folder_keeps_what_it_is_given(tmp_path):
    run = run_folder.open_run(tmp_path, "my run-1.0")
    table = pd.DataFrame({"step": [1, 2], "label": ["猫", "a\tb"]})
    run.write_table("notes", table)
    pd.testing.assert_frame_equal(run.read_table("notes"), table)
    run.record(dataset={"image_dir": "x"})
    run.record(dataset={"digest": "y"}, seconds={"scan": 1})
    info = run_folder.open_run(tmp_path, "my run-1.0").info()
    assert info["dataset"] == {"image_dir": "x", "digest": "y"}
    assert info["versions"]["tensorflow"] and info["run"] == "my run-1.0"
    with run.stage("retrain"):
        pass
    assert set(run.info()["seconds"]) == {"scan", "retrain"}
    assert not [file for file in run.folder.iterdir() if file.name.startswith(".")]


def test_the_scale_of_16_bit_images_is_recorded(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    table = pd.DataFrame({"path": ["a", "b"], "label": ["x", "y"], "problem": [None, None],
                          "dtype": ["uint16", None], "low": [5, None], "high": [4000, None]})  # fmt: skip
    run.begin(table, tmp_path, "digest")
    assert run.info()["dataset"]["levels"] == {"integer": [0, 4095]}
    run.begin(table[1:], tmp_path, "another")
    assert run.info()["dataset"]["levels"] == {}


def test_new_metrics_replace_the_old_ones_and_later_ones_are_added(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    run.write_metrics(METRICS)
    run.add_metrics(overfitting={"verdict": "fits"})
    assert run.metrics()["overfitting"] == {"verdict": "fits"} and run.metrics()["train"] == SPLIT
    run.write_metrics(METRICS)
    assert "overfitting" not in run.metrics()


def test_a_trained_run_stays_what_it_is_when_other_images_are_seen(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    table = images(path=["a"], label=["x"], problem=[None])
    run.begin(table, tmp_path / "photos", "digest")
    for name in ("history", "predictions"):
        run.write_table(name, table.assign(predicted="x", logits="x", step=1, accuracy=1.0, cross_entropy=0.1))
    run.record(settings={"seed": 5}, learnt_from={"start_from": ""}, seconds={"scan": 1})
    run.write_metrics(METRICS)
    run.begin(table, tmp_path / "moved", "digest")  # the same images
    assert run.metrics() == METRICS and run.info()["settings"] == {"seed": 5}
    assert {"image_dir": str(tmp_path / "moved"), "digest": "digest"}.items() <= run.info()["dataset"].items()
    before, other = run.info(), table.assign(path="b")
    run.begin(other, tmp_path / "other", "another")
    assert run.metrics() == METRICS and list(listing.list_runs(tmp_path).index) == ["one"]
    seen = run.info().pop("seen")
    assert seen["digest"] == "another" and {key: run.info()[key] for key in before} == before
    for name in ("images", "history", "predictions"):
        assert run.read_table(name)["path"].tolist() == ["a"]
    pd.testing.assert_frame_equal(run.known_images(tmp_path / "other"), other)  # they need not be read again
    assert run.known_images(tmp_path / "moved") is None
    run.begin(table, tmp_path / "moved", "digest")
    assert "seen" not in run.info() and not (run.folder / "seen.parquet").exists()


def test_a_training_is_of_its_images_and_has_nothing_of_the_one_before(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    table = images(path=["a"], label=["x"], problem=[None])
    run.begin(table, tmp_path, "digest")
    run.record(settings={"seed": 5}, learnt_from={"start_from": ""}, seconds={"scan": 1})
    run.write_metrics(METRICS)
    run.begin(table.assign(path="b"), tmp_path, "another")
    seen = run.info()["seen"]
    (run.folder / "aside").mkdir()
    made = run.prepare(run.folder / "aside")
    made.begin(table.assign(path="b"), tmp_path, "another")
    assert made.info()["dataset"] == seen and "seen" not in made.info()  # since the same moment: pages of then count
    assert made.metrics() == {} and made.info()["seconds"] == {"scan": 1}
    assert not {"settings", "learnt_from", "trained"} & set(made.info())


def test_what_is_missing_or_damaged_is_said(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    with pytest.raises(RetrainLabError, match=r"Run 'one' has no history.parquet yet. Run 03_retrain first"):
        run.read_table("history")
    (run.folder / "history.parquet").write_text("no table")
    with pytest.raises(RetrainLabError, match=r"history.parquet is damaged"):
        run.read_table("history")
    (run.folder / "metrics.json").write_text("{")
    with pytest.raises(RetrainLabError, match=r"metrics.json is damaged"):
        run.metrics()
    (run.folder / "run.json").write_text("[]")
    (run.folder / "metrics.json").write_text('{"labels": ["a"]}')
    with pytest.raises(RetrainLabError, match=r"run.json is damaged \(it holds a list of 0, not names with values\)"):
        run.info()
    assert listing.list_runs(tmp_path).empty  # and the others would still be listed


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\nb"])
def test_names_that_cannot_be_folders(tmp_path, name):
    with pytest.raises(RetrainLabError, match="cannot be a folder's"):
        run_folder.open_run(tmp_path, name)


def test_a_reports_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RetrainLabError, match="cannot be written"):
        run_folder.open_run(tmp_path / "file", "one")


def test_known_images_are_those_of_the_same_folder(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    assert run.known_images(tmp_path) is None
    table = images(path=["a"])
    run.write_table("images", table)
    run.record(dataset={"image_dir": str(tmp_path)})
    pd.testing.assert_frame_equal(run.known_images(tmp_path), table)
    assert run.known_images(tmp_path / "other") is None


def test_a_run_never_uses_the_image_folder_as_its_own(tmp_path):
    run = run_folder.open_run(tmp_path, "photos")
    with pytest.raises(RetrainLabError, match="is the image folder itself"):
        run.known_images(tmp_path / "photos")


def test_the_list_of_runs_passes_over_what_it_cannot_read(tmp_path):
    assert listing.list_runs(tmp_path / "none").empty
    for name in ("one", "two", "broken", "foreign"):
        run_folder.open_run(tmp_path, name).write_metrics(METRICS)
    (tmp_path / "broken" / "metrics.json").write_text("{")
    (tmp_path / "foreign" / "metrics.json").write_text(json.dumps({"loss": 1}))
    table = listing.list_runs(tmp_path)
    assert sorted(table.index) == ["one", "two"]
    row = table.loc["one"]
    assert (row["validation"], row["validation low"], row["validation n"]) == (0.8, 0.5, 10)
    assert pd.isna(row["test"]) and row["test n"] == 0


def test_some_images_are_test_images(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    table = images(path=["a", "b", "c"], split=["train", "test", "test"], problem=[None, None, "bad"])
    run.write_table("images", table)
    run.record(**TRAINING)
    assert [path.as_posix() for path in listing.some_images(run)] == ["/images/b"]


def test_figures_belong_to_the_recorded_labels(tmp_path):
    run = run_folder.open_run(tmp_path, "one")
    table = pd.DataFrame({"path": ["a", "b"], "label": ["x", "y"], "problem": [None, None]})
    run.begin(table, tmp_path, "digest")
    run.write_metrics(METRICS)
    unread = pd.DataFrame({"path": ["c"], "label": ["y"], "problem": ["the file is empty"]})
    run.begin(pd.concat([unread, table]), tmp_path, "digest")  # one more that takes no part
    assert run.metrics() == METRICS
    assert "seen" not in run.info()
    run.begin(table.assign(label="x"), tmp_path, "digest")
    assert run.info()["seen"]["labels"] != run.info()["dataset"]["labels"]


def _add(folder, mine):
    for number in range(30):
        run_folder.Run(folder).add_metrics(**{f"{mine} {number}": number})


def test_notebooks_side_by_side_lose_nothing_of_what_each_adds(tmp_path):
    run_folder.Run(tmp_path).write_metrics(METRICS)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda mine: _add(tmp_path, mine), "abc"))
    assert len(run_folder.Run(tmp_path).metrics()) == 90 + len(METRICS)
