import numpy as np
import pandas as pd
import pytest

from retrainlab import heads, runs, suspects, training
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import softmax


def out_of_fold(features, labels, folds=5) -> np.ndarray:
    """Probabilities [n, labels] of heads that did not see the image: one stack, a fold left out of each."""
    fold = np.random.default_rng([0, 1]).permutation(len(features)) % folds
    split = np.array([np.where(fold == number, "validation", "train") for number in range(folds)], dtype=object)
    settings = heads.HeadSettings(how_many_training_steps=300, weight_decay=0.01)
    trained, _ = training.train(features, labels, split, [settings] * folds, eval_step_interval=300)
    probabilities = np.full((len(features), len(trained[0].labels)), np.nan)
    for number, head in enumerate(trained):
        probabilities[fold == number] = softmax(head.logits(features[fold == number]))
    return probabilities


@pytest.mark.parametrize(("count", "n", "apart"), [(2, 1000, 0.5), (10, 1000, 0.8), (120, 3600, 1.0)])
def test_planted_wrong_labels_are_found(count, n, apart):
    scores = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        true = random.permutation(n) % count
        features = random.normal(0, apart, (count, 64))[true] + random.normal(0, 1, (n, 64))
        wrong = random.random(n) < 0.1
        given = np.where(wrong, (true + random.integers(1, count, n)) % count, true)
        names = np.array([f"{number:03}" for number in range(count)])
        probabilities = out_of_fold(features.astype(np.float32), names[given])
        found = suspects.find(probabilities, names[given], names)
        hit = wrong[found["row"]]
        right = found["suggested"].to_numpy()[hit] == names[true[found["row"][hit]]]
        scores.append((hit.mean(), hit.sum() / wrong.sum(), right.mean()))
    precision, recall, suggestion = np.mean(scores, axis=0)
    assert precision >= 0.8 and recall >= 0.8 and suggestion >= 0.95, scores


def test_right_labels_are_not_suspected():
    random = np.random.default_rng(0)
    true = random.permutation(600) % 3
    features = (random.normal(0, 1, (3, 32))[true] + random.normal(0, 1, (600, 32))).astype(np.float32)
    labels = np.array(list("abc"))[true]
    assert len(suspects.find(out_of_fold(features, labels), labels, ["a", "b", "c"])) <= 3


def test_known_answer():
    """Self-confidence 0.8 of each label; the third image is confidently the other one, the fourth only a little."""
    chances = np.array([[0.95, 0.05]] * 8 + [[0.05, 0.95], [0.45, 0.55]] + [[0.05, 0.95]] * 10)
    labels = np.array(["a"] * 10 + ["b"] * 10)
    found = suspects.find(chances, labels, ["a", "b"], [f"{row}.jpg" for row in range(20)])
    assert found.to_dict("records") == [
        {"row": 8, "path": "8.jpg", "label": "a", "suggested": "b", "probability": 0.05, "suggested probability": 0.95,
         "margin": pytest.approx(0.9)}
    ]  # fmt: skip


def test_rows_never_out_of_fold_and_foreign_labels_are_passed_over():
    chances = np.array([[0.95, 0.05]] * 8 + [[0.05, 0.95]] * 10)
    labels = np.array(["a"] * 9 + ["b"] * 9)  # row 8 is wrong
    chances[[0, 12]] = np.nan
    labels[1] = "c"
    assert suspects.find(chances, labels, ["a", "b"])["row"].tolist() == [8]
    assert suspects.find(np.full((3, 2), np.nan), ["a", "b", "a"], ["a", "b"]).empty
    assert suspects.find(np.zeros((0, 2)), [], ["a", "b"]).empty


def test_a_label_of_one_image_raises_no_alarm():
    """Never seen in training, it is given next to no probability; that must not make others confident of it."""
    chances = np.full((41, 3), 0.02)
    chances[:20, 0] = chances[20:40, 1] = 0.96
    chances[40] = [0.5, 0.48, 0.02]
    found = suspects.find(chances, ["a"] * 20 + ["b"] * 20 + ["c"], ["a", "b", "c"])
    assert "c" not in set(found["suggested"])


