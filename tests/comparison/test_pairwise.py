"""Known answers first; runs are real folders in a temporary one."""

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from retrainlab.comparison import pairwise
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import intervals, scores
from retrainlab.runs import run_folder

NOTHING = "No run that can be compared has validation images: nothing to choose by."
ROOT = Path(__file__).resolve().parents[2]
LABELS = ["cat", "dog"]


def table(right: str | np.ndarray, split: str = "validation", prefix: str = "", label: str = "cat") -> pd.DataFrame:
    """Predictions of images named 00, 01, ..: right where there is a 1 (or True), not there where there is a space."""
    rows = [(f"{prefix}{n:02}", label, split, label if hit in ("1", True) else "other")
            for n, hit in enumerate(right) if hit != " "]  # fmt: skip
    return pd.DataFrame(rows, columns=["path", "label", "split", "predicted"])


def hits(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def write_run(
    folder: Path,
    name: str,
    seed: int = 0,
    accuracy: float = 0.8,
    n: int = 60,
    parameters: dict | None = None,
    settings: dict | None = None,
    splits: tuple[str, ...] = ("train", "validation", "test"),
    prefix: str = "",
    backbone: str = "small",
    milliseconds: float | None = None,
    first: int = 0,
    temperature: float = 1.0,
) -> run_folder.Run:
    """A run's folder, as 03_retrain leaves it: `n` images in each of `splits`, `accuracy` of them right by `seed`.

    Images are numbered from `first`; logits are 2 and 0 before they are divided by `temperature`.
    """
    rows = [(f"{prefix}{split} {first + i:03}", LABELS[i % 2], split) for split in splits for i in range(n)]
    images = pd.DataFrame(rows, columns=["path", "label", "split"])
    images["sha256"] = [f"content of {path}" for path in images["path"]]
    images["problem"] = None
    classes = np.arange(len(images)) % n % 2
    wrong = np.random.default_rng(seed).random(len(images)) >= accuracy
    logits = np.where(np.arange(2) == (classes ^ wrong)[:, None], 2.0, 0.0).astype(np.float32)
    logits /= np.float32(temperature)
    predicted = scores.predictions(images, logits, LABELS)
    run = run_folder.open_run(folder, name)
    run.write_table("images", images)
    run.write_table("predictions", predicted)
    measured = {"milliseconds": milliseconds} if milliseconds else {}
    run.record(
        parameters={"run": name} | (parameters or {}),
        settings={"seed": 0, "weight_decay": 0.1} | (settings or {}),
        dataset={"image_dir": f"/photos/{prefix}", "digest": f"digest {prefix} {splits} {n}"},
        backbone={"handle": backbone, "digest": backbone} | measured,
    )
    run.write_metrics({"labels": LABELS, "backbone": backbone, "steps": 5, "temperature": temperature}
                      | scores.summarise(predicted, LABELS))  # fmt: skip
    return run


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
    p = [0.01, np.nan, 0.04, 0.03, 0.005]
    assert pairwise.holm(p) == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)
    assert pairwise.holm([0.9, 0.8]).tolist() == [1, 1]
    assert pairwise.holm([]).tolist() == []


def test_the_paired_interval_holds_the_truth_in_95_of_100_cases():
    random, truth, held = np.random.default_rng(0), 0.1, []
    for seed in range(300):
        kinds = random.choice(4, 200, p=[0.1, 0.05, 0.15, 0.7])  # neither, only b, only a, both
        low, high = intervals.paired_difference(kinds >= 2, kinds % 2 == 1, seed)["interval"]
        held.append(low <= truth <= high)
    assert 0.92 <= np.mean(held) <= 0.985


# --------------------------------------------------------------------------------------------- the same images


def test_runs_are_aligned_by_image():
    present, correct, labels = pairwise.aligned([table("10 1"), table(" 111")[::-1]], "validation")
    assert present.tolist() == [[True, True, True, False], [False, True, True, True]]
    assert correct.tolist() == [[True, False, True, False], [False, True, True, True]]
    assert (labels == np.where(present, 0, -1)).all()
    assert [part.shape for part in pairwise.aligned([], "test")] == [(0, 0)] * 3
    assert [part.shape for part in pairwise.aligned([table("11")], "test")] == [(1, 0)] * 3


def test_an_image_is_its_content_whatever_its_name():
    one = table("110").assign(sha256=["x", "y", "z"])
    renamed = table("110", prefix="new ").assign(sha256=["x", "y", "z"])
    edited = table("110").assign(sha256=["x", "y", "edited"])
    assert pairwise.compare({"a": one, "b": renamed})["n"].tolist() == [3]
    assert pairwise.compare({"a": one, "b": edited})["n"].tolist() == [2]
    assert pairwise.compare({"a": one, "b": renamed.drop(columns="sha256")})["n"].tolist() == [0]


