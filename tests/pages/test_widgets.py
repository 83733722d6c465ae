import datetime
import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import make_folder, make_image
from PIL import Image

from retrainlab.evaluation.finding import Finding
from retrainlab.images import relabeling, scanning
from retrainlab.labeling import labelled
from retrainlab.labeling.labelers import Labeler
from retrainlab.pages import widgets
from retrainlab.pixels.decoding import ImageFolder


@pytest.fixture
def review(tmp_path):
    folder = make_folder(tmp_path / "images", {"ant": 2, "bee": 1})
    (folder / "bee" / "broken.jpg").write_bytes(b"no image")
    paths = [f"ant/{file.name}" for file in sorted((folder / "ant").iterdir())] + ["bee/broken.jpg"]
    given = ["ant", "ant", "bee"]
    table = pd.DataFrame({"path": paths, "label": given, "given": given, "suggested": ["bee", "bee", "<wasp>"],
                          "sha256": ["one", "two", "three"]})  # fmt: skip
    return lambda **changed: (
        widgets.review_suspects(table.assign(**changed), ImageFolder(folder), tmp_path, ["bee", "<wasp>"]),
        paths,
        lambda: relabeling.read(tmp_path).set_index("path")["decided"].to_dict(),
    )


def every(widget, kind):
    found = [widget] if isinstance(widget, kind) else []
    return found + [inner for child in getattr(widget, "children", ()) for inner in every(child, kind)]


def press(widget, name):
    (button,) = (b for b in every(widget, ipywidgets.Button) if b.description.startswith(name))
    assert not button.disabled
    button.click()


def text(widget) -> str:
    return " ".join(part.value for part in every(widget, ipywidgets.HTML))


def test_each_click_is_written_at_once_and_shows_the_next(review):
    widget, paths, decided = review()
    assert "1 of 3" in text(widget) and paths[0] in text(widget)
    assert bytes(every(widget, ipywidgets.Image)[0].value).startswith(b"\x89PNG")
    press(widget, "Change to 'bee'")
    assert decided() == {paths[0]: "bee"} and "2 of 3" in text(widget)
    press(widget, "Keep 'ant'")
    assert decided() == {paths[0]: "bee", paths[1]: "ant"} and "3 of 3" in text(widget)
    assert not every(widget, ipywidgets.Image) and "The picture cannot be shown: not an image" in text(widget)
    assert "&lt;wasp&gt;" in text(widget) and "<wasp>" not in text(widget)
    press(widget, "Leave it out")
    assert decided()[paths[2]] == ""
    assert "All 3 are reviewed: 1 keep their label, 2 do not." in text(widget)
    assert all(button.disabled == (button.description != "Back") for button in every(widget, ipywidgets.Button))


def test_another_label_can_be_picked_and_a_decision_be_changed(review):
    widget, paths, decided = review()
    every(widget, ipywidgets.Dropdown)[0].value = "<wasp>"
    press(widget, "Use this label")
    assert decided() == {paths[0]: "<wasp>"}
    press(widget, "Back")
    assert "1 of 3" in text(widget) and "decided: <b>&lt;wasp&gt;</b>" in text(widget)
    press(widget, "Keep 'ant'")
    assert decided() == {paths[0]: "ant"}


def test_a_review_goes_on_where_it_was_left(review):
    widget, _, _ = review()
    press(widget, "Leave it out")
    again, paths, _ = review()
    assert "2 of 3" in text(again) and paths[1] in text(again)


def test_an_image_that_is_another_by_now_is_reviewed_again(review):
    widget, _, _ = review()
    press(widget, "Leave it out")
    again, _, decided = review(sha256=["changed", "two", "three"])
    assert "1 of 3" in text(again) and "decided:" not in text(again)
    press(again, "Change to 'bee'")
    assert list(decided().values()) == ["bee"]


def test_a_second_review_keeps_what_was_decided_or_goes_back_to_the_folders_label(review, tmp_path):
    """By then the images table has the labels that were decided: copies must still follow."""
    images = pd.DataFrame({"sha256": ["one", "two", "three", "one", "two"], "split": "train", "problem": None,
                           "label": ["ant", "ant", "bee", "ant", "ant"]})  # fmt: skip
    widget, paths, _ = review()
    images["given"], images["path"] = images["label"], [*paths, "ant/copy of one.jpg", "ant/copy of two.jpg"]
    for _ in range(2):
        press(widget, "Change to 'bee'")
    again, _, _ = review(label=["bee", "bee", "bee"], suggested=["<wasp>"] * 3)
    for _ in range(2):
        press(again, "Back")
    assert "labelled <b>bee</b> by a decision (<b>ant</b> as given)" in text(again)
    press(again, "Keep 'bee'")
    every(again, ipywidgets.Dropdown)[0].value = "ant"
    press(again, "Use this label")
    assert "as given" not in text(again)
    decisions = relabeling.read(tmp_path)
    assert decisions[["label", "decided"]].to_numpy().tolist() == [["ant", "bee"], ["ant", "ant"]]
    assert relabeling.apply(images, decisions)["label"].tolist() == ["bee", "ant", "bee", "bee", "ant"]