def test_suspects_are_written_for_people(tmp_path):
    found = suspects.find(
        np.array([[0.9, 0.1]] * 5 + [[0.0, 1.0]] * 5), ["a"] * 6 + ["b"] * 4, ["a", "b"], list("0123456789")
    )
    file = suspects.write(tmp_path, found)
    assert file.read_text().splitlines() == [
        "path,label,suggested,probability,suggested probability,margin", "5,a,b,0.0,1.0,1.0",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [file]


@pytest.fixture
def images() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": ["a/1", "a/2", "a/3", "b/1", "b/2", "b/bad"],
            "label": ["a", "a", "a", "b", "b", "b"],
            "split": ["train", "train", "test", "train", "test", None],
            "sha256": ["one", "two", "one", "one", "three", None],
            "problem": [None, None, None, None, None, "the file is empty"],
        }
    )


def test_decisions_are_applied_and_copies_follow(tmp_path, images):
    before = images.copy()
    suspects.decide(tmp_path, "a/1", "one", "b")
    suspects.decide(tmp_path, "a/2", "two", "a")
    suspects.decide(tmp_path, "b/2", "three", None)
    suspects.decide(tmp_path, "b/bad", "", "a")
    assert (tmp_path / "labels.csv").read_text().splitlines() == [
        "path,label,decided,sha256", "a/1,a,b,one", "a/2,a,a,two", "b/2,b,,three", "b/bad,b,a,",
    ]  # fmt: skip
    decisions = suspects.read_decisions(tmp_path)
    assert decisions.to_dict("list") == {
        "path": ["a/1", "a/2", "b/2", "b/bad"], "label": ["a", "a", "b", "b"], "decided": ["b", "a", "", "a"],
        "sha256": ["one", "two", "three", ""],
    }  # fmt: skip
    changed = suspects.apply(images, decisions)
    # a/3 is a copy of a/1 with the same label; b/1 is one too, but was labelled b all along
    assert changed["label"].tolist() == ["b", "a", "b", "b", "b", "b"]
    assert changed["split"].tolist()[:4] == ["train", "train", "test", "train"] and pd.isna(changed["split"][4])
    assert changed["problem"][4] == "left out by a decision in labels.csv"
    assert changed["problem"][5] == "the file is empty"
    assert suspects.apply(changed, decisions).equals(changed)
    assert images.equals(before)
    assert suspects.notes(images, decisions) == [
        "By labels.csv, 2 images have another label than their folder's, 1 are left out and 1 keep theirs."
    ]


def test_a_later_decision_replaces_an_earlier_one(tmp_path, images):
    for label in ("b", None, "a"):
        suspects.decide(tmp_path, "a/1", "one", label)
    assert suspects.read_decisions(tmp_path)["decided"].tolist() == ["a"]
    assert suspects.apply(images, suspects.read_decisions(tmp_path)).equals(images)
    suspects.decide(tmp_path, "a/1", "one", "b")
    suspects.decide(tmp_path, "a/3", "one", "a")  # a copy with a decision of its own
    assert suspects.apply(images, suspects.read_decisions(tmp_path))["label"].tolist()[:3] == ["b", "a", "a"]


def test_a_decision_holds_for_the_file_that_was_decided_on(tmp_path, images):
    suspects.decide(tmp_path, "a/1", "one", "b")
    suspects.decide(tmp_path, "a/2", "two", None)
    suspects.decide(tmp_path, "b/2", "three", "b")
    decisions = suspects.read_decisions(tmp_path)
    images.loc[[0, 1], "sha256"] = ["another", None]  # other photos under the same names, and a/1 had a copy
    assert suspects.apply(images, decisions).equals(images)
    assert suspects.notes(images, decisions) == [
        "By labels.csv, 0 images have another label than their folder's, 0 are left out and 1 keep theirs.",
        "2 decisions in labels.csv are about files that have changed since, 'a/1' and 1 more: passed over.",
    ]
    suspects.decide(tmp_path, "a/1", "another", "b")  # decided on again
    assert suspects.apply(images, suspects.read_decisions(tmp_path))["label"].tolist()[:3] == ["b", "a", "a"]


