"""Planted truths: which setting made a difference, and how much of a change came from other images."""

import numpy as np
import pandas as pd
import pytest
from test_pairwise import table, write_run

from retrainlab.comparison import causes, pairwise
from retrainlab.comparison.pairwise import Result
from retrainlab.evaluation import intervals


def result(name: str, right: np.ndarray, digest: str = "same", **settings) -> Result:
    info = {"settings": settings, "dataset": {"digest": digest}}
    return Result(name, {"backbone": "small"}, info, table(right))


def grid(effects: dict[str, dict], seed: int, n: int = 400, others: float = 0.03) -> dict[str, Result]:
    """Runs of all combinations. `effects`: setting -> value -> share of images that it makes wrong.

    Each run also gets a share of `others` right that are wrong, or wrong that are right, for no reason.
    """
    random = np.random.default_rng(seed)
    right, uniform = random.random(n) < 0.9, {name: random.random(n) for name in effects}
    combinations = pd.MultiIndex.from_product(effects.values(), names=list(effects)).to_frame(index=False)
    found = {}
    for number, values in enumerate(combinations.to_dict("records")):
        spoilt = np.any([uniform[name] < effects[name][value] for name, value in values.items()], axis=0)
        found[f"run {number}"] = result(f"run {number}", (right & ~spoilt) ^ (random.random(n) < others), **values)
    return found


# --------------------------------------------------------------------------------------------- settings


def test_the_setting_that_was_planted_is_found_and_no_other():
    right = []
    for seed in range(20):
        runs_of = grid({"decay": {0.0: 0.1, 0.1: 0.0}, "steps": {100: 0, 200: 0, 300: 0}, "seed": {0: 0, 1: 0}}, seed)
        effects = causes.which_settings(runs_of, seed)
        assert effects["runs"].eq(12).all() and effects["n"].eq(400).all()
        matters = effects.index[effects["verdict"] == "matters"].tolist()
        right.append(matters == ["decay"] and effects.loc["decay", "best"] == "0.1")
    print(f"planted settings found: {np.mean(right):.0%} of 20")
    assert np.mean(right) >= 0.9


def test_the_effect_is_the_mean_over_runs_that_differ_in_nothing_else():
    runs_of = grid({"decay": {0.0: 0.2, 0.1: 0.0}, "steps": {100: 0.1, 200: 0.0}}, 0)
    effects = causes.which_settings(runs_of)
    accuracy = {
        name: (one.predictions["label"] == one.predictions["predicted"]).mean() for name, one in runs_of.items()
    }
    decay = [np.mean([accuracy[name] for name, one in runs_of.items() if one.info["settings"]["decay"] == value])
             for value in (0.0, 0.1)]  # fmt: skip
    assert effects.loc["decay", "values"] == ["0", "0.1"]
    assert effects.loc["decay", "means"] == pytest.approx(decay)
    assert effects.loc["decay", "spread"] == pytest.approx(decay[1] - decay[0])
    assert effects.index.tolist() == ["decay", "steps"]  # the largest first


def test_with_two_runs_it_is_mcnemars_test():
    random = np.random.default_rng(0)
    a, b = random.random(300) < 0.9, random.random(300) < 0.84
    effects = causes.which_settings({"a": result("a", a, steps=1), "b": result("b", b, steps=2)})
    assert effects.loc["steps", "p"] == pytest.approx(pairwise.mcnemar(a, b), abs=0.02)


def test_a_setting_without_effect_matters_in_at_most_5_of_100_cases():
    said = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        ease = random.beta(4, 1, 120)
        runs_of = {f"{n}": result(f"{n}", random.random(120) < ease, steps=n) for n in range(4)}
        said.append(causes.which_settings(runs_of, seed)["p"].item() < pairwise.ALPHA)
    print(f"settings without effect that seemed to matter: {np.mean(said):.1%} of 60")
    assert np.mean(said) <= 0.1  # 5%, and three more for chance


