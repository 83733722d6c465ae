"""What a classifier has learnt on one scale, it labels on that scale; where it has learnt none, that is said."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from retrainlab.bottlenecks import features
from retrainlab.errors import RetrainLabError
from retrainlab.export import contracts, exporting
from retrainlab.images import scanning
from retrainlab.labeling import answering, label_image, labelers
from retrainlab.pixels.decoding import ImageFolder, read_pixels
from retrainlab.pixels.levels import OWN, Levels
from retrainlab.training import heads, trainer


def save(path, brightness, seed):
    """A 12-bit image; scaled by its own brightest value, a dark one is like a bright one."""
    values = np.random.default_rng(seed).normal(brightness, brightness / 20, (40, 48))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(values, 0, 4095).astype(np.uint16)).save(path)
    return path


@pytest.fixture(scope="module")
def exported(backbone, tmp_path_factory):
    root = tmp_path_factory.mktemp("deep")
    for number in range(10):
        save(root / "images" / "dark" / f"{number}.png", 800, number)
        save(root / "images" / "bright" / f"{number}.png", 3500, 100 + number)
    table = scanning.load(root / "images", 20, 20).images
    photos = ImageFolder.of(root / "images", table)
    loaded = features.load(backbone, photos, table)
    known = loaded.table
    (head,), _ = trainer.train(loaded.matrix, known["label"], known["split"], [heads.HeadSettings(300)])
    exporting.export(root / "model", backbone, head, levels=photos.levels)
    return root / "model", photos


@pytest.mark.parametrize("file", ["model.tflite", "saved_model.pb", "graph"])
def test_an_export_labels_16_bit_images_as_it_has_learnt_them(exported, tmp_path, file):
    model, photos = exported
    stated = json.loads((model / "contract.json").read_text())
    assert stated["levels"] == {"integer": [0, 4095]} and contracts.read(model).levels == photos.levels
    labeler = label_image.load(model / "output_graph.pb") if file == "graph" else labelers.load(model / file)
    assert labeler.levels == photos.levels
    images = {label: save(tmp_path / f"{label}.png", mean, 7) for label, mean in (("dark", 800), ("bright", 3500))}
    table, problems = answering.label(labeler, list(images.values()), top=1)
    assert not problems and table["label"].tolist() == list(images) and (table["probability"] > 0.9).all()
    pixels, said = labeler.read(images["dark"])
    assert said == "" and pixels.mean() == pytest.approx(800 / 4095 * 255, abs=1)
    assert np.array_equal(pixels, labeler.read(images["dark"].read_bytes(), "dark.png")[0])


def test_an_image_of_a_kind_that_was_not_learnt_is_scaled_by_its_own_and_that_is_said(exported, tmp_path):
    model = shutil.copytree(exported[0], tmp_path / "model")
    stated = json.loads((model / "contract.json").read_text())
    del stated["seal"]
    (model / "contract.json").write_text(json.dumps(stated | {"levels": {"floating": [0, 1]}}))
    labeler, dark = labelers.load(model), save(tmp_path / "dark.png", 800, 7)
    pixels, said = labeler.read(dark)
    assert np.array_equal(pixels, read_pixels(dark, labeler.image_size, OWN)) and pixels.mean() > 190
    assert said == "it holds uint16 values, and the model knows no scale for those: it is scaled by its own"
    Image.fromarray(np.full((40, 48, 3), 90, np.uint8)).save(tmp_path / "eight.png")
    assert labeler.read(tmp_path / "eight.png")[1] == ""
    with pytest.raises(RetrainLabError, match="the file does not exist"):
        labeler.read(tmp_path / "none.png")


@pytest.mark.parametrize("levels", [None, [0, 1], {"integer": [9, 9]}, {"integer": "x"}, {"colour": [0, 1]}])
def test_a_contract_with_levels_of_another_shape_is_said(exported, tmp_path, levels):
    model = shutil.copytree(exported[0], tmp_path / "model")
    stated = json.loads((model / "contract.json").read_text())
    del stated["seal"]
    (model / "contract.json").write_text(json.dumps(stated | {"levels": levels}))
    with pytest.raises(RetrainLabError, match=r"contract.json' is not what an export writes"):
        labelers.load(model)


def test_a_saved_model_alone_carries_the_scale_too(backbone, trained, tmp_path):
    exporting.write_saved_model(tmp_path / "model", backbone, trained["head"], levels=Levels(None, (-1, 1)))
    assert labelers.load(tmp_path / "model").levels == Levels(None, (-1, 1))


def test_an_image_brighter_than_all_that_was_learnt_is_said(tmp_path):
    dark, bright = (Image.fromarray(np.full((8, 8), value, np.uint16)) for value in (3000, 30000))
    dark.save(tmp_path / "dark.png"), bright.save(tmp_path / "bright.png")
    labeler = labelers.Labeler(["a"], (8, 8), lambda pixels: np.float32([1]), levels=Levels((0, 4095)))
    assert labeler.read(tmp_path / "dark.png")[1] == ""
    pixels, said = labeler.read(tmp_path / "bright.png")
    assert said == "its values reach 30,000, and all from 4,095 up is white to the model" and (pixels == 255).all()
