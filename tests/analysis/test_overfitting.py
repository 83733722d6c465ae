import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_resampling import QUICK, blobs, folds

from retrainlab.analysis import learning_curve, regularisation, resampling
from retrainlab.analysis.overfitting import (
    LARGE_GAP,
    RULES,
    SMALL_GAP,
    Advice,
    Evidence,
    Verdict,
    advise,
    candidates,
    found,
    gaps,
    judge,
    learnt,
    markdown,
    mean_gap,
    written,
)
from retrainlab.evaluation import intervals, scores

PLANTED = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "planted.py"))


def change(accuracy, low, high):
    return {"accuracy": accuracy, "interval": [low, high]}


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(change(0.40, 0.35, 0.45)), "overfits"),
        (Evidence(change(0.03, SMALL_GAP + 0.001, 0.04)), "overfits"),
        (Evidence(change(0.03, SMALL_GAP - 0.001, LARGE_GAP)), "fits"),
        (Evidence(change(0.03, -0.02, LARGE_GAP + 0.001)), "too few images to tell"),
        (Evidence(change(-0.03, -0.05, -0.01)), "fits"),
        (Evidence(None), "too few images to tell"),
        (Evidence(change(None, 0, 0)), "too few images to tell"),
        # what else was found comes before the gap, by its rule
        (Evidence(change(0.4, 0.3, 0.5), leaking=0.2, price=change(0.1, 0.05, 0.15)), "leaks"),
        (Evidence(change(0.4, 0.3, 0.5), leaking=0.2, price=change(0.1, -0.01, 0.2)), "overfits"),
        (Evidence(change(0.4, 0.3, 0.5), leaking=0.005, price=change(0.1, 0.05, 0.2)), "overfits"),
        # what near-duplicates are worth is unknown
        (Evidence(change(0.0, -0.01, 0.01), leaking=0.01), "too few images to tell"),
        (Evidence(change(0.0, -0.01, 0.01), leaking=0.2, price=change(None, 0, 0)), "too few images to tell"),
        (Evidence(change(0.0, -0.01, 0.01), leaking=0.009), "fits"),
        (Evidence(change(0.0, -0.01, 0.01), leaking=0.2, price=change(0.0, -0.01, 0.01)), "fits"),
        (Evidence(change(0.4, 0.3, 0.5), leaking=0.2), "overfits"),
        (Evidence(change(0.0, -0.01, 0.01), settings=change(0.1, 0.05, 0.15), settings_train=0.1), "underfits"),
        (Evidence(change(0.0, -0.01, 0.01), settings=change(0.1, -0.05, 0.15), settings_train=0.1), "fits"),
        (Evidence(change(0.4, 0.3, 0.5), settings=change(0.1, 0.05, 0.15), settings_train=-0.1), "overfits"),
    ],
)
def test_the_rules(evidence, verdict):
    given = judge(evidence)
    assert given.name == verdict and given.sentence.endswith(".")
    assert f"**{verdict}**" in RULES


def test_the_sentences_carry_the_numbers():
    assert "+40.0 points [30.0, 50.0]" in judge(Evidence(change(0.4, 0.3, 0.5))).sentence
    leak = judge(Evidence(change(0.1, 0.05, 0.2), leaking=0.125, price=change(0.07, 0.02, 0.11)))
    assert "12.5% of the validation images" in leak.sentence and "+7.0 points [2.0, 11.0]" in leak.sentence


def test_advice_is_ranked_by_what_was_measured():
    gains = {
        "weight decay 0.1": change(0.019, 0.006, 0.031),
        "fewer steps": change(0.001, -0.01, 0.012),
        "twice the images": change(0.03, 0.01, 0.05),
        "smoothing": change(-0.02, -0.03, -0.01),
        "not measured": None,
        "without images": change(None, 0, 0),
        "cannot be told": change(0.1, float("nan"), float("nan")),
    }
    assert advise(gains) == Advice(
        [
            "twice the images: validation accuracy +3.0 points [1.0, 5.0].",
            "weight decay 0.1: validation accuracy +1.9 points [0.6, 3.1].",
            "fewer steps: validation accuracy +0.1 points [-1.0, 1.2]; not beyond chance.",
        ],
        ["smoothing: validation accuracy -2.0 points [-3.0, -1.0]; it would make things worse."],
        shown=True,
    )


