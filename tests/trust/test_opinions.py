"""What the guard comes to is measured, and said; where it promises nothing, that is said instead."""

import numpy as np
import pandas as pd
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training import solver
from retrainlab.training.heads import HeadSettings
from retrainlab.trust import guard as guards
from retrainlab.trust import opinions


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
    assert (
        found.numbers["coverage"]["accuracy"] == pytest.approx(0.9, abs=0.06) and found.numbers["coverage"]["n"] == 200
    )
    alone = [each.held[0] == own for each, own in zip(given, rows["label"], strict=True) if len(each.held) == 1]
    assert f"where one label is named, it is right for {np.mean(alone):.1%}" in str(found) and found.plot().axes


def test_what_is_alike_tells_how_far_an_answer_goes(told, tmp_path):
    _, given, rows = told
    found = opinions.alike(given, rows, ImageFolder(tmp_path))
    both = found.numbers["nearest"]
    assert found.numbers["looks_like"]["mistakes"]["n"] + found.numbers["looks_like"]["right"]["n"] == 200
    assert found.plot().axes or found.plot().subfigs  # the pictures are not there: grey
    assert both["agree"]["n"] + both["differ"]["n"] == 200
    assert both["agree"]["accuracy"] > both["differ"]["accuracy"]


def test_the_detector_and_its_false_alarms_are_told(told):
    guard, given, _ = told
    found = opinions.strangers(guard, given)
    assert found.numbers["false_alarms"]["accuracy"] == pytest.approx(0.05, abs=0.05)
    assert found.numbers["left_out"] == max(guard.tried.values()) and guard.detector in str(found)
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
    assert found.numbers["left_out"] is None and "with one label, none can be left out" in str(found)
