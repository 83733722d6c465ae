from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_resampling import QUICK, blobs, folds
from test_verdict import change

from retrainlab.analysis import gap, resampling
from retrainlab.analysis.verdict import judge
from retrainlab.evaluation import intervals, scores


def run(**right: tuple[int, int]) -> tuple[dict, pd.DataFrame]:
    """Metrics and predictions of a run that gets so many of so many images of each split right; logits 2 and 0."""
    parts = []
    for split, (hits, n) in right.items():
        table = pd.DataFrame({"path": [f"{split} {i}" for i in range(n)], "label": "a", "split": split})
        logits = np.where(np.arange(n)[:, None] < hits, [2.0, 0.0], [0.0, 2.0]).astype(np.float32)
        parts.append(scores.predictions(table, logits, ["a", "b"]))
    predicted = pd.concat(parts, ignore_index=True)
    return scores.summarise(predicted, ["a", "b"]) | {"labels": ["a", "b"]}, predicted


@pytest.fixture(scope="module")
def crossed():
    features, labels = blobs(120, spread=2)
    return resampling.cross_validate(features, labels, folds(labels, 10), QUICK)


def test_the_gap_of_a_run_has_known_values():
    metrics, predicted = run(train=(90, 100), validation=(15, 20), test=(0, 7))
    row = gap.of_run(metrics, predicted)
    assert {name: row[name] for name in ("train", "validation", "gap")} == {
        name: metrics[name] for name in ("train", "validation", "gap")
    }
    # a wrong image costs 2 nats more than a right one: 0.25 x 2 less 0.1 x 2; Welch's 22.4 degrees of freedom
    assert row["nats"]["value"] == pytest.approx(0.3, abs=1e-6)
    half = 2.072 * np.sqrt(4 * 0.25 * 0.75 / 19 + 4 * 0.1 * 0.9 / 99)
    assert row["nats"]["interval"] == pytest.approx((0.3 - half, 0.3 + half), abs=1e-3)


def test_without_predictions_only_cross_entropy_is_missing():
    metrics, predicted = run(train=(9, 10), validation=(3, 5))
    whole, without = gap.of_run(metrics, predicted), gap.of_run(metrics, None)
    assert np.isnan([without["nats"]["value"], *without.pop("nats")["interval"]]).all()
    assert without == {name: whole[name] for name in without}


def test_the_cross_entropy_gap_is_that_before_temperature_scaling():
    metrics, predicted = run(train=(90, 100), validation=(15, 20))
    calibrated = predicted.assign(logits=[logits / 0.25 for logits in predicted["logits"]])
    plain, scaled = gap.of_run(metrics, predicted), gap.of_run(metrics | {"temperature": 0.25}, calibrated)
    assert scaled["nats"]["value"] == pytest.approx(plain["nats"]["value"])
    assert scaled["nats"]["interval"] == pytest.approx(plain["nats"]["interval"])


def test_without_validation_images_there_is_no_gap_of_the_run():
    assert gap.of_run(run(train=(9, 10))[0], None) == gap.of_run({}, None) == {}


def test_re_splits_stand_beside_the_run(crossed):
    row, members = gap.of_resplits(crossed, np.arange(120)), crossed.members
    for split in ("train", "validation"):
        values = members[f"{split} accuracy"]
        assert row[split]["accuracy"] == pytest.approx(values.mean())
        assert list(row[split]["interval"]) == list(np.quantile(values, [0.025, 0.975]))
    low, high = row["gap"]["interval"]
    assert low < row["gap"]["accuracy"] < high
    assert row["gap"]["accuracy"] == pytest.approx(members["gap"].mean(), abs=1e-3)
    entropy = members["validation cross_entropy"].mean() - members["train cross_entropy"].mean()
    low, high = row["nats"]["interval"]
    assert low < row["nats"]["value"] < high and row["nats"]["value"] == pytest.approx(entropy)


def test_the_mean_gap_is_that_of_the_re_splits(crossed):
    found, members = gap.mean_gap(crossed, np.arange(120)), crossed.members
    assert found["train"] == pytest.approx(members["train accuracy"].mean(), abs=1e-3)
    assert found["validation"] == pytest.approx(members["validation accuracy"].mean(), abs=1e-3)
    assert found["accuracy"] == pytest.approx(found["train"] - found["validation"])
    low, high = found["interval"]
    assert low < found["accuracy"] < high and judge({"gap": found}).sentence
    fewer = gap.mean_gap(crossed, np.arange(120) // 3)
    one = gap.mean_gap(replace(crossed, train_hits=np.ones(120), hits=np.r_[0.5, np.zeros(119)]), np.arange(120))
    assert one["accuracy"] > 0.99 and one["interval"][0] < one["interval"][1] == 1  # there is no larger one
    assert fewer["accuracy"] == found["accuracy"] and np.ptp(fewer["interval"]) > np.ptp(found["interval"])


def test_few_images_that_all_agree_are_not_certain():
    features, labels = blobs(8, labels=2, spread=0.01)
    result = resampling.cross_validate(features, labels, folds(labels, 8), QUICK)
    found = gap.mean_gap(result, np.arange(8))
    assert found["accuracy"] == 0 and found["interval"][0] < -0.2 and found["interval"][1] > 0.2
    assert judge({"gap": found}).name == "too few images to tell"


def test_what_does_no_better_than_guessing_does_not_fit():
    labels = np.array(["a"] * 150 + ["b"] * 150)
    result = resampling.cross_validate(np.ones((300, 3), np.float32), labels, folds(labels, 10), QUICK)
    nothing = gap.learnt(result, labels, np.arange(300))
    assert nothing["interval"][0] < 0
    verdict = judge({"gap": change(0.0, -0.01, 0.01), "learnt": nothing})
    assert verdict.name == "too few images to tell" and "cannot be shown" in verdict.sentence
    features, labels = blobs(300)
    result = resampling.cross_validate(features, labels, folds(labels, 10), QUICK)
    assert gap.learnt(result, labels, np.arange(300))["accuracy"] > 0.5


def test_gaps_are_written_for_people(crossed):
    metrics, predicted = run(train=(90, 100), validation=(15, 20))
    row = gap.written({"this run": gap.of_run(metrics, predicted)}).loc["this run"]
    assert (row["training accuracy"], row["validation accuracy"]) == ("90.0%", "75.0%")
    assert row["gap"] == intervals.points(metrics["gap"]) and row["gap"].startswith("+15.0 points [")
    assert row["cross-entropy gap (nats)"] == "+0.300 [-0.130, 0.730]"
    one, without = run(train=(90, 100), validation=(1, 1)), gap.of_run(metrics, None)
    rows = {"one": gap.of_run(*one), "without": without, "one group": gap.of_resplits(crossed, np.zeros(120))}
    table = gap.written(rows)
    assert table["cross-entropy gap (nats)"].tolist()[:2] == ["-0.200 (interval unknown)", "unknown"]
    assert table.loc["one group", "gap"] == "unknown, for want of images"