def test_copies_of_a_file_are_one_image_each():
    one = table("101").assign(sha256="same")
    present, correct, _ = pairwise.aligned([one, one[::-1], one[:2]], "validation")
    assert present.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
    assert (correct[0] == correct[1]).all() and correct[2].tolist() == [True, False, False]


# --------------------------------------------------------------------------------------------- pairs


def test_pairs_and_their_verdicts():
    runs_of = {"good": table("1" * 30), "bad": table("1" * 5 + "0" * 25), "like": table("1" * 29 + "0"),
               "far": table("11", prefix="other "), "relabelled": table("1" * 30, label="dog")}  # fmt: skip
    pairs = pairwise.compare(runs_of, reference="good").set_index("run")
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
        six.append((pairwise.holm(p) < pairwise.ALPHA).any())
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


def test_runs_are_read_with_what_they_left(tmp_path):
    write_run(tmp_path, "one")
    write_run(tmp_path, "two").folder.joinpath("predictions.parquet").unlink()
    write_run(tmp_path, "three").folder.joinpath("images.parquet").write_text("damaged")
    run_folder.open_run(tmp_path, "untrained")
    results = pairwise.load(tmp_path, ["two", "one", "two", "three"])
    assert list(results) == ["two", "one", "three"]
    assert results["two"].predictions is None and results["three"].images is None
    assert list(results["one"].predictions) == ["path", "label", "split", "predicted", "cross_entropy", "sha256"]
    assert "sha256" not in results["three"].predictions
    assert set(pairwise.load(tmp_path)) == {"one", "two", "three"} and len(pairwise.load(tmp_path, most=2)) == 2
    assert pairwise.load(tmp_path / "nowhere") == {}
    with pytest.raises(RetrainLabError, match=r"no trained run 'untrained' under .*Known: .*one"):
        pairwise.load(tmp_path, ["untrained"])


def test_the_page_of_a_run_has_that_run_in_it(tmp_path):
    for number in range(4):
        write_run(tmp_path, f"run {number}")
        file = tmp_path / f"run {number}" / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"updated": f"2024-01-0{number + 1}T00:00:00+00:00"}))
    assert list(pairwise.load(tmp_path, most=2)) == ["run 3", "run 2"]
    assert list(pairwise.load(tmp_path, most=2, run="run 0")) == ["run 3", "run 2", "run 0"]
    assert list(pairwise.load(tmp_path, most=2, run="run 2")) == ["run 3", "run 2"]
    assert list(pairwise.load(tmp_path, most=2, run="not trained")) == ["run 3", "run 2"]
    assert list(pairwise.load(tmp_path, ["run 1"], most=2, run="run 0")) == ["run 1"]  # as it was asked for


def test_the_settings_of_a_run_say_how_weight_decay_was_set(tmp_path):
    write_run(tmp_path, "default")
    write_run(tmp_path, "fixed", parameters={"weight_decay": [0.1]})
    write_run(tmp_path, "listed", parameters={"weight_decay": [0.0, 0.0001], "random_crop": 10})
    by_papermill = write_run(tmp_path, "papermill").folder / "run.json"  # the command did not record what it was given
    info = json.loads(by_papermill.read_text())
    by_papermill.write_text(json.dumps({name: value for name, value in info.items() if name != "parameters"}))
    found = {name: result.settings for name, result in pairwise.load(tmp_path).items()}
    assert found["papermill"]["weight_decay"] == 0.1
    assert found["default"]["weight_decay"] == "chosen"
    assert found["fixed"]["weight_decay"] == 0.1
    assert found["listed"]["weight_decay"] == "chosen of 0, 0.0001"
    assert (found["listed"]["random_crop"], found["fixed"]["random_crop"]) == (10, 0)
    assert found["fixed"]["tfhub_module"] == "small"


def test_what_can_be_compared_with_a_run(tmp_path):
    write_run(tmp_path, "mine")
    write_run(tmp_path, "alike", accuracy=0.7)
    write_run(tmp_path, "elsewhere", prefix="other ")
    write_run(tmp_path, "all for training", splits=("train",))
    write_run(tmp_path, "bare").folder.joinpath("predictions.parquet").unlink()
    results = pairwise.load(tmp_path, ["bare", "elsewhere", "mine", "alike", "all for training"])
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
    results = pairwise.load(tmp_path)
    assert pairwise.best(results) == ("good", "Best on validation: good.")
    for none in ({"untested": results["untested"]}, {}):
        assert pairwise.best(none) == (None, NOTHING)