def test_an_equally_good_value_among_many_that_are_alike_does_not_matter():
    said = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        right = random.random(400) < 0.9
        drawn = [np.where(random.random(400) < share, random.random(400) < 0.9, right) for share in [0.01] * 15 + [0.5]]
        runs_of = {f"{n}": result(f"{n}", hits, steps=n) for n, hits in enumerate(drawn)}
        said.append(causes.which_settings(runs_of, seed)["p"].item() < pairwise.ALPHA)
    print(f"equally good settings that seemed to matter: {np.mean(said):.1%} of 60")
    assert np.mean(said) <= 0.05  # 14% if differences are not measured by their own noise


def test_settings_that_change_together_count_as_one():
    a, b = np.repeat([True, False], [90, 10]), np.repeat([True, False], [60, 40])
    effects = causes.which_settings({"a": result("a", a, steps=1, rate=0.1), "b": result("b", b, steps=2, rate=0.2)})
    assert effects.index.tolist() == ["steps + rate"] and effects["verdict"].tolist() == ["matters"]
    assert effects["best"].tolist() == ["1, 0.1"]


def test_settings_that_cannot_be_separated():
    right = np.ones(20, bool)
    runs_of = {"a": result("a", right, steps=1, rate=0.1, seed=0), "b": result("b", right, steps=2, rate=0.2, seed=0),
               "c": result("c", right, steps=1, rate=0.2, seed=1)}  # fmt: skip
    effects = causes.which_settings(runs_of)
    assert set(effects["verdict"]) == {"cannot be separated"} and effects["p corrected"].isna().all()
    assert causes.conclude(effects) == ["Cannot be separated: steps, rate, seed."]


def test_values_are_compared_that_most_runs_have():
    right = np.ones(20, bool)
    settings = [(1, 0), (2, 0), (1, 1), (2, 1), (3, 1)]
    runs_of = {f"{s} {d}": result(f"{s} {d}", right, steps=s, decay=d) for s, d in settings}
    effects = causes.which_settings(runs_of)
    assert effects.loc["steps", ["values", "runs"]].tolist() == [["1", "2"], 4]
    assert effects["verdict"].tolist() == ["no effect can be shown"] * 2 and effects["p"].tolist() == [1, 1]


def test_settings_without_anything_to_tell_them_by():
    right = np.ones(20, bool)
    assert causes.which_settings({}).empty
    assert causes.which_settings({"a": result("a", right, steps=1)}).empty
    same = causes.which_settings({"a": result("a", right, steps=1), "b": result("b", right, steps=1)})
    assert causes.conclude(same) == ["The runs do not differ in any setting."]
    none = causes.which_settings({"a": result("a", right[:0], steps=1), "b": result("b", right[:0], steps=2)})
    assert causes.conclude(none) == ["No validation images: steps."]


def test_runs_are_alike_that_share_images_split_and_labels(tmp_path):
    for name in ("a", "b", "relabelled", "bare"):
        write_run(tmp_path, name)
    write_run(tmp_path, "other", prefix="other ")
    relabelled = pairwise.load(tmp_path, ["relabelled"])["relabelled"].images.assign(label="cat")
    write_run(tmp_path, "relabelled").write_table("images", relabelled)
    (tmp_path / "bare" / "predictions.parquet").unlink()
    assert sorted(causes.alike(pairwise.load(tmp_path))) == ["a", "b"]
    assert causes.alike({}) == {}


def test_runs_are_described_by_what_differs(tmp_path):
    write_run(tmp_path, "best")
    write_run(tmp_path, "like")
    write_run(tmp_path, "hot", settings={"learning_rate": 0.5, "seed": 1})
    write_run(tmp_path, "other", prefix="other ")
    write_run(tmp_path, "wild", settings=dict.fromkeys("abcd", 1))
    results = pairwise.load(tmp_path, ["best", "like", "hot", "other", "wild"])
    assert list(causes.describe(results, "best").values()) == [
        "best", "like", "hot: seed 1, learning_rate 0.5", "other: other images or split", "wild: 4 other settings",
    ]  # fmt: skip
    assert causes.describe(results, None)["hot"] == "hot" and causes.describe({}, None) == {}
    assert causes.varying(results).loc["best", "learning_rate"] == "not set"


