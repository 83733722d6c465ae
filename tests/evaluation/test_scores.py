import numpy as np
import pandas as pd
import pytest

from retrainlab.evaluation import intervals, scores


@pytest.fixture
def predicted() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "path": list("pqrstu"),
            "label": ["a", "a", "b", "b", "a", "b"],
            "split": ["train"] * 4 + ["validation"] * 2,
        }
    )
    logits = np.array([[2, 0], [0, 2], [0, 2], [0, 2], [2, 0], [2, 0]], np.float32)
    return scores.predictions(table, logits, ["a", "b"])


def test_summary_known_answers(predicted):
    figures = scores.summarise(predicted, ["a", "b"])
    assert figures["train"]["n"] == 4 and figures["train"]["accuracy"] == 0.75
    assert figures["validation"]["accuracy"] == 0.5
    assert figures["train"]["cross_entropy"] == pytest.approx(np.log(1 + np.exp(-2)) + 0.5)
    assert figures["gap"]["accuracy"] == 0.25
    assert figures["test"] == {"n": 0, "accuracy": None, "interval": None, "cross_entropy": None}
    assert intervals.percent(figures["test"]) == "no images"
    assert intervals.percent(figures["train"]) == "75.0% [30.1, 95.4], n = 4"
    assert intervals.points(figures["gap"]).startswith("+25.0 points [")


def test_summary_without_validation_images(predicted):
    figures = scores.summarise(predicted[predicted["split"] == "train"], ["a", "b"])
    assert figures["gap"] == {"accuracy": None, "interval": None}
    assert np.isnan(scores.accuracy_table(figures).loc["validation", "accuracy"])


def test_a_label_that_is_said_of_everything_is_found_and_mostly_wrong():
    own, said = ["a"] * 4 + ["b"] * 5 + ["c"], ["a"] * 4 + ["a"] * 4 + ["b"] + ["a"]
    table = scores.both_ways(pd.DataFrame({"label": own, "predicted": said}), ["a", "b", "c", "d"])
    assert table.index.tolist() == ["c", "b", "a"]  # of `d` there is nothing to tell
    assert table.loc["a", ["n", "found", "said"]].tolist() == [4, 1.0, 9]
    assert table.loc["a", "right when said"] == pytest.approx(4 / 9) and table.loc["a", "F1"] == pytest.approx(8 / 13)
    assert (
        table.loc["b", "found"] == 0.2 and table.loc["b", "right when said"] == 1 and table.loc["b", "taken for"] == "a"
    )
    assert (
        np.isnan(table.loc["c", "right when said"]) and table.loc["c", "F1"] == 0 and table.loc["a", "taken for"] == ""
    )


def test_per_label_confusion_and_top_k(predicted):
    table = scores.per_label(predicted, ["a", "b", "c"])
    assert list(table["n"]) == [3, 3, 0]
    assert table["accuracy"][:2].tolist() == pytest.approx([2 / 3, 2 / 3]) and np.isnan(table["accuracy"]["c"])
    assert scores.confusion(predicted, ["a", "b", "c"]).to_numpy().tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    said = scores.baseline(predicted.iloc[:4], ["a", "b"])
    assert "'a' would be right for 50.0%" in said and "Weakest label: 'a', 1 of 2 right, 50.0% [9.5, 90.5]" in said
    assert scores.top_k_accuracy(predicted, ["a", "b"], 1) == pytest.approx(4 / 6)
    assert scores.top_k_accuracy(predicted, ["a", "b"], 2) == 1


def test_memorised_labels():
    labels = ["a"] * 20 + ["b"] * 4 + ["c", "d"]
    train, hits = np.ones(26), np.ones(26)
    hits[:10] = 0.2  # half of a: right in training, wrong out of fold
    train[:2] = 0.3  # two of those are wrong in training as well: not learned at all
    hits[24] = 0  # c has one image, memorised
    hits[20], train[25] = np.nan, np.nan
    table = scores.memorised(train, hits, labels)
    assert list(table.index) == ["a", "c", "b", "d"] and list(table["n"]) == [20, 1, 3, 0]
    assert table["memorised"].tolist()[:3] == [0.4, 1, 0] and np.isnan(table["memorised"]["d"])
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx(intervals.wilson_interval(8, 20))