def test_what_gains_nothing_is_no_advice():
    nothing = advise({"a": change(0.0, 0.0, 0.0), "b": change(0.0004, -0.01, 0.01), "c": change(-0.01, -0.02, 0.01)})
    assert nothing.to_try == [] and not nothing.shown
    assert [sentence[0] for sentence in nothing.no_help] == ["a", "b", "c"]
    unsure = advise({"a": change(0.01, 0.0004, 0.02)})  # 0.0 as it is shown
    assert unsure.to_try[0].endswith("[0.0, 2.0]; not beyond chance.") and not unsure.shown
    assert advise({}) == Advice([], [], False)


def row(decay: float, step: int) -> pd.Series:
    return pd.Series({"weight_decay": decay, "learning_rate": 0.01, "step": step, "validation accuracy": 0.8})


def setting(chosen: pd.Series) -> regularisation.SettingsPath:
    """Those of the second row are current."""
    table = pd.DataFrame([row(0.1, 500), row(0.0, 4000)])
    gain = change(0.019, 0.006, 0.031)
    return regularisation.SettingsPath(table, row(0.0, 4000), chosen, table, gain, gain, [])


def stopping(step: int) -> regularisation.EarlyStopping:
    return regularisation.EarlyStopping(step, 200, (0.0, 0.0, 0.0), (0.002, -0.01, 0.01), False)


def test_what_could_be_done_is_named():
    more = learning_curve.Fit(9, np.ones(1), np.ones(1), 0.5, 0.2, 0.18, 0.02, (0.17, 0.19), (0.01, 0.03), True, "")
    assert candidates(setting(row(0.1, 500)), stopping(100), more) == {
        "Other settings (weight_decay 0.1, learning_rate 0.01, how_many_training_steps 500)": change(
            0.019, 0.006, 0.031
        ),
        "Stopping at step 100, with the settings as they are": {"accuracy": 0.002, "interval": (-0.01, 0.01)},
        "Twice the training images (extrapolated from fewer, not tried)": {"accuracy": 0.02, "interval": (0.01, 0.03)},
    }
    assert candidates(setting(row(0.1, 500)), None, replace(more, tells=False)).keys() == {
        "Other settings (weight_decay 0.1, learning_rate 0.01, how_many_training_steps 500)"
    }


def test_what_would_change_nothing_is_left_out():
    assert candidates(setting(row(0.0, 4000)), stopping(200), None) == {}
    assert candidates(None, None, None) == {}


# --------------------------------------------------------------------------------------------- the gap


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
    (row,) = gaps(metrics, predicted, {}, np.arange(1)).to_dict("records")
    assert (row["train"], row["validation"], row["gap"]) == pytest.approx((0.9, 0.75, 0.15))
    assert (row["gap low"], row["gap high"]) == intervals.difference_interval(90, 100, 15, 20)
    assert (row["train low"], row["train high"]) == intervals.wilson_interval(90, 100)
    assert (row["validation low"], row["validation high"]) == intervals.wilson_interval(15, 20)
    # a wrong image costs 2 nats more than a right one: 0.25 x 2 less 0.1 x 2
    half = 1.96 * np.sqrt(4 * 0.25 * 0.75 / 19 + 4 * 0.1 * 0.9 / 99)
    assert row["cross_entropy gap"] == pytest.approx(0.3, abs=1e-6)
    assert (row["cross_entropy gap low"], row["cross_entropy gap high"]) == pytest.approx((0.3 - half, 0.3 + half))


def test_without_predictions_only_cross_entropy_is_missing():
    metrics, predicted = run(train=(9, 10), validation=(3, 5))
    whole, without = gaps(metrics, predicted, {}, np.arange(1)), gaps(metrics, None, {}, np.arange(1))
    unknown = ["cross_entropy gap", "cross_entropy gap low", "cross_entropy gap high"]
    assert without[unknown].isna().all(axis=None)
    pd.testing.assert_frame_equal(without.drop(columns=unknown), whole.drop(columns=unknown))


