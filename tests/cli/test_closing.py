import numpy as np
import pytest
from conftest import METRICS

from retrainlab.cli import closing
from retrainlab.evaluation.intervals import accuracy
from retrainlab.images import splitting
from retrainlab.runs import run_folder

ADVICE = [{"accuracy": 0.0, "sentence": "Nothing: +0.0."}, {"accuracy": 0.01, "sentence": "Rest: +1.0."}]
FIGURES = ["  train accuracy", "  validation accuracy", "  test accuracy"]
TOO_SMALL = "  The label 'owl' has fewer than 20 images: too few to learn or to measure reliably."


@pytest.fixture
def run(tmp_path):
    made = run_folder.open_run(tmp_path, "one")
    made.record(dataset={"said": ["Understood as one folder a label.", TOO_SMALL.strip()]}, extraction="9 images.")
    splits = {split: accuracy(np.arange(10) < 8) for split in ("train", "validation", "test")}
    judged = {"verdict": "fits", "sentence": "It fits.", "advice": ADVICE}
    made.write_metrics(
        METRICS
        | {"threshold": {}, "overfitting": judged}
        | {name: METRICS[name] | mine for name, mine in splits.items()}
    )
    return made


def test_it_ends_with_the_verdict_and_the_first_advice_that_promises_something(run):
    said = list(closing.lines(run, ["01_explore", "02_bottlenecks", "03_retrain", "04_overfitting", "06_compare"]))
    understood = ["  9 images.", "  Understood as one folder a label.", TOO_SMALL]
    assert said[3:] == [*understood, "Verdict: It fits.", "Most promising: Rest: +1.0."]
    assert all(line.startswith(begins) for line, begins in zip(said, FIGURES, strict=False))


@pytest.mark.parametrize(
    ("ran", "count", "last"),
    [
        (["01_explore"], 2, TOO_SMALL),
        (["03_retrain"], 6, TOO_SMALL),
        (["04_overfitting"], 2, "Most promising: Rest: +1.0."),
        (["06_compare", "05_label"], 0, None),
    ],
)
def test_of_notebooks_that_did_not_run_nothing_is_said(run, ran, count, last):
    said = list(closing.lines(run, ran))
    assert len(said) == count and (said[-1:] or [None])[0] == last


def test_what_was_left_out_is_said(run, many):
    many.loc[3, "problem"] = "the file is empty"
    run.write_table("images", splitting.split(many))
    said = list(closing.lines(run, ["01_explore"]))
    assert said[2:] == ["  1 of 2000 files are left out. a/3.jpg: the file is empty."]


def test_a_run_that_was_never_trained(tmp_path):
    assert list(closing.lines(run_folder.open_run(tmp_path, "new"), ["03_retrain", "04_overfitting"])) == []