# --------------------------------------------------------------------------------------------- one change


def test_a_change_is_divided_by_hand():
    run, against = table("1110" + "    " + "11"), table("1000" + "1111")
    parts = causes.decompose(run, against)
    assert (parts["n"], parts["only"], parts["relabelled"]) == (4, (2, 4), 0)
    assert parts["total"]["accuracy"] == pytest.approx(5 / 6 - 5 / 8)
    assert parts["shared"]["accuracy"] == pytest.approx(0.5)
    assert parts["other"]["accuracy"] == pytest.approx(5 / 6 - 5 / 8 - 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up(seed):
    random = np.random.default_rng(seed)
    run, against = (table(random.choice(["1", "0", " "], 80)) for _ in range(2))
    against.loc[:9, ["label", "predicted"]] = "dog"
    parts = causes.decompose(run, against, seed)
    assert parts["shared"]["accuracy"] + parts["other"]["accuracy"] == pytest.approx(
        parts["total"]["accuracy"], abs=1e-12
    )
    both = len(set(run["path"]) & set(against["path"]))
    assert parts["n"] + parts["relabelled"] == both > parts["n"]
    assert parts["only"] == (len(run) - both, len(against) - both)
    for name in ("total", "shared", "other"):
        low, high = parts[name]["interval"]
        assert low < parts[name]["accuracy"] < high


def test_on_the_same_images_all_of_a_change_is_the_classifiers():
    random = np.random.default_rng(0)
    a, b = random.random(300) < 0.9, random.random(300) < 0.8
    parts = causes.decompose(table(a), table(b))
    assert parts["total"]["accuracy"] == pytest.approx(parts["shared"]["accuracy"])
    assert parts["total"]["interval"] == pytest.approx(parts["shared"]["interval"])
    assert parts["shared"]["interval"] == pytest.approx(intervals.paired_difference(a, b)["interval"], abs=0.01)
    assert [parts["other"]["accuracy"], *parts["other"]["interval"]] == pytest.approx([0, 0, 0], abs=1e-12)


def test_intervals_of_the_parts_hold_the_truth():
    """A classifier 5 points better, and 200 images of its own that are 10 points easier than the 200 shared ones."""
    random = np.random.default_rng(0)
    truth, held = {"shared": 0.05, "total": 0.10, "other": 0.05}, []
    for seed in range(100):
        chance, own = random.random(200), random.random(200)
        ours, theirs = np.concatenate([chance < 0.85, own < 0.95]), chance < 0.8
        parts = causes.decompose(table(ours), table(theirs), seed)
        held.append(
            [parts[name]["interval"][0] <= value <= parts[name]["interval"][1] for name, value in truth.items()]
        )
    assert (np.mean(held, axis=0) >= 0.88).all() and 0.91 <= np.mean(held) <= 0.99


def test_without_shared_or_any_images():
    parts = causes.decompose(table("1110"), table("1100", prefix="other "))
    assert parts["n"] == 0 and parts["only"] == (4, 4) and parts["total"]["accuracy"] == pytest.approx(0.25)
    assert parts["shared"] == parts["other"] == {"accuracy": None, "interval": None}
    assert causes.decompose(table("11"), table(""))["total"] == {"accuracy": None, "interval": None}


def test_it_is_said_where_a_change_came_from(tmp_path):
    write_run(tmp_path, "old", n=300, accuracy=0.7)
    write_run(tmp_path, "new", n=300, accuracy=0.95, settings={"learning_rate": 0.5})
    write_run(tmp_path, "newer", n=300, accuracy=0.95, settings={"learning_rate": 0.5, "seed": 1})
    write_run(tmp_path, "more images", n=400, accuracy=0.95)
    write_run(tmp_path, "again", n=300, accuracy=0.7, settings={"seed": 1})
    write_run(tmp_path, "unexplained", n=300, accuracy=0.95)
    results = pairwise.load(tmp_path)
    old = results["old"]
    said = causes.explain(results["new"], old)
    assert said[:2] == ["Images: the same, in the same splits.", "Settings: learning_rate 0.5 against not set."]
    assert said[2].startswith("Validation accuracy of 'new' minus that of 'old', on the same 300 images: +2")
    assert said[3].startswith("Only one thing differs (learning_rate): +2")
    assert causes.explain(results["newer"], old)[-1].startswith("2 things differ (seed, learning_rate), and which")
    assert causes.explain(results["again"], old)[-1].startswith("No change of the classifier can be shown")
    assert causes.explain(results["unexplained"], old)[-1].startswith("Nothing differs that was recorded")
    said = causes.explain(results["more images"], old)
    assert said[0] == ("Images: 1,200 (400 for training) against 900 (300 for training). 900 are in both, 300 only in "
                       "'more images', 0 only in 'old'; of those in both, 0 are in another split.")  # fmt: skip
    assert said[3].startswith("On the 300 validation images that both have: +2")
    assert "100 images are only in 'more images', 0 only in 'old', 0 in both under different labels." in said[4]
    assert said[5].startswith("Only one thing differs (images)")


def test_it_is_said_what_cannot_be_told(tmp_path):
    write_run(tmp_path, "one")
    write_run(tmp_path, "far", prefix="other ")
    write_run(tmp_path, "bare").folder.joinpath("predictions.parquet").unlink()
    write_run(tmp_path, "all for training", splits=("train",))
    write_run(tmp_path, "no table", n=50).folder.joinpath("images.parquet").unlink()
    results = pairwise.load(tmp_path)
    one = results["one"]
    assert "share no validation image" in causes.explain(one, results["far"])[-1]
    assert causes.explain(one, results["bare"])[-1].startswith("'bare' has no predictions")
    assert causes.explain(results["bare"], one)[-1].startswith("'bare' has no predictions")
    assert "Not both have validation images" in causes.explain(one, results["all for training"])[-1]
    assert "which of them differ was not recorded" in causes.explain(one, results["no table"])[0]


def test_other_labels_splits_and_software_are_causes(tmp_path):
    write_run(tmp_path, "old", n=300, accuracy=0.7)
    other = write_run(tmp_path, "other", n=300, accuracy=0.95)
    images = other.read_table("images")
    images.loc[:4, "label"] = "elephant"
    images.loc[:1, "split"] = "test"
    other.write_table("images", images)
    other.record(versions={"numpy": "0.1"}, dataset={"digest": "another"})
    results = pairwise.load(tmp_path)
    said = causes.explain(results["other"], results["old"])
    assert "of those in both, 2 are in another split." in said[0]
    assert said[1] == "Labels: 5 of the images in both have another label."
    assert said[3].startswith("Software: numpy 0.1 against ")
    assert said[-1].startswith("3 things differ (images, labels, software)")


def test_the_same_images_under_new_names_are_no_cause(tmp_path):
    write_run(tmp_path, "old", n=300, accuracy=0.7)
    renamed = write_run(tmp_path, "renamed", n=300, accuracy=0.95, settings={"seed": 1})
    for name in ("images", "predictions"):
        moved = renamed.read_table(name)
        renamed.write_table(name, moved.assign(path="new/" + moved["path"]))
    renamed.record(dataset={"digest": "another"})
    said = causes.explain(*pairwise.load(tmp_path, ["renamed", "old"]).values())
    assert said[0] == "Images: the same, in the same splits." and said[-1].startswith("Only one thing differs (seed)")