def test_the_cross_entropy_gap_is_that_before_temperature_scaling():
    metrics, predicted = run(train=(90, 100), validation=(15, 20))
    cooled = predicted.assign(logits=[logits / 0.25 for logits in predicted["logits"]])
    (plain,) = gaps(metrics, predicted, {}, np.arange(1)).to_dict("records")
    (scaled,) = gaps(metrics | {"temperature": 0.25}, cooled, {}, np.arange(1)).to_dict("records")
    assert scaled == pytest.approx(plain)


def test_without_validation_images_there_is_no_gap_of_the_run():
    metrics, predicted = run(train=(9, 10))
    table = gaps(metrics, predicted, {"re-splits": None, "with shuffled labels": None}, np.arange(1))
    assert table.empty and written(table).empty


def test_re_splits_stand_beside_the_run(crossed):
    metrics, predicted = run(train=(9, 10), validation=(3, 5))
    table = gaps(metrics, predicted, {"re-splits": crossed, "with shuffled labels": None}, np.arange(120))
    assert table.index.tolist() == ["this run", "10 re-splits"] and table.notna().all(axis=None)
    row, members = table.loc["10 re-splits"], crossed.members
    for split in ("train", "validation"):
        values = members[f"{split} accuracy"]
        assert row[split] == pytest.approx(values.mean())
        assert (row[f"{split} low"], row[f"{split} high"]) == resampling.spread(values)
    assert row["gap"] == pytest.approx(row["train"] - row["validation"])
    assert row["gap low"] < row["gap"] < row["gap high"]
    entropy = members["validation cross_entropy"].mean() - members["train cross_entropy"].mean()
    assert row["cross_entropy gap"] == pytest.approx(entropy)
    assert row["cross_entropy gap low"] < entropy < row["cross_entropy gap high"]


