"""Decisions on labels in doubt: read, applied, and kept in `labels.csv`."""

import pandas as pd
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.images import relabeling
from retrainlab.runs import run_folder


@pytest.fixture
def images() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": ["a/1", "a/2", "a/3", "b/1", "b/2", "b/bad"],
            "label": ["a", "a", "a", "b", "b", "b"],
            "given": ["a", "a", "a", "b", "b", "b"],
            "split": ["train", "train", "test", "train", "test", None],
            "sha256": ["one", "two", "one", "one", "three", None],
            "problem": [None, None, None, None, None, "the file is empty"],
        }
    )


def test_decisions_are_applied_and_copies_follow(tmp_path, images):
    before = images.copy()
    relabeling.decide(tmp_path, "a/1", "one", "a", "b")
    relabeling.decide(tmp_path, "a/2", "two", "a", "a")
    relabeling.decide(tmp_path, "b/2", "three", "b", None)
    relabeling.decide(tmp_path, "b/bad", "", "b", "a")
    assert (tmp_path / "labels.csv").read_text().splitlines() == [
        "path,label,decided,sha256", "a/1,a,b,one", "a/2,a,a,two", "b/2,b,,three", "b/bad,b,a,",
    ]  # fmt: skip
    decisions = relabeling.read(tmp_path)
    assert decisions.to_dict("list") == {
        "path": ["a/1", "a/2", "b/2", "b/bad"], "label": ["a", "a", "b", "b"], "decided": ["b", "a", "", "a"],
        "sha256": ["one", "two", "three", ""],
    }  # fmt: skip
    changed = relabeling.apply(images, decisions)
    # a/3 is a copy of a/1 with the same label; b/1 is one too, but was labelled b all along
    assert changed["label"].tolist() == ["b", "a", "b", "b", "b", "b"]
    assert changed["split"].tolist()[:4] == ["train", "train", "test", "train"] and pd.isna(changed["split"][4])
    assert changed["problem"][4] == "left out by a decision in labels.csv"
    assert changed["problem"][5] == "the file is empty"
    assert relabeling.apply(changed, decisions).equals(changed)
    assert images.equals(before)
    assert relabeling.notes(images, decisions) == [
        "By labels.csv, 2 images have another label than the given one, 1 are left out and 1 keep theirs."
    ]


def test_a_later_decision_replaces_an_earlier_one(tmp_path, images):
    for label in ("b", None, "a"):
        relabeling.decide(tmp_path, "a/1", "one", "a", label)
    assert relabeling.read(tmp_path)["decided"].tolist() == ["a"]
    assert relabeling.apply(images, relabeling.read(tmp_path)).equals(images)
    relabeling.decide(tmp_path, "a/1", "one", "a", "b")
    relabeling.decide(tmp_path, "a/3", "one", "a", "a")  # a copy with a decision of its own
    assert relabeling.apply(images, relabeling.read(tmp_path))["label"].tolist()[:3] == ["b", "a", "a"]


def test_a_decision_holds_for_the_file_that_was_decided_on(tmp_path, images):
    relabeling.decide(tmp_path, "a/1", "one", "a", "b")
    relabeling.decide(tmp_path, "a/2", "two", "a", None)
    relabeling.decide(tmp_path, "b/2", "three", "b", "b")
    decisions = relabeling.read(tmp_path)
    images.loc[[0, 1], "sha256"] = ["another", None]  # other photos under the same names, and a/1 had a copy
    assert relabeling.apply(images, decisions).equals(images)
    assert relabeling.notes(images, decisions) == [
        "By labels.csv, 0 images have another label than the given one, 0 are left out and 1 keep theirs.",
        "2 decisions in labels.csv are about files that have changed since, 'a/1' and 1 more: passed over.",
    ]
    relabeling.decide(tmp_path, "a/1", "another", "a", "b")  # decided on again
    assert relabeling.apply(images, relabeling.read(tmp_path))["label"].tolist()[:3] == ["b", "a", "a"]


