"""Known answers first; runs are real folders in a temporary one."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from written_runs import hits, table, write_run

from retrainlab.comparison import pairwise
from retrainlab.evaluation import intervals
from retrainlab.runs import results
from retrainlab.runs.results import load

NOTHING = "No run that can be compared has validation images: nothing to choose by."


# --------------------------------------------------------------------------------------------- known answers


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (6, 0, 2 / 2**6),
        (1, 8, 2 * (1 + 9) / 2**9),
        (3, 9, 2 * (1 + 12 + 66 + 220) / 2**12),
        (7, 7, 1.0),
    ],
)
def test_mcnemar_by_hand(only_a, only_b, p):
    agreed = "11100"
    a, b = hits("1" * only_a + "0" * only_b + agreed), hits("0" * only_a + "1" * only_b + agreed)
    assert pairwise.mcnemar(a, b) == pytest.approx(p)
    assert pairwise.mcnemar(b, a) == pytest.approx(p)


def test_mcnemar_with_thousands_of_images():
    a, b = np.repeat([True, False], [2600, 2400]), np.repeat([False, True], [2600, 2400])
    tail = sum(math.comb(5000, k) for k in range(2401)) / 2**5000
    assert pairwise.mcnemar(a, b) == pytest.approx(2 * tail, rel=1e-6)
    assert pairwise.mcnemar(np.array([], bool), np.array([], bool)) == 1


def test_holm_by_hand():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    assert pairwise.holm(p) == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)
    assert pairwise.holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert pairwise.holm(np.array([])).tolist() == []


def test_the_paired_interval_holds_the_truth_in_95_of_100_cases():
    random, truth, held = np.random.default_rng(0), 0.1, []
    for seed in range(300):
        kinds = random.choice(4, 200, p=[0.1, 0.05, 0.15, 0.7])  # neither, only b, only a, both
        low, high = intervals.paired_difference(kinds >= 2, kinds % 2 == 1, seed)["interval"]
        held.append(low <= truth <= high)
    assert 0.92 <= np.mean(held) <= 0.985


# --------------------------------------------------------------------------------------------- the same images


def test_runs_are_aligned_by_image():
    found = pairwise.align({"a": table("10 1"), "b": table(" 111")[::-1].assign(cross_entropy=0.5)}, "validation")
    assert found.present.tolist() == [[True, True, True, False], [False, True, True, True]]
    assert found.right.tolist() == [[True, False, True, False], [False, True, True, True]]
    assert (found.labels == np.where(found.present, 0, -1)).all() and found.runs == ["a", "b"]
    assert found.losses[1].tolist() == pytest.approx([np.nan, 0.5, 0.5, 0.5], nan_ok=True)
    assert found.shared.tolist() == [False, True, True, False]
    assert pairwise.align({}, "test").present.shape == (0, 0)
    assert pairwise.align({"a": table("11")}, "test").present.shape == (1, 0)


def test_an_image_is_its_content_whatever_its_name():
    one = table("110").assign(sha256=["x", "y", "z"])
    renamed = table("110", prefix="new ").assign(sha256=["x", "y", "z"])
    edited = table("110").assign(sha256=["x", "y", "edited"])
    assert pairwise.compare({"a": one, "b": renamed})["n"].tolist() == [3]
    assert pairwise.compare({"a": one, "b": edited})["n"].tolist() == [2]
    assert pairwise.compare({"a": one, "b": renamed.drop(columns="sha256")})["n"].tolist() == [0]


def test_copies_of_a_file_are_one_image_each():
    one = table("101").assign(sha256="same")
    found = pairwise.align({"a": one, "b": one[::-1], "c": one[:2]}, "validation")
    assert found.present.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
    assert (found.right[0] == found.right[1]).all() and found.right[2].tolist() == [True, False, False]


# --------------------------------------------------------------------------------------------- pairs


def test_pairs_and_their_verdicts():
    runs_of = {"good": table("1" * 30), "bad": table("1" * 5 + "0" * 25), "like": table("1" * 29 + "0"),
               "far": table("11", prefix="other "), "relabelled": table("1" * 30, label="dog")}  # fmt: skip
    pairs = pairwise.compare(runs_of, reference="good").set_index("run")
    assert pairs.index.tolist() == ["like", "bad", "far", "relabelled"]  # the largest difference first
    assert pairs["verdict"].to_dict() == {
        "bad": "worse", "like": "no difference can be shown", "far": "share no image",
        "relabelled": "label them differently",
    }  # fmt: skip
    assert pairs["n"].tolist() == [30, 30, 0, 0] and pairs["relabelled"].tolist() == [0, 0, 0, 30]
    row = pairs.loc["bad"]
    assert row["difference"] == pytest.approx(-25 / 30) and row["low"] < -25 / 30 < row["high"] < -0.5
    assert row["p"] == pytest.approx(2 / 2**25)
    assert pairs.loc[["far", "relabelled"], ["accuracy", "difference", "p"]].isna().all(axis=None)
    every = pairwise.compare(runs_of)
    assert len(every) == 10 and every["p"].notna().sum() == 3
    assert row["p corrected"] == pytest.approx(every["p corrected"].min())  # for all pairs, shown or not
    assert pairwise.compare({"bad": runs_of["bad"], "good": runs_of["good"]})["verdict"].tolist() == ["worse"]


def test_images_under_another_label_are_left_out():
    one, other = table("1111"), table("1111")
    other.loc[:1, ["label", "predicted"]] = "dog"
    pairs = pairwise.compare({"a": one, "b": other})
    assert pairs.loc[0, ["n", "relabelled"]].tolist() == [2, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count):
    pairs = pairwise.compare({"a": table("11")} if count else {}, reference="a")
    assert pairs.empty and "verdict" in pairs


def test_equal_runs_are_declared_different_in_at_most_5_of_100_cases():
    """Two runs that are equally good, and six of them, over seeds: how often is any pair declared different?"""
    random, two, six = np.random.default_rng(5), [], []
    for _ in range(1000):
        ease = random.beta(4, 1, 300)  # how often an image is got right: runs are right about the same ones
        two.append(pairwise.mcnemar(*(random.random(300) < ease for _ in range(2))) < pairwise.ALPHA)
    for _ in range(200):
        ease = random.beta(4, 1, 150)
        right = [random.random(150) < ease for _ in range(6)]
        p = [pairwise.mcnemar(a, b) for a, b in combinations(right, 2)]
        six.append((pairwise.holm(np.array(p)) < pairwise.ALPHA).any())
    print(f"equal runs declared different: two {np.mean(two):.1%}, any of six {np.mean(six):.1%}")
    assert np.mean(two) <= 0.05 and np.mean(six) <= 0.05


def test_runs_that_differ_are_found():
    random = np.random.default_rng(0)
    found = []
    for _ in range(20):
        ease = random.beta(8, 1, 400)
        good, bad = random.random(400) < ease, random.random(400) < 0.85 * ease
        pairs = pairwise.compare({"good": table(good), "bad": table(bad)}, reference="good")
        found.append(pairs["verdict"].item() == "worse")
    assert np.mean(found) >= 0.95


# --------------------------------------------------------------------------------------------- run folders


def test_what_can_be_compared_with_a_run(tmp_path):
    write_run(tmp_path, "mine")
    write_run(tmp_path, "alike", accuracy=0.7)
    write_run(tmp_path, "elsewhere", prefix="other ")
    write_run(tmp_path, "all for training", splits=("train",))
    write_run(tmp_path, "bare").folder.joinpath("predictions.parquet").unlink()
    results = load(tmp_path, ["bare", "elsewhere", "mine", "alike", "all for training"])
    kept, said = pairwise.comparable(results, "mine")
    assert list(kept) == ["mine", "alike"]
    assert said[0].startswith("'bare' has no predictions")
    assert "same label with 'mine': 'elsewhere', 'all for training'." in said[1]
    assert list(pairwise.comparable(results, "nobody")[0]) == ["elsewhere"]  # the first that can be
    assert list(pairwise.comparable(results, "all for training")[0]) == ["elsewhere"]
    bare = {name: results[name] for name in ("all for training", "bare")}
    assert list(pairwise.comparable(bare)[0]) == ["all for training"]
    assert pairwise.comparable({}) == ({}, [])


def test_the_best_is_chosen_on_validation_alone(tmp_path):
    write_run(tmp_path, "good", accuracy=0.9)
    write_run(tmp_path, "bad", accuracy=0.6)
    write_run(tmp_path, "untested", accuracy=0.99, splits=("train", "test"))
    results = load(tmp_path)
    assert pairwise.best(results) == ("good", "Best on validation: good.")
    for none in ({"untested": results["untested"]}, {}):
        assert pairwise.best(none) == (None, NOTHING)


def test_the_best_is_chosen_before_temperature_scaling(tmp_path):
    """Scaling made the better one so sure that its stated cross-entropy is the higher one."""
    write_run(tmp_path, "scaled", accuracy=0.88, n=200, temperature=0.5)
    write_run(tmp_path, "plain", accuracy=0.85, n=200)
    results = load(tmp_path)
    stated = {name: result.metrics["validation"]["cross_entropy"] for name, result in results.items()}
    assert stated["scaled"] > stated["plain"] and pairwise.best(results)[0] == "scaled"
    for result in results.values():  # logits are 2 and 0
        losses = [np.log1p(np.exp(-2)), np.log1p(np.exp(2))]
        assert sorted(result.predictions["cross_entropy"].round(6).unique()) == pytest.approx(losses, abs=1e-5)


def test_the_best_is_chosen_on_images_that_all_share(tmp_path):
    """`easy` is right about all of its own images, and about no more of the shared ones than `hard` is."""
    write_run(tmp_path, "hard", accuracy=0.8, n=60)
    write_run(tmp_path, "easy", accuracy=1.0, n=60, first=40)
    hard, easy = (load(tmp_path)[name] for name in ("hard", "easy"))
    shared = [f"validation {i:03}" for i in range(40, 60)]
    wrong = easy.predictions["path"].isin(shared)
    worse = easy.predictions.assign(cross_entropy=np.where(wrong, 9.0, 0.001))
    results = {"hard": hard, "easy": replace(easy, predictions=worse)}
    said = "Best on validation: hard, judged on the 20 images that all 2 runs share under the same label."
    assert pairwise.best(results) == ("hard", said)
    other = worse.assign(label="cat", cross_entropy=0.001)  # relabelled: only the cats are left to judge by
    assert "on the 10 images" in pairwise.best(results | {"easy": replace(easy, predictions=other)})[1]
    write_run(tmp_path, "far", prefix="other ")
    chosen, said = pairwise.best(results | {"far": load(tmp_path)["far"]})
    assert chosen is None and said.startswith("Which of these 3 runs is best cannot be told")
    assert pairwise.conclude(chosen, said, pairwise.compare({})) == [said]


def test_what_is_concluded_from_pairs():
    runs_of = {"best": table("1" * 30), "bad": table("1" * 5 + "0" * 25), "like": table("1" * 29 + "0"),
               "far": table("11", prefix="other ")}  # fmt: skip
    said = pairwise.conclude("best", "Best on validation: best.", pairwise.compare(runs_of, reference="best"))
    assert said[0] == "Best on validation: best."
    assert said[1].startswith("Right less often on the images that both have, beyond chance: 'bad' -83.3 points [")
    assert said[2].startswith("No difference can be shown to 'like'.")
    assert said[3] == "No image to compare it on with 'far'."
    more = pairwise.conclude("bad", "Best on validation: bad.", pairwise.compare(runs_of, reference="bad"))
    assert more[1].startswith("Right more often") and "'best' +83.3 points" in more[1]
    alone = pairwise.conclude("best", "Best.", pairwise.compare({"best": table("1")}, reference="best"))
    assert alone == ["Best.", "There is no other run to compare it with."]
    assert pairwise.conclude(None, NOTHING, pairwise.compare({})) == [NOTHING]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "0.0001"), (0.1, "0.1"), (10.0, "10"), (0.0, "0"), (1e-9, "1e-09"), (4000, "4000"), (True, "True"),
     ("https://hub/of/inception_v3/", "inception_v3"), ("adam", "adam"), (None, "None")],
)  # fmt: skip
def test_values_are_shown_briefly(value, text):
    assert results.shown(value) == text
