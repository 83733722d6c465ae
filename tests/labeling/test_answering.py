import numpy as np
from conftest import make_folder, make_image

from retrainlab.labeling import answering
from retrainlab.labeling.labelers import Labeler


def labeler() -> Labeler:
    """A classifier that tells bright images from dark ones."""

    def probabilities(pixels):
        bright = pixels.mean() / 255
        return np.array([bright, 1 - bright], np.float32)

    return Labeler(["bright", "dark"], (16, 16), probabilities)


def test_images_are_shown_beside_their_labels_and_what_cannot_be_read_is_said(tmp_path):
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    make_image(0).save(good)
    bad.touch()
    told = answering.answer(labeler(), [good, bad], 2)
    assert told.details["path"].tolist() == [str(good)] * 2 and set(told.details["label"]) == {"bright", "dark"}
    assert str(told).startswith(f"{bad}: not an image in any format that can be read")
    picture, bars = told.plot().axes
    assert picture.get_title(loc="center") == "a.png" and len(bars.patches) == 2
    assert picture.images[0].get_array().shape == (160, 160, 3)


def test_nothing_that_can_be_read_is_no_figure(tmp_path):
    told = answering.answer(labeler(), {"photo.jpg": b"no image"}, 2)
    assert str(told).startswith("photo.jpg: ") and told.draw is None and told.details.empty


def test_content_is_shown_as_well_as_files(tmp_path):
    make_image(0).save(tmp_path / "a.png")
    told = answering.answer(labeler(), {"photo.png": (tmp_path / "a.png").read_bytes()})
    assert not str(told) and told.plot().axes[0].get_title(loc="center") == "photo.png"


def test_a_folder_is_labelled_and_the_first_images_are_shown(tmp_path):
    make_folder(tmp_path, {"a": 30, "b": 31}, ("png",))
    (tmp_path / "README").write_text("no image")
    told = answering.answer(labeler(), [tmp_path], 1)
    assert len(told.details) == 61 and str(told) == "61 images are labelled; these are the first 50."
    assert len(told.plot().axes) == 2 * 50