def test_a_file_of_an_earlier_version_holds_by_path(tmp_path, images):
    """It has no sha256, and where a label was reviewed twice, it names the label as decided before."""
    (tmp_path / "labels.csv").write_text("path,label,decided\na/1,b,c\na/2,a,\n")
    suspects.decide(tmp_path, "b/2", "three", "a")
    decisions = suspects.read_decisions(tmp_path)
    assert decisions["label"].tolist() == ["a", "a", "b"] and decisions["sha256"].tolist() == ["", "", "three"]
    changed = suspects.apply(images, decisions)
    assert changed["label"].tolist()[:5] == ["c", "a", "c", "b", "a"]  # a/3 is a copy of a/1
    assert changed["problem"].notna().tolist() == [False, True, False, False, False, True]
    assert len(suspects.notes(images.replace("two", "another"), decisions)) == 2  # the second: no folder is named c


def test_decisions_of_another_run_count_and_those_of_this_run_win(tmp_path, images):
    first, second = (runs.open_run(tmp_path, name) for name in ("first", "second"))
    for path, sha256, label in (("a/1", "one", "c"), ("a/2", "two", None), ("b/2", "three", "a")):
        suspects.decide(first.folder, path, sha256, label)
    suspects.decide(second.folder, "a/1", "one", "b")
    suspects.decide(second.folder, "b/2", "another", None)  # about a file that is no longer there
    both = suspects.decisions_for(second, "first")
    changed = suspects.apply(images, both)
    assert changed["label"].tolist()[:5] == ["b", "a", "b", "b", "a"]
    assert changed["problem"].notna().tolist() == [False, True, False, False, False, True]
    assert len(suspects.notes(images, both)) == 1
    assert suspects.decisions_for(second).equals(suspects.read_decisions(second.folder))
    assert suspects.decisions_for(second, "second").equals(suspects.read_decisions(second.folder))
    assert suspects.decisions_for(runs.open_run(tmp_path, "third"), "first")["decided"].tolist() == ["c", "", "a"]
    with pytest.raises(RetrainLabError, match="no run 'fourth'"):
        suspects.decisions_for(second, "fourth")


def test_unknown_paths_and_labels_are_said_and_passed_over(tmp_path, images):
    suspects.decide(tmp_path, "a/gone", "four", "b")
    suspects.decide(tmp_path, "a/2", "two", "bb")
    said = suspects.notes(images, suspects.read_decisions(tmp_path))
    assert "names 'a/gone', which the image folder does not hold: passed over" in said[1]
    assert "gives the label 'bb', which no folder has" in said[2]
    assert suspects.apply(images, suspects.read_decisions(tmp_path))["label"].tolist()[:3] == ["a", "bb", "a"]


def test_no_decisions(tmp_path, images):
    decisions = suspects.read_decisions(tmp_path)
    assert decisions.empty and suspects.apply(images, decisions).equals(images)
    assert suspects.notes(images, decisions) == []


def test_labels_that_look_like_numbers_or_nothing_stay_as_they_are(tmp_path):
    suspects.decide(tmp_path, "007/NA, 1.jpg", "0012", "NA")
    suspects.decide(tmp_path, "ünï/x y/1.jpg", "12e3", "1e3")
    assert suspects.read_decisions(tmp_path).to_numpy().tolist() == [
        ["007/NA, 1.jpg", "007", "NA", "0012"], ["ünï/x y/1.jpg", "ünï/x y", "1e3", "12e3"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as a table"),
        (b"\xff\xfe\x00bad", "cannot be read as a table"),
        (b'path,label,decided\n"open', "cannot be read as a table"),
        (b"image,class\na,b\n", "has the columns image, class"),
        (b"path,label,decided\na/1,a,b\n,a,b\n", "line 3"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_and_left_alone(tmp_path, content, said):
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    for attempt in (lambda: suspects.read_decisions(tmp_path), lambda: suspects.decide(tmp_path, "a/1", "one", "b")):
        with pytest.raises(RetrainLabError, match=said) as caught:
            attempt()
        assert str(file) in str(caught.value)
    assert file.read_bytes() == content


def test_a_file_edited_in_a_spreadsheet_is_read(tmp_path):
    (tmp_path / "labels.csv").write_bytes(
        "path,label,decided,remark\r\na/1,a,b,sure\r\na/2,a,,\r\n".encode("utf-8-sig")
    )
    assert suspects.read_decisions(tmp_path)["decided"].tolist() == ["b", ""]


def test_a_folder_that_is_gone_is_said(tmp_path):
    with pytest.raises(RetrainLabError, match="cannot be written"):
        suspects.decide(tmp_path / "gone", "a/1", "one", "b")