def test_the_mean_gap_is_that_of_the_re_splits(crossed):
    gap, members = mean_gap(crossed, np.arange(120)), crossed.members
    assert gap["train"] == pytest.approx(members["train accuracy"].mean(), abs=1e-3)
    assert gap["validation"] == pytest.approx(members["validation accuracy"].mean(), abs=1e-3)
    assert gap["accuracy"] == pytest.approx(gap["train"] - gap["validation"])
    low, high = gap["interval"]
    assert low < gap["accuracy"] < high and judge(Evidence(gap)).sentence
    fewer = mean_gap(crossed, np.arange(120) // 3)
    one = mean_gap(replace(crossed, train_hits=np.ones(120), hits=np.r_[0.5, np.zeros(119)]), np.arange(120))
    assert one["accuracy"] > 0.99 and one["interval"][0] < one["interval"][1] == 1  # there is no larger one
    assert fewer["accuracy"] == gap["accuracy"] and np.ptp(fewer["interval"]) > np.ptp(gap["interval"])


def test_few_images_that_all_agree_are_not_certain():
    features, labels = blobs(8, labels=2, spread=0.01)
    result = resampling.cross_validate(features, labels, folds(labels, 8), QUICK)
    gap = mean_gap(result, np.arange(8))
    assert gap["accuracy"] == 0 and gap["interval"][0] < -0.2 and gap["interval"][1] > 0.2
    assert judge(Evidence(gap)).name == "too few images to tell"


def test_what_does_no_better_than_guessing_does_not_fit():
    labels = np.array(["a"] * 150 + ["b"] * 150)
    result = resampling.cross_validate(np.ones((300, 3), np.float32), labels, folds(labels, 10), QUICK)
    nothing = learnt(result, labels, np.arange(300))
    assert nothing["interval"][0] < 0
    verdict = judge(Evidence(change(0.0, -0.01, 0.01), learnt=nothing))
    assert verdict.name == "too few images to tell" and "cannot be shown" in verdict.sentence
    features, labels = blobs(300)
    result = resampling.cross_validate(features, labels, folds(labels, 10), QUICK)
    assert learnt(result, labels, np.arange(300))["accuracy"] > 0.5


def test_gaps_are_written_for_people():
    metrics, predicted = run(train=(90, 100), validation=(15, 20))
    row = written(gaps(metrics, predicted, {}, np.arange(1))).loc["this run"]
    assert (row["training accuracy"], row["validation accuracy"]) == ("90.0%", "75.0%")
    assert row["gap"] == intervals.points(metrics["gap"]) and row["gap"].startswith("+15.0 points [")
    assert row["cross-entropy gap (nats)"] == "+0.300 [-0.107, 0.707]"
    metrics, predicted = run(train=(90, 100), validation=(1, 1))
    row = written(gaps(metrics, predicted, {}, np.arange(1))).loc["this run"]
    assert row["cross-entropy gap (nats)"] == "-0.200 (interval unknown)"
    assert written(gaps(metrics, None, {}, np.arange(1))).loc["this run", "cross-entropy gap (nats)"] == "unknown"


def test_a_gap_that_is_unknown_is_written_so(crossed):
    table = written(gaps(run(train=(1, 1))[0], None, {"re-splits": crossed}, np.zeros(120)))  # all images in one group
    assert table.loc["10 re-splits", "gap"] == "unknown, for want of images"
    assert intervals.points(change(0.1, np.nan, np.nan)) == "+10.0 points (interval unknown, for want of images)"


def test_the_verdict_stands_above_what_was_tried():
    verdict = Verdict("fits", "It fits.")
    assert markdown(verdict, Advice([], [], False)).strip() == "**It fits.**"
    advice = Advice(["this.", "that."], ["other."], True)
    whole = markdown(verdict, advice, "Guessing gives 50.0%.", doubtful=1234).splitlines()
    assert whole[0] == "**It fits.** Guessing gives 50.0%." and whole[4:6] == ["1. this.", "1. that."]
    assert whole[7:10] == ["Looked into, and no help:", "", "- other."]
    assert whole[-1].startswith("At most 1,234 labels are in doubt")
    assert "in doubt" not in markdown(verdict, advice) and "shown to help" not in markdown(verdict, advice)
    unsure = markdown(verdict, Advice(["this."], [], False))
    assert "Nothing that was looked into is shown to help." in unsure and "no help:" not in unsure
    assert "To try next" not in markdown(verdict, Advice([], ["other."], False))


def test_what_the_rules_were_applied_to_is_said():
    evidence = Evidence(change(0.1, 0.05, 0.2), 0.125, change(0.07, 0.02, 0.11), change(0.01, -0.02, 0.04), -0.03)
    said = found(evidence, judge(evidence)).splitlines()
    assert said[2:] == [
        "- Rule 1: 12.5% of the validation images have a near-duplicate in training; they change accuracy by "
        "+7.0 points [2.0, 11.0].",
        "- Rule 2: other settings change validation accuracy by +1.0 points [-2.0, 4.0] and training accuracy by "
        "-3.0 points.",
        "- Rules 3 and 4: the gap is +10.0 points [5.0, 20.0].",
        "- So the verdict is **leaks**.",
    ]
    assert found(Evidence(None, 0.125), judge(Evidence(None))).splitlines()[2] == (
        "- Rule 1: 12.5% of the validation images have a near-duplicate in training; what they change is unknown."
    )
    unknown = Evidence(None)
    assert found(unknown, judge(unknown)).splitlines()[2:] == [
        "- Rule 1: 0.0% of the validation images have a near-duplicate in training.",
        "- So the verdict is **too few images to tell**.",
    ]


# --------------------------------------------------------------------------------------------- planted truths


@pytest.mark.parametrize("scenario", ["noise", "held_back", "well_posed"])
def test_the_verdict_on_generated_bottlenecks_is_what_was_planted(scenario):
    answer = PLANTED[scenario](0)
    assert answer.right, answer.said


def test_planted_duplicates_leak_and_have_their_price():
    for answer in PLANTED["duplicates"](0):
        assert answer.right, answer.said


def test_without_its_duplicates_nothing_leaks():
    """The pictures of the scenario above, each once: the answer that is right there would be wrong here."""
    random = np.random.default_rng(0)
    classes = random.integers(0, 2, 600)
    features = (random.normal(0, 0.04, (2, 256))[classes] + random.normal(0, 1, (600, 256))).astype(np.float32)
    analysis = PLANTED["analyse"](features, PLANTED["names"](classes), PLANTED["SETTINGS"], 0)
    assert analysis.verdict.name == "overfits" and analysis.evidence.leaking < 0.01
