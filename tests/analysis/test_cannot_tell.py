"""Images that leave questions open: 03 to 06 say what cannot be told, and go on with the rest."""

from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder, make_image, run_notebook
from PIL import Image

from retrainlab.runs import run_folder

pytestmark = pytest.mark.hard


@pytest.fixture
def told(module, bottleneck_dir, tmp_path):
    """A function that runs 03, 04 and 06 on a folder of images; returns what 04 and 06 print, and the metrics."""

    def run(folder: Path, validation: float = 25.0) -> tuple[str, str, dict]:
        place = {"run": "odd", "reports_dir": str(tmp_path / "reports")}
        cache = {"bottleneck_dir": str(bottleneck_dir)}
        data = {"image_dir": str(folder), "testing_percentage": 0.0, "validation_percentage": validation}
        run_notebook("03", **place, **cache, **data, tfhub_module=str(module), how_many_training_steps=100,
                     weight_decay=[0.0, 0.1])  # fmt: skip
        said = run_notebook("04", **place, **cache), run_notebook("06", **place)
        return *said, run_folder.Run(tmp_path / "reports" / "odd").trained()

    return run


def test_two_labels_that_are_told_apart_perfectly(told, tmp_path):
    said, compared, metrics = told(make_folder(tmp_path / "photos", {"a": 40, "b": 40}))
    assert metrics["overfitting"]["verdict"] == "fits" and "100.0%" in metrics["overfitting"]["sentence"]
    assert "0 of 80 labels are in doubt" in said and "Best on validation: odd." in compared


def test_a_label_with_one_image(told, tmp_path):
    said, _, metrics = told(make_folder(tmp_path / "photos", {"a": 30, "b": 30, "c": 1}))
    assert metrics["overfitting"]["verdict"] in ("fits", "too few images to tell") and "Traceback" not in said


def test_labels_of_one_image_each(told, tmp_path):
    said, _, metrics = told(make_folder(tmp_path / "photos", {"a": 1, "b": 1, "c": 1}))
    assert "What other splits would give cannot be told. The images cannot be split again" in said
    assert metrics["overfitting"]["verdict"] == "too few images to tell"


def test_a_run_without_predictions(told, tmp_path, bottleneck_dir):
    told(make_folder(tmp_path / "photos", {"a": 40, "b": 40}))
    (tmp_path / "reports" / "odd" / "predictions.parquet").unlink()
    place = {"run": "odd", "reports_dir": str(tmp_path / "reports")}
    said = run_notebook("04", **place, bottleneck_dir=str(bottleneck_dir))
    assert "cross-entropy cannot be told. Run 'odd' has no predictions.parquet yet" in said
    assert "0 of 80 labels are in doubt" in said
    assert "'odd' has no predictions" in run_notebook("06", **place)


def test_no_validation_images(told, tmp_path):
    _, compared, metrics = told(make_folder(tmp_path / "photos", {"a": 40, "b": 40}), validation=0.0)
    assert metrics["validation"]["n"] == 0
    assert metrics["overfitting"]["verdict"] == "fits"  # re-splits make validation images of their own
    assert "nothing" in compared


def test_all_images_the_same(told, tmp_path):
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(20):
            make_image(0).save(tmp_path / "photos" / label / f"{number}.png")
    said, _, metrics = told(tmp_path / "photos")
    assert metrics["overfitting"]["verdict"] == "too few images to tell"
    assert "cannot be told" in said


def test_constant_features(told, tmp_path):
    for label, first in (("a", 40), ("b", 80)):  # of one colour, in sizes of their own: other files, equal bottlenecks
        (tmp_path / "photos" / label).mkdir(parents=True)
        for size in range(first, first + 30):
            Image.fromarray(np.full((size, size, 3), 90, np.uint8)).save(tmp_path / "photos" / label / f"{size}.png")
    said, _, metrics = told(tmp_path / "photos")
    assert metrics["overfitting"]["verdict"] and "Traceback" not in said


def test_labels_that_are_one_picture_each(told, tmp_path):
    """Right answers on images that were learnt from, but for their name, are no proof that it fits."""
    for label, colour in (("a", (200, 40, 40)), ("b", (40, 40, 200))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for size in range(40, 80):  # other files, equal bottlenecks
            Image.fromarray(np.full((size, size, 3), colour, np.uint8)).save(tmp_path / f"photos/{label}/{size}.png")
    said, _, metrics = told(tmp_path / "photos")
    assert "So near-duplicates are not kept together here: nothing would be left to judge by." in said
    assert "What near-duplicates are worth cannot be told. It takes re-splits that keep them together" in said
    assert "no more than chance" not in said
    assert metrics["overfitting"]["verdict"] == "too few images to tell"
    assert "how much better that makes accuracy look is unknown" in metrics["overfitting"]["sentence"]
    assert not any("+0.0 points" in each["sentence"] for each in metrics["overfitting"]["advice"])
