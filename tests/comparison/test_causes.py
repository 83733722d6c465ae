"""Planted truths: which setting made a difference, and which only seems to."""

import numpy as np
import pandas as pd
import pytest
from written_runs import table, write_run

from retrainlab.comparison import causes, pairwise
from retrainlab.runs.results import Result, load


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
    relabelled = load(tmp_path, ["relabelled"])["relabelled"].images.assign(label="cat")
    write_run(tmp_path, "relabelled").write_table("images", relabelled)
    (tmp_path / "bare" / "predictions.parquet").unlink()
    assert sorted(causes.alike(load(tmp_path))) == ["a", "b"]
    assert causes.alike({}) == {}


def test_runs_are_described_by_what_differs(tmp_path):
    write_run(tmp_path, "best")
    write_run(tmp_path, "like")
    write_run(tmp_path, "hot", settings={"learning_rate": 0.5, "seed": 1})
    write_run(tmp_path, "other", prefix="other ")
    write_run(tmp_path, "wild", settings=dict.fromkeys("abcd", 1))
    results = load(tmp_path, ["best", "like", "hot", "other", "wild"])
    assert list(causes.describe(results, "best").values()) == [
        "best", "like", "hot: seed 1, learning_rate 0.5", "other: other images or split", "wild: 4 other settings",
    ]  # fmt: skip
    assert causes.varying(results).loc["best", "learning_rate"] == "not set"