def test_a_decision_that_cannot_be_written_is_said_and_not_passed_over(review, tmp_path):
    widget, _, _ = review()
    (tmp_path / "labels.csv").write_text("foreign\n")
    press(widget, "Leave it out")
    assert "has the columns foreign" in text(widget)
    (tmp_path / "labels.csv").unlink()
    press(widget, "Leave it out")
    assert "2 of 3" in text(widget)


def test_no_suspects(tmp_path):
    widget = widgets.review_suspects(
        pd.DataFrame(columns=["path", "label", "suggested"]), ImageFolder(tmp_path), tmp_path, []
    )
    assert "nothing to review" in text(widget)


@pytest.fixture
def asked(tmp_path):
    """Opens the widget on three images to label, of so many labels: (widget, paths, function that gives the labels)."""
    folder = make_folder(tmp_path / "images", {"ant": 8, "bee": 8})
    new, file = make_folder(tmp_path / "new", {"none": 0, "no": 0, "later": 3}) / "later", tmp_path / "to_label.csv"
    paths = [str(path) for path in sorted(new.iterdir())]
    table = pd.DataFrame({"path": paths, "predicted": ["bee", "ant", "bee"], "probability": 0.75, "unlike": False,
                          "seen": 0.5})  # fmt: skip
    images = scanning.load(folder, 20, 20).images

    def opened(*more):
        labelled.write(file, table)
        labeler = Labeler(["ant", "bee", *more], (16, 16), lambda pixels: np.float32([0.2, 0.8]))
        widget = widgets.label_next(Finding("", details=table), file, labeler, images, folder)
        return widget, paths, lambda: labelled.read(file).set_index("path")["label"].tolist()

    return opened


def test_a_click_labels_an_image_at_once_and_undo_takes_it_back(asked):
    widget, paths, given = asked()
    assert "0 of 3 have a label" in text(widget) and paths[0] in text(widget) and "<b>bee</b>, 75%" in text(widget)
    styles = {button.description: button.button_style for button in every(widget, ipywidgets.Button)}
    assert (styles["ant"], styles["bee"]) == ("", "primary") and not every(widget, ipywidgets.Combobox)
    press(widget, "ant")
    assert given() == ["ant", "", ""] and paths[1] in text(widget)
    press(widget, "bee")
    press(widget, "Undo")
    assert given() == ["ant", "", ""] and paths[1] in text(widget)
    press(widget, "Skip")
    press(widget, "bee")
    assert given() == ["ant", "", "bee"]
    assert "2 of 3 have a label. Those that were skipped" in text(widget) and not every(widget, ipywidgets.Image)
    again, _, _ = asked()  # asked for anew, too
    assert "2 of 3" in text(again) and paths[1] in text(again)
    press(again, "ant")
    assert given() == ["ant", "ant", "bee"] and text(again).startswith("3 of 3 have a label.")
    press(again, "Copy what has a label")
    assert "3 images are copied into the folders of their labels" in text(again)


def test_of_many_labels_one_is_sought_by_typing(asked):
    widget, paths, given = asked(*(f"label {number}" for number in range(20)))
    (search,) = every(widget, ipywidgets.Combobox)
    assert len(search.options) == 22 and search.ensure_option
    press(widget, "bee")  # what it is taken for has a button
    press(widget, "Use this label")  # nothing is chosen
    assert given() == ["bee", "", ""] and paths[1] in text(widget)
    search.value = "label 7"
    press(widget, "Use this label")
    assert given() == ["bee", "label 7", ""] and search.value == ""


def test_a_label_that_cannot_be_written_is_said_and_not_passed_over(asked, tmp_path):
    widget, paths, given = asked()
    content = (tmp_path / "to_label.csv").read_text()
    (tmp_path / "to_label.csv").write_text("foreign\n")
    press(widget, "ant")
    assert "has the columns foreign" in text(widget)
    (tmp_path / "to_label.csv").write_text(content)
    press(widget, "ant")
    assert given() == ["ant", "", ""] and paths[1] in text(widget)


def test_nothing_to_label_is_no_widget(tmp_path):
    nothing = widgets.label_next(Finding(""), tmp_path / "to_label.csv", None, None, tmp_path)
    assert nothing is None


def test_chosen_photos_are_labelled_and_what_cannot_be_read_is_said():
    photo = io.BytesIO()
    make_image(0).save(photo, "PNG")
    labeler = Labeler(["ant", "bee"], (16, 16), lambda pixels: np.float32([0.2, 0.8]))
    button, shown = widgets.label_uploads(labeler, top=1).children
    files = {"photo.png": photo.getvalue(), "bad.png": b"no image"}
    about = {"type": "image/png", "size": 1, "last_modified": datetime.datetime(2026, 1, 1)}
    button.value = [{"name": name, "content": memoryview(content), **about} for name, content in files.items()]
    told, figure = shown.children
    assert "bad.png: not an image in any format that can be read" in told.value and "photo.png" in told.value
    assert "bee" in told.value and Image.open(io.BytesIO(figure.value)).width > 300 and not plt.get_fignums()