def test_a_file_written_by_hand_without_digests_holds_by_path(tmp_path, images):
    (tmp_path / "labels.csv").write_text("path,label,decided\na/1,a,c\na/2,a,\n")
    relabeling.decide(tmp_path, "b/2", "three", "b", "a")
    decisions = relabeling.read(tmp_path)
    assert decisions["label"].tolist() == ["a", "a", "b"] and decisions["sha256"].tolist() == ["", "", "three"]
    changed = relabeling.apply(images, decisions)
    assert changed["label"].tolist()[:5] == ["c", "a", "c", "b", "a"]  # a/3 is a copy of a/1
    assert changed["problem"].notna().tolist() == [False, True, False, False, False, True]
    assert len(relabeling.notes(images.replace("two", "another"), decisions)) == 2  # the second: no folder is named c


def test_decisions_of_another_run_count_and_those_of_this_run_win(tmp_path, images):
    first, second = (run_folder.open_run(tmp_path, name) for name in ("first", "second"))
    for path, sha256, label in (("a/1", "one", "c"), ("a/2", "two", None), ("b/2", "three", "a")):
        relabeling.decide(first.folder, path, sha256, path.rpartition("/")[0], label)
    relabeling.decide(second.folder, "a/1", "one", "a", "b")
    relabeling.decide(second.folder, "b/2", "another", "b", None)  # about a file that is no longer there
    both = second.decisions("first")
    changed = relabeling.apply(images, both)
    assert changed["label"].tolist()[:5] == ["b", "a", "b", "b", "a"]
    assert changed["problem"].notna().tolist() == [False, True, False, False, False, True]
    assert len(relabeling.notes(images, both)) == 1
    assert second.decisions().equals(relabeling.read(second.folder))
    assert second.decisions("second").equals(relabeling.read(second.folder))
    assert run_folder.open_run(tmp_path, "third").decisions("first")["decided"].tolist() == ["c", "", "a"]
    with pytest.raises(RetrainLabError, match="no run 'fourth'"):
        second.decisions("fourth")


def test_unknown_paths_and_labels_are_said_and_passed_over(tmp_path, images):
    relabeling.decide(tmp_path, "a/gone", "four", "a", "b")
    relabeling.decide(tmp_path, "a/2", "two", "a", "bb")
    said = relabeling.notes(images, relabeling.read(tmp_path))
    assert "names 'a/gone', which the image folder does not hold: passed over" in said[1]
    assert "gives the label 'bb', which no image was given" in said[2]
    assert relabeling.apply(images, relabeling.read(tmp_path))["label"].tolist()[:3] == ["a", "bb", "a"]


def test_no_decisions(tmp_path, images):
    decisions = relabeling.read(tmp_path)
    assert decisions.empty and relabeling.apply(images, decisions).equals(images)
    assert relabeling.notes(images, decisions) == []


def test_labels_that_look_like_numbers_or_nothing_stay_as_they_are(tmp_path):
    relabeling.decide(tmp_path, "007/NA, 1.jpg", "0012", "007", "NA")
    relabeling.decide(tmp_path, "ünï/x y/1.jpg", "12e3", "ünï/x y", "1e3")
    assert relabeling.read(tmp_path).to_numpy().tolist() == [
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
    for attempt in (lambda: relabeling.read(tmp_path), lambda: relabeling.decide(tmp_path, "a/1", "one", "a", "b")):
        with pytest.raises(RetrainLabError, match=said) as caught:
            attempt()
        assert str(file) in str(caught.value)
    assert file.read_bytes() == content


def test_a_file_edited_in_a_spreadsheet_is_read(tmp_path):
    (tmp_path / "labels.csv").write_bytes(
        "path,label,decided,remark\r\na/1,a,b,sure\r\na/2,a,,\r\n".encode("utf-8-sig")
    )
    assert relabeling.read(tmp_path)["decided"].tolist() == ["b", ""]


def test_a_folder_that_is_gone_is_said(tmp_path):
    with pytest.raises(RetrainLabError, match="cannot be written"):
        relabeling.decide(tmp_path / "gone", "a/1", "one", "a", "b")
