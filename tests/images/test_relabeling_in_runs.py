"""Decisions on labels in doubt: kept beside a run, honoured by the next one, and weighed."""

import pandas as pd
import pytest
from conftest import make_folder, run_notebook

from retrainlab.errors import RetrainLabError
from retrainlab.images import relabeling
from retrainlab.runs import run_folder

EXPLORE = ("run", "reports_dir", "image_dir", "testing_percentage", "validation_percentage")  # parameters of 01


@pytest.fixture(scope="module")
def doubted(module, bottleneck_dir, tmp_path_factory):
    """A run on photos of which 6 lie in the wrong folder; 04 has named its suspects."""
    photos, reports = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("reports")
    make_folder(photos, {"red": 40, "green": 40})
    for number, file in enumerate(sorted((photos / "red").iterdir())[:6]):
        file.rename(photos / "green" / f"{number}.jpg")
    place = {"run": "first", "reports_dir": str(reports), "bottleneck_dir": str(bottleneck_dir)}
    train = {"image_dir": str(photos), "tfhub_module": str(module), "how_many_training_steps": 200,
             "testing_percentage": 0.0, "validation_percentage": 25.0, "weight_decay": [0.1]}  # fmt: skip
    run_notebook("03", **place, **train)
    said = run_notebook("04", **place)
    return photos, run_folder.Run(reports / "first"), place | train, said


def test_the_wrong_labels_are_suspected(doubted):
    _, run, _, said = doubted
    assert "6 of 80 labels are in doubt" in said
    table = pd.read_csv(run.folder / "suspects.csv")
    assert sorted(table["path"]) == [f"green/{number}.jpg" for number in range(6)]
    assert set(table["suggested"]) == {"red"}


def test_the_next_run_takes_decisions_into_account_and_says_what_they_changed(doubted):
    photos, run, values, _ = doubted
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*.*")}
    content = run.read_table("images").set_index("path")["sha256"]
    for number in range(5):
        relabeling.decide(run.folder, f"green/{number}.jpg", content[f"green/{number}.jpg"], "green", "red")
    relabeling.decide(run.folder, "green/5.jpg", content["green/5.jpg"], "green", None)
    said = run_notebook("03", **values)
    assert "5 images have another label than the given one, 1 are left out" in said
    assert "They change validation accuracy by +" in said
    images, predicted = run.read_table("images").set_index("path"), run.read_table("predictions").set_index("path")
    assert images.loc["green/0.jpg", "label"] == predicted.loc["green/0.jpg", "label"] == "red"
    assert "left out by a decision" in images.loc["green/5.jpg", "problem"] and "green/5.jpg" not in predicted.index
    low, high = run.metrics()["decisions"]["interval"]
    assert low <= run.metrics()["decisions"]["accuracy"] <= high
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*.*")} == before  # image files stay untouched

    other = {name: values[name] for name in EXPLORE} | {"run": "second"}
    assert "5 images have another label" in run_notebook("01", **other, labels_from="first")
    assert run.other("second").read_table("images").set_index("path").loc["green/0.jpg", "label"] == "red"
    relabeling.decide(run.other("second").folder, "green/0.jpg", content["green/0.jpg"], "green", "green")
    assert "4 images have another label than the given one, 1 are left out and 1 keep theirs" in run_notebook(
        "01", **other, labels_from="first"
    )
    with pytest.raises(RetrainLabError, match="no run 'third'"):
        run_notebook("01", **other, labels_from="third")
