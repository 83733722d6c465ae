"""What the guard comes to is measured, and said; where it promises nothing, that is said instead."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores
from retrainlab.evaluation.thresholds import Threshold
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training import solver
from retrainlab.training.heads import HeadSettings
from retrainlab.trust import doubts, opinions
from retrainlab.trust import guard as guards


def made_up(n=600, validation=200, labels=("ant", "bee", "cat")):
    """(guard, its opinions of test images, their rows of the predictions table)."""
    random = np.random.default_rng(0)
    classes = np.arange(n) % len(labels)
    features = (random.normal(0, 1, (n, 20)) + 1.2 * np.eye(len(labels), 20)[classes]).astype(np.float32)
    split = np.where(np.arange(n) < n - 200 - validation, "train", "test").astype(object)
    split[n - 200 - validation : n - 200] = "validation"
    paths = [f"{number}.png" for number in range(n)]
    table = pd.DataFrame({"path": paths, "label": np.array(labels)[classes], "split": split})
    (head,) = solver.solve(features, table["label"], split, [HeadSettings(weight_decay=0.1)])
    predicted = scores.predictions(table, head.logits(features), head.labels)
    guard = guards.learn(features, table, predicted, head.labels)
    test = split == "test"
    chances = np.exp(head.logits(features[test]))
    return guard, guard.opinions(features[test], chances / chances.sum(axis=1, keepdims=True)), predicted[test]


@pytest.fixture(scope="module")
def told():
    return made_up()


def test_sets_hold_what_they_promise_and_say_so(told):
    guard, given, rows = told
    found = opinions.unsure(guard, given, rows)
    held = found.numbers["right_label_among_likely"]
    assert held["accuracy"] == pytest.approx(0.9, abs=0.06) and held["n"] == 200
    alone = [each.held[0] == own for each, own in zip(given, rows["label"], strict=True) if len(each.held) == 1]
    assert f"where one label is named, it is right for {np.mean(alone):.1%}" in str(found) and found.plot().axes


def test_what_is_alike_tells_how_far_an_answer_goes(told, tmp_path):
    guard, given, rows = told
    found = opinions.alike(guard, given, rows, ImageFolder(tmp_path))
    both = found.numbers["answers_whose_nearest"]
    assert found.numbers["looks_like"]["mistakes"]["n"] + found.numbers["looks_like"]["right"]["n"] == 200
    assert found.plot().axes or found.plot().subfigs  # the pictures are not there: grey
    assert both["agree"]["n"] + both["differ"]["n"] == 200
    assert both["agree"]["accuracy"] > both["differ"]["accuracy"]


def test_the_detector_and_its_false_alarms_are_told(told):
    guard, given, _ = told
    found = opinions.strangers(guard, given)
    assert found.numbers["taken_for_unlike"]["accuracy"] == pytest.approx(0.05, abs=0.05)
    assert found.numbers["unknown_label_area_under_roc"] == max(guard.tried.values()) and guard.detector in str(found)
    assert found.plot().axes


def test_without_validation_images_nothing_is_promised():
    guard, given, rows = made_up(validation=0)
    with pytest.raises(RetrainLabError, match="too few validation images to promise"):
        opinions.unsure(guard, given, rows)
    with pytest.raises(RetrainLabError, match="too few validation images to set a threshold"):
        opinions.strangers(guard, given)
    assert {each.said for each in given} <= {"ant", "bee", "cat", "unsure"} and guard.differs(given) == 1
    assert not any(each.unlike for each in given)


def test_one_label_has_none_to_leave_out():
    guard, given, _ = made_up(labels=("ant",))
    found = opinions.strangers(guard, given)
    assert found.numbers["unknown_label_area_under_roc"] is None
    assert "with one label, none can be left out" in str(found)


def test_a_threshold_is_told_with_how_often_it_is_right(told):
    guard, given, rows = made_up(labels=("ant", "bee"))
    assert "asked_to_say" not in opinions.unsure(guard, given, rows).numbers
    asked = replace(guard, threshold=Threshold("bee", 0.0, 50.0))
    said = [replace(each, said="bee") for each in given]
    found = opinions.unsure(asked, said, rows)
    right = found.numbers["asked_to_say"]["right"]
    assert right["n"] == len(rows) and right["accuracy"] == (rows["label"] == "bee").mean()
    assert "asked in training to say 'bee' from a probability of 0.0% on" in str(found)
    assert "It says “bee” on little evidence" in doubts.watch_out(found.numbers)[0]


def test_two_labels_leave_one_out_and_say_how_little_that_tells(told):
    two, three = (str(opinions.strangers(*some[:2])) for some in (made_up(labels=("ant", "bee")), told))
    assert "which says little of what is neither" in two and "which says little of what is neither" not in three


def test_few_training_images_of_a_label_cannot_agree(told, tmp_path):
    guard, given, rows = told
    with pytest.raises(RetrainLabError, match="no label that is answered has them"):
        opinions.alike(replace(guard, classes=guard.classes[:4]), given, rows, ImageFolder(tmp_path))
    few = replace(guard, classes=np.where(guard.classes == 1, 0, guard.classes))  # no bee among them
    found, bees = opinions.alike(few, given, rows, ImageFolder(tmp_path)), int((rows["predicted"] == "bee").sum())
    assert sum(each["n"] for each in found.numbers["answers_whose_nearest"].values()) == 200 - bees
    assert f"{bees} answers have a label with fewer training images" in str(found)


@pytest.mark.parametrize("limit", [-2.0, 0.0, 3.0])
def test_a_limit_of_any_sign_parts_what_lies_beyond_it(told, limit):
    guard, given, _ = told
    places = np.stack([each.place for each in given])
    for move in (-1, 1):
        moved = replace(guard, strange=limit)
        moved.__dict__["scores"] = lambda places, move=move: np.full(len(places), limit + move)
        chances = np.full((len(places), 3), 1 / 3)
        dim = len(guard.likeness.mean)
        found = moved.opinions(np.zeros((len(places), dim), np.float32), chances)
        assert {each.unlike for each in found} == {move > 0} and np.isfinite([e.strangeness for e in found]).all()


def test_images_that_are_all_the_same_are_usual():
    table = pd.DataFrame({"path": [str(n) for n in range(120)], "label": ["a", "b"] * 60})
    table["split"] = np.repeat(["train", "validation", "test"], 40)
    same, logits = np.ones((120, 6), np.float32), np.zeros((120, 2), np.float32)
    guard = guards.learn(same, table, scores.predictions(table, logits, ["a", "b"]), ["a", "b"])
    given = guard.opinions(same[80:], np.full((40, 2), 0.5))
    assert not any(each.unlike for each in given) and guard.warnings(given) == ""
    assert opinions.strangers(guard, given).plot().axes


def test_a_batch_that_differs_is_said_with_its_mix_of_labels(told):
    guard, given, _ = told
    assert guard.warnings(given) == ""
    away = [replace(each, place=each.place + 1) for each in given]
    assert "Not so their mix of labels" in guard.warnings(away)
    ants = [each for each in away if each.taken_for == 0]
    assert "So does their mix of labels: 100% are taken for 'ant', and 3" in guard.warnings(ants)
