import html
import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_resampling import QUICK, blobs

from retrainlab.analysis import verdict
from retrainlab.analysis.overfitting import Overfitting

PLANTED = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "planted.py"))


def study(features, labels, **more) -> Overfitting:
    """Every fifth image is a test image."""
    paths = [f"{number}.jpg" for number in range(len(labels))]
    split = np.resize(["test", "train", "train", "validation", "train"], len(labels))
    table = pd.DataFrame({"path": paths, "sha256": paths, "label": labels, "given": labels, "split": split})
    return Overfitting(features, table, QUICK, **more)


@pytest.fixture(scope="module")
def asked():
    """Blobs that overlap, of which some were photographed twice."""
    features, labels = blobs(150, dim=40, spread=1.5)
    twice = np.r_[:150, 1:21]  # a copy stands one place further on, in another split
    noise = 0.01 * np.random.default_rng(0).standard_normal((170, 40), np.float32)
    return study(features[twice] + noise, labels[twice])


def test_every_question_is_answered_once(asked):
    found = asked.more_images
    assert asked.more_images is found and found.question == "What more images would bring"
    assert all(asked.figures.values()) and len(asked.figures) == 8
    for each in (
        asked.weakest_labels,
        asked.price_of_near_duplicates,
        asked.out_of_fold_reliability,
        asked.out_of_fold_confusion,
        asked.temperature,
    ):
        assert each, str(each)
    assert str(asked.price_of_near_duplicates).startswith("Near-duplicates across splits change accuracy by ")


def test_the_report_is_made_from_the_numbers_of_the_findings(asked):
    report = json.loads(json.dumps(asked.for_metrics(), allow_nan=False))
    found, summary = report["findings"], html.unescape(asked.summary())
    assert report["verdict"] == verdict.judge(found).name and report["sentence"] in summary
    assert found["gap"]["interval"] == asked.gap.numbers["gap"]["interval"]
    assert found["leaking"] == asked.near_duplicates.numbers["leaking"] > 0.05
    assert {"learnt", "price", "settings", "settings_train", "chosen", "stopping", "in_doubt"} <= set(found)
    for each in report["advice"]:
        assert set(each) == {"what", "accuracy", "interval", "sentence"} and each["sentence"] in summary
    assert asked.rules().endswith(f"So the verdict is **{report['verdict']}**.")


def test_figures_are_drawn(asked):
    for tag in ("gap", "accuracy", "cross_entropy", "settings", "images", "memorised", "near-duplicates"):
        assert asked.figures[f"overfitting/{tag}"].plot().axes, tag


def test_test_images_take_no_part_except_where_near_duplicates_are_looked_for(asked):
    assert len(asked.rows) == len(asked.labels) == (asked.table["split"] != "test").sum() == len(asked.groups)
    assert "test images have a near-duplicate in training" in str(asked.near_duplicates)


def test_what_the_layers_here_lack_is_said(asked):
    assert asked.notes == asked.plan.sentence
    bent = study(asked.matrix, asked.table["label"], info={"learnt_from": {"random_crop": 10}})
    assert bent.notes.endswith("or began with another run's layer; the layers below do neither.")


def test_images_that_cannot_be_split_again_end_in_sentences():
    nothing = study(np.eye(5, 8, dtype=np.float32), list("abcde"), metrics={"gap": {"accuracy": None}})
    assert str(nothing.gap).startswith("What other splits would give cannot be told. The images cannot be split again")
    assert not nothing.other_settings and not nothing.labels_in_doubt and nothing.suspects.empty
    assert nothing.verdict.name == "too few images to tell" and nothing.advice == []
    assert json.dumps(nothing.for_metrics(), allow_nan=False)


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
    study = PLANTED["analyse"](features, PLANTED["names"](classes), PLANTED["SETTINGS"], 0)
    assert study.verdict.name == "overfits" and study.evidence["leaking"] < 0.01
    assert str(study.price_of_near_duplicates) == ""
