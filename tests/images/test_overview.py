"""What is said of an images table."""

import shutil

import pandas as pd
import pytest
from conftest import make_folder

from retrainlab.images import overview, scanning, splitting


def test_the_digest_tells_contents_and_splits_apart(many):
    table = splitting.split(many)
    assert overview.digest(table) == overview.digest(table.sample(frac=1, random_state=0))
    assert overview.digest(table) != overview.digest(splitting.split(many, 20, 10))
    assert overview.digest(table) != overview.digest(table.iloc[1:])


def test_notes_name_the_first_files_that_are_left_out_with_their_problem(many):
    many.loc[:4, "problem"] = "the file is empty"
    table = splitting.split(many)
    paths = many["path"][:5].tolist()
    assert overview.notes(table)[0] == (
        f"5 of {len(many)} files are left out. {paths[0]}: the file is empty. {paths[1]}: the file is empty. "
        f"{paths[2]}: the file is empty. And 2 more."
    )
    assert overview.notes(table, named=5)[0].endswith(f"{paths[4]}: the file is empty.")
    assert overview.notes(table, named=0)[0] == f"5 of {len(many)} files are left out."


def test_a_label_without_a_usable_image_is_named(many):
    many.loc[:4, ["label", "problem"]] = "lost", "the file is empty"
    many.loc[5:6, "problem"] = "the file is empty"
    many.loc[7, ["label", "problem"]] = None, "it lies outside any label folder"
    said = [note for note in overview.notes(splitting.split(many)) if "can be used" in note]
    assert said == ["The label 'lost' has no image that can be used: left out of the labels."]


@pytest.mark.parametrize(
    ("labels", "place"),
    [(["1", "2", "10", "11"], "1, 10, 11, ... So output 1 of the model, counted from 0, is '10', not '2'"),
     (["-1", "2", "10"], ""), (["01", "02", "10"], ""), (["1", "2", "10", "x"], ""), (["1", "2", "3"], "")],
)  # fmt: skip
def test_numbers_as_labels_are_said_to_be_sorted_as_text(many, labels, place):
    many["label"] = [labels[row % len(labels)] for row in range(len(many))]
    said = [note for note in overview.notes(splitting.split(many)) if note.startswith("The labels are numbers")]
    assert len(said) == bool(place) and all(place in note for note in said)


def test_every_usable_image_is_counted_and_shown(many):
    many.loc[:4, "problem"] = "the file is empty"
    told = overview.usable(splitting.split(many))
    assert str(told) == "1,995 images of 2 labels can be used."
    assert told.numbers == {"images": 1995, "labels": 2}
    bars = told.plot().axes[0].patches
    assert sum(bar.get_width() for bar in bars) == 1995


def test_what_is_left_out_is_listed_with_its_reason(many):
    assert not overview.left_out(many)._repr_html_()  # 01 has said at its top that it is none
    many.loc[:4, "problem"] = "the file is <empty>"
    told = overview.left_out(many, most=2)
    assert str(told) == f"5 of {len(many)} files are left out; the first 2:"
    assert str(overview.left_out(many)) == f"5 of {len(many)} files are left out."
    shown = told._repr_html_()
    assert shown.count("the file is &lt;empty&gt;") == 2 and many["path"][0] in shown


def test_copies_are_listed_pair_by_pair(tmp_path):
    make_folder(tmp_path, {"a": 4, "b": 4}, ("png",))
    assert not overview.copies(scanning.load(tmp_path).images)._repr_html_()
    shutil.copy(tmp_path / "a" / "image 000.png", tmp_path / "a" / "twin.png")
    shutil.copy(tmp_path / "a" / "image 001.png", tmp_path / "b" / "stranger.png")
    table = scanning.load(tmp_path).images
    told = overview.copies(table)
    assert str(told).splitlines() == [
        "4 files are byte-identical copies of one another; copies share a split.",
        "Some copies carry different labels; at least one of each such pair is labelled wrongly.",
    ]
    assert overview.notes(table)[-2:] == str(told).splitlines()
    pairs = {frozenset(told.table.data["path"][place : place + 2]) for place in (0, 2)}
    assert pairs == {frozenset({"a/image 000.png", "a/twin.png"}), frozenset({"a/image 001.png", "b/stranger.png"})}


def test_what_any_classifier_must_beat(many):
    table = splitting.split(many.drop(index=range(500)))
    table.loc[500:509, "problem"] = "the file is empty"
    table.loc[[600, 601], "sha256"] = "the same"
    told = overview.found(table, "A note.", "")
    assert told.numbers == {"images": 1490, "left_out": 10, "copies": 2}
    assert str(told).splitlines() == [
        "1,490 images of 2 labels, 10 files left out, 2 copies.",
        "Always answering 'b' would be right for 67.1% of the images: beat that.",
        "A note.",
    ]


def test_a_damaged_file_is_named_before_many_that_have_no_label():
    paths = [f"test/{number}.jpg" for number in range(9)] + ["train/z.jpg", "train/a.jpg"]
    problem = ["labels.csv has no row for it"] * 9 + ["the file is empty", None]
    images = pd.DataFrame({"path": paths, "label": "a", "split": "train", "sha256": paths, "problem": problem})
    images = images.reindex(columns=scanning.COLUMNS)
    assert overview.notes(images, named=1)[0].startswith("10 of 11 files are left out. train/z.jpg: the file is empty.")