def test_the_best_is_chosen_before_temperature_scaling(tmp_path):
    """Scaling made the better one so sure that its stated cross-entropy is the higher one."""
    write_run(tmp_path, "scaled", accuracy=0.88, n=200, temperature=0.5)
    write_run(tmp_path, "plain", accuracy=0.85, n=200)
    results = pairwise.load(tmp_path)
    stated = {name: result.metrics["validation"]["cross_entropy"] for name, result in results.items()}
    assert stated["scaled"] > stated["plain"] and pairwise.best(results)[0] == "scaled"
    for result in results.values():  # logits are 2 and 0
        losses = [np.log1p(np.exp(-2)), np.log1p(np.exp(2))]
        assert sorted(result.predictions["cross_entropy"].round(6).unique()) == pytest.approx(losses, abs=1e-5)


def test_the_best_is_chosen_on_images_that_all_share(tmp_path):
    """`easy` is right about all of its own images, and about no more of the shared ones than `hard` is."""
    write_run(tmp_path, "hard", accuracy=0.8, n=60)
    write_run(tmp_path, "easy", accuracy=1.0, n=60, first=40)
    hard, easy = (pairwise.load(tmp_path)[name] for name in ("hard", "easy"))
    shared = [f"validation {i:03}" for i in range(40, 60)]
    wrong = easy.predictions["path"].isin(shared)
    worse = easy.predictions.assign(cross_entropy=np.where(wrong, 9.0, 0.001))
    results = {"hard": hard, "easy": replace(easy, predictions=worse)}
    said = "Best on validation: hard, judged on the 20 images that all 2 runs share under the same label."
    assert pairwise.best(results) == ("hard", said)
    rows = pairwise.shared({name: result.predictions for name, result in results.items()})
    assert all(sorted(table["path"]) == shared for table in rows.values())
    other = worse.assign(label="cat", cross_entropy=0.001)  # relabelled: only the cats are left to judge by
    assert "on the 10 images" in pairwise.best(results | {"easy": replace(easy, predictions=other)})[1]
    write_run(tmp_path, "far", prefix="other ")
    chosen, said = pairwise.best(results | {"far": pairwise.load(tmp_path)["far"]})
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
    assert pairwise.shown(value) == text


# --------------------------------------------------------------------------------------------- the notebook


def notebook(folder: Path, **parameters) -> str:
    """Run the cells of 06_compare here, without a kernel: what they printed, and what was found."""
    book = nbformat.read(ROOT / "notebooks" / "06_compare.ipynb", 4)
    names = {"__name__": "notebook"}
    said = []
    names["print"] = lambda *values, sep=" ": said.append(sep.join(map(str, values)))
    for cell in book.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "06_compare", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"reports_dir": str(folder)} | parameters
    return "\n".join([*said, *names["found"]])


def test_the_notebook_on_runs_of_all_kinds(tmp_path):
    write_run(tmp_path, "a", accuracy=0.95, n=200, settings={"weight_decay": 0.1}, parameters={"weight_decay": [0.1]},
              milliseconds=9)  # fmt: skip
    write_run(tmp_path, "b", accuracy=0.75, n=200, settings={"weight_decay": 0.0}, parameters={"weight_decay": [0.0]},
              milliseconds=9)  # fmt: skip
    write_run(tmp_path, "c", seed=3, accuracy=0.9, n=200, backbone="large", milliseconds=30)
    write_run(tmp_path, "d", n=100, seed=4)
    said = notebook(tmp_path, run="b")
    for part in ("4 runs under", "3 of 4 runs have the same images", "Right less often",
                 "Best on validation: a, judged on the 100 images that all 4 runs share",
                 "weight_decay matters: 0.1 has the highest mean", "Only one thing differs (weight_decay)",
                 "also the cheapest"):  # fmt: skip
        assert part in said, part
    assert "100 images are only in 'c'" in notebook(tmp_path, run="c", compare=["c", "d"])
    write_run(tmp_path, "e", n=60, first=140)  # shares images with a, b and c, and none with d
    said = notebook(tmp_path, run="b")
    assert "Which of these 5 runs is best cannot be told" in said and "3 of 5 runs have the same images" in said


def test_the_notebook_goes_on_without_what_it_needs(tmp_path):
    assert "nothing to choose by" in notebook(tmp_path)
    write_run(tmp_path, "bare").folder.joinpath("predictions.parquet").unlink()
    said = notebook(tmp_path)
    assert "1 run under" in said and "'bare' has no predictions" in said and "nothing to choose by" in said
    write_run(tmp_path, "one", n=30)
    said = notebook(tmp_path)
    assert "Best on validation: one." in said and "where a change came from cannot be told" in said
    write_run(tmp_path, "far", prefix="other ")
    said = notebook(tmp_path, compare=["one", "far"])
    assert "Left out from here on" in said and "cannot be told" in said
    for name in ("x", "y"):
        write_run(tmp_path, name, splits=("train", "test"), settings={"learning_rate": len(name)})
    said = notebook(tmp_path, compare=["x", "y"])
    assert "nothing to choose by" in said and "Not both have validation images" in said
    with pytest.raises(RetrainLabError, match="no trained run 'z'"):
        notebook(tmp_path, compare=["z"])
