"""Labels that a person gives stay in `to_label.csv`, whatever is asked for next, and find their way into training."""

import pandas as pd
import pytest
from conftest import make_folder, make_image

from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.labeling import labelled


def asked(*paths):
    return pd.DataFrame({"path": paths, "predicted": "ant", "probability": 0.5, "unlike": False, "seen": 0.7})


def given(file):
    return labelled.read(file).set_index("path")["label"].to_dict()


def test_a_label_is_written_and_taken_back(tmp_path):
    file = tmp_path / "to_label.csv"
    assert labelled.write(file, asked("1.png", "2,ü.png")) == 0
    labelled.give(file, "2,ü.png", "NA")  # a label, and no missing value
    assert given(file) == {"1.png": "", "2,ü.png": "NA"}
    labelled.give(file, "2,ü.png", "")
    assert given(file) == {"1.png": "", "2,ü.png": ""}
    with pytest.raises(RetrainLabError, match=r"no row for 3.png any more"):
        labelled.give(file, "3.png", "ant")
    assert [each.name for each in tmp_path.iterdir()] == ["to_label.csv"]


def test_asking_again_loses_no_label(tmp_path):
    file = tmp_path / "to_label.csv"
    labelled.write(file, asked("1.png", "2.png", "3.png"))
    labelled.give(file, "1.png", "bee")
    labelled.give(file, "3.png", "ant")
    assert labelled.write(file, asked("4.png", "3.png")) == 1
    assert given(file) == {"1.png": "bee", "4.png": "", "3.png": "ant"}
    assert list(labelled.read(file)["path"]) == ["1.png", "4.png", "3.png"]  # the others in their new order


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    file = tmp_path / "to_label.csv"
    file.write_text("foreign\n1\n")
    with pytest.raises(RetrainLabError, match="has the columns foreign"):
        labelled.write(file, asked("1.png"))
    assert file.read_text() == "foreign\n1\n"


@pytest.fixture
def new(tmp_path):
    """(to_label.csv with two images that have a label, the paths of the three that were asked for)."""
    (tmp_path / "new").mkdir()
    paths = [str(tmp_path / "new" / name) for name in ("a.png", "b.png", "c.png")]
    for number, path in enumerate(paths):
        make_image(200 + number).save(path)
    file = tmp_path / "to_label.csv"
    labelled.write(file, asked(*paths))
    labelled.give(file, paths[0], "ant")
    labelled.give(file, paths[1], "bee")
    return file, paths


@pytest.mark.parametrize("split", ["", "train"])
def test_images_with_a_label_become_training_images_once(tmp_path, new, split):
    file, _ = new
    folder = tmp_path / "images"
    make_folder(folder / split, {"ant": 12, "bee": 12})
    if split:
        make_folder(folder / "test", {"ant": 4, "bee": 4})
    before = scanning.load(folder, 25, 25).images
    said = labelled.take_in(file, before, folder)
    assert said.startswith("2 images are copied") and "Run 03_retrain again" in said
    after = scanning.load(folder, 25, 25).images
    added = after[~after["path"].isin(before["path"])]
    assert added.set_index("label")["split"].to_dict() == {"ant": "train", "bee": "train"}
    assert sorted(added["path"]) == [f"{split}/ant/a.png".lstrip("/"), f"{split}/bee/b.png".lstrip("/")]
    again = labelled.take_in(file, after, folder)
    assert again.startswith("0 images are copied") and "2 were there already" in again
    assert len(scanning.load(folder, 25, 25).images) == len(after)


def test_another_image_of_the_same_name_stays(tmp_path, new):
    file, _ = new
    folder = make_folder(tmp_path / "images", {"ant": 12, "bee": 12})
    there = folder / "ant" / "a.png"
    make_image(99).save(there)
    content = there.read_bytes()
    labelled.take_in(file, scanning.load(folder, 25, 25).images, folder)
    assert there.read_bytes() == content
    assert (folder / "ant" / "a-1.png").read_bytes() == (tmp_path / "new" / "a.png").read_bytes()


def test_what_cannot_be_taken_in_is_said(tmp_path, new):
    file, paths = new
    folder = make_folder(tmp_path / "images", {"ant": 12, "cat": 12})
    images = scanning.load(folder, 25, 25).images
    (tmp_path / "new" / "c.png").unlink()
    labelled.give(file, paths[2], "ant")
    said = labelled.take_in(file, images, folder)
    assert said.startswith("1 images are copied") and "2 were not: the file is gone, or no training image" in said
    with pytest.raises(RetrainLabError, match=r"No image in none.csv has a label yet"):
        labelled.take_in(tmp_path / "none.csv", images, folder)


def test_where_a_table_gives_the_labels_nothing_is_copied(tmp_path, new):
    file, _ = new
    flat = make_folder(tmp_path / "flat", {"images": 20})
    names = sorted(each.name for each in (flat / "images").iterdir())
    pd.DataFrame({"path": names, "label": ["ant", "bee"] * 10}).to_csv(flat / "labels.csv", index=False)
    count = len(list(flat.rglob("*")))
    with pytest.raises(RetrainLabError, match="those of a table, not of their folders"):
        labelled.take_in(file, scanning.load(flat, 25, 25).images, flat)
    assert len(list(flat.rglob("*"))) == count
