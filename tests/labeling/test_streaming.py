import os
import threading
from collections.abc import Mapping

import numpy as np
from conftest import make_image

from retrainlab.errors import RetrainLabError
from retrainlab.labeling import streaming
from retrainlab.labeling.labelers import Labeler
from retrainlab.labeling.streaming import Answer

AHEAD = 8 * (os.cpu_count() or 1)  # images that are begun before the first of them is asked for


def content(tmp_path, grey: int) -> bytes:
    """A PNG of one grey."""
    file = tmp_path / "grey.png"
    make_image(0).convert("L").point(lambda _: grey).save(file)
    return file.read_bytes()


def labeler(before=lambda bright: None) -> Labeler:
    """A classifier that tells bright images from dark ones; `before` is called with the brightness of each."""

    def probabilities(pixels):
        bright = float(pixels.mean()) / 255
        before(bright)
        return np.array([bright, 1 - bright], np.float32)

    return Labeler(["bright", "dark"], (16, 16), probabilities)


def test_answers_come_in_the_order_of_the_images_however_long_each_takes(tmp_path):
    others = threading.Event()

    def before(bright):
        if bright == 1:
            assert others.wait(60)  # the first image takes until another one is labelled
        others.set()

    found = {"slow": content(tmp_path, 255)} | {f"quick {n}": content(tmp_path, 51) for n in range(3)}
    told = list(streaming.answers(labeler(before), found, 1))
    assert told[0] == Answer("slow", [("bright", 1.0)]) and [answer.path for answer in told] == list(found)
    assert [answer.labels for answer in told[1:]] == [[("dark", float(np.float32(0.8)))]] * 3


class Asked(Mapping):
    """500 images, and how many of them were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.count = data, 0

    def __iter__(self):
        return map(str, range(500))

    def __len__(self):
        return 500

    def __getitem__(self, path):
        self.count += 1
        return self.data


def test_only_some_images_are_begun_ahead(tmp_path):
    found = Asked(content(tmp_path, 0))
    answers = streaming.answers(labeler(), found)
    for taken in range(1, 301):
        next(answers)
        assert found.count == taken + AHEAD - 1
    answers.close()
    assert found.count == 300 + AHEAD - 1


def test_closing_drops_what_is_begun(tmp_path):
    labelled = []
    answers = streaming.answers(labeler(labelled.append), dict.fromkeys(map(str, range(500)), content(tmp_path, 0)))
    next(answers)
    answers.close()
    assert 1 <= len(labelled) <= AHEAD
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


def test_no_images_are_no_answers():
    assert list(streaming.answers(labeler(), {})) == [] and streaming.sources([]) == {}


def test_what_a_classifier_cannot_do_is_a_problem_of_that_image(tmp_path):
    def before(bright):
        if bright == 0:
            raise RetrainLabError("it is too dark.")

    found = {"dark": content(tmp_path, 0), "bright": content(tmp_path, 255), "none": b"none"}
    dark, bright, none = streaming.answers(labeler(before), found)
    assert dark == Answer("dark", [], "it is too dark") and bright.problem is None and len(bright.labels) == 2
    assert none.problem.startswith("not an image in any format")


def test_folders_become_the_images_below_them_once(tmp_path):
    for name in ("b/2.png", "b/1.png", "b/c/3.png", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_image(0).save(tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("notes")
    (tmp_path / "b" / "camera.heic").write_bytes(b"damaged")  # it claims to be an image
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "b" / "2.png", tmp_path / "b", str(tmp_path / "a.png"), tmp_path / "b", tmp_path / "empty"]
    names = ["b/2.png", "b/1.png", "b/c/3.png", "b/camera.heic", "a.png", "empty"]
    assert list(streaming.sources(given)) == [str(tmp_path / name) for name in names]
    told = {answer.path: answer.problem for answer in streaming.answers(labeler(), streaming.sources(given))}
    assert told[str(tmp_path / "empty")] == "the folder holds no images" and told[str(tmp_path / "a.png")] is None
    assert told[str(tmp_path / "b" / "camera.heic")] is not None
