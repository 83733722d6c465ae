"""Maps show where a label comes from: at a square that moves; and an export judges its own answers, anywhere."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import save_convolutions
from PIL import Image

from retrainlab import sealing
from retrainlab.backbones import derived, registry
from retrainlab.bottlenecks.features import load
from retrainlab.cli.main import main
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores
from retrainlab.evaluation.thresholds import Threshold
from retrainlab.export import contracts, exporting
from retrainlab.images import scanning
from retrainlab.labeling import asking, explaining, guarding, labelers, labelled, streaming
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training import solver
from retrainlab.training.heads import HeadSettings
from retrainlab.trust import guard as guards

SIDE, SQUARE = 64, 14


def picture(label, random):
    """Noise, and on it a red or a green square; returns where it is, too."""
    pixels = random.normal(128, 12, (SIDE, SIDE, 3))
    y, x = random.integers(0, SIDE - SQUARE, 2)
    pixels[y : y + SQUARE, x : x + SQUARE] += [60, -60, 0] if label == "red" else [-60, 60, 0]
    return np.clip(pixels, 0, 255).astype(np.uint8), (y, x)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder of an export, images with the place of their square, its image folder)."""
    place, random = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for label in ("green", "red"):
        (place / "images" / label).mkdir(parents=True)
        for number in range(120):
            Image.fromarray(picture(label, random)[0]).save(place / "images" / label / f"{number}.png")
    plain = registry.resolve(
        save_convolutions(place / "module", {"first": (5, 5, 3, 12), "second": (3, 3, 12, 24)}, SIDE), place / "cache"
    )
    images = scanning.load(place / "images", 20, 30).images
    features = load(derived.reading(plain, "all"), ImageFolder.of(place / "images", images), images)
    table = features.table
    settings = HeadSettings(weight_decay=0.01)
    (head,) = solver.solve(features.matrix, table["label"], table["split"].to_numpy(object), [settings])
    predicted = scores.predictions(table, head.logits(features.matrix), head.labels)
    guard = guards.learn(features.matrix, table, predicted, head.labels)
    maps = derived.maps(plain, "all")
    exporting.export(place / "model", features.backbone, head, guard=guard, maps=maps)
    return place / "model", features, predicted, head


def test_the_layer_has_learnt_something(made):
    _, _, predicted, _ = made
    test = predicted[predicted["split"] == "test"]
    assert (test["label"] == test["predicted"]).mean() > 0.9


def test_maps_point_at_the_square(made):
    model, _, _, head = made
    explainer, random = explaining.load(model), np.random.default_rng(7)
    hits, chance = [], []
    for number in range(60):
        label = head.labels[number % 2]
        pixels, (y, x) = picture(label, random)
        for found, maps in ((hits, explainer.maps), (chance, explainer.of_chance)):
            values = maps(pixels[None], [number % 2])[0]
            row, column = np.unravel_index(values.argmax(), values.shape)
            near = 4  # pixels: a place of the last map stands for as many
            found.append(y - near <= row <= y + SQUARE + near and x - near <= column <= x + SQUARE + near)
        assert values.shape == (SIDE, SIDE) and values.min() >= 0 and values.max() == pytest.approx(1)
    assert np.mean(hits) >= 0.95, (np.mean(hits), np.mean(chance))


def test_what_places_add_is_what_the_layer_adds_up(made):
    model, features, _, head = made
    explainer = explaining.load(model)
    pixels = features.photos.read_many(features.table["path"].head(3), (SIDE, SIDE))
    along = (head.kernel[:, 1] - head.kernel.mean(axis=1)).astype(np.float32)
    for image, bottleneck in zip(pixels, features.matrix, strict=False):
        added = explainer.parts(explainer.preprocessing(image), along[None])
        assert sum(float(each.sum()) for each in added) == pytest.approx(float(bottleneck @ along), abs=1e-3)


def test_an_image_without_anything_has_an_empty_map(made):
    model, _, _, _ = made
    grey = np.full((1, SIDE, SIDE, 3), 128, np.uint8)
    values = explaining.load(model).maps(grey, [0])
    assert np.isfinite(values).all() and values.min() >= 0


def test_an_export_says_what_its_answers_are_worth_without_the_images(made, tmp_path):
    model, features, predicted, head = made
    moved = shutil.copytree(model, tmp_path / "moved")
    labeler = labelers.load(moved)
    test = np.flatnonzero(features.table["split"] == "test")
    paths = {path: features.photos.root / path for path in features.table["path"].iloc[test]}
    answers = list(streaming.answers(labeler, paths))
    for row, answer in zip(test, answers, strict=True):
        chances = dict(answer.labels)
        assert max(chances, key=chances.get) == predicted["predicted"].iloc[row]
        assert answer.labels[0][1] == pytest.approx(predicted["probability"].iloc[row], abs=1e-4)
        assert answer.opinion.said in (*head.labels, "unsure") and len(answer.opinion.nearest) == 3
    assert np.mean([answer.opinion.unlike for answer in answers]) < 0.2
    assert labeler.guarded.guard.differs([answer.opinion for answer in answers]) > 0.01
    noise = np.random.default_rng(0).integers(0, 256, (30, SIDE, SIDE, 3)).astype(np.uint8)
    odd = [labeler.guarded.judge(image)[1] for image in noise]
    assert np.mean([each.unlike for each in odd]) > 0.9
    warned = labeler.guarded.guard.warnings(odd)
    assert "are unlike those that it was trained on" in warned and "differ from those that it was judged by" in warned


@pytest.mark.parametrize("asked", [{"cost_of_a_miss": 50.0}, {"wanted_recall": 0.9}], ids=["a cost", "a recall"])
def test_a_threshold_is_kept_and_said(made, tmp_path, asked):
    model, features, _predicted, head = made
    guard = replace(guards.load(model / "trust"), threshold=Threshold("red", 0.01, **asked))
    exporting.export(tmp_path / "model", features.backbone, head, guard=guard)
    labeler = labelers.load(tmp_path / "model")
    again = labeler.guarded.guard
    assert again.threshold == guard.threshold and "It says 'red' from a probability of 1.0% on" in labeler.note
    chances = np.array([[0.985, 0.015], [0.995, 0.005]], np.float32)
    assert [each.said for each in again.opinions(features.matrix[:2], chances)] == ["red", "green"]
    alone = labelers.load(tmp_path / "model" / "model.tflite")
    assert "model.tflite alone says the most probable label: name its folder." in alone.note


def test_an_image_is_read_once_to_be_labelled_and_explained(made, monkeypatch, tmp_path):
    model, features, _, _ = made
    labeler, read = labelers.load(model), []
    paths = [features.photos.root / path for path in features.table["path"].head(3)]
    first, second, third, none = streaming.answers(labeler, streaming.sources([*paths, "none.png"]), 1, True)
    for path, answer in zip(paths, (first, second, third), strict=True):
        assert (answer.pixels == labeler.read(path)[0]).all()
    assert none.problem and none.pixels is None
    assert next(streaming.answers(labeler, streaming.sources(paths))).pixels is None
    opened = labelers.open_image
    monkeypatch.setattr(labelers, "open_image", lambda *given: read.append(given) or opened(*given))
    why = str(tmp_path / "why")
    done = CliRunner().invoke(main, ["label", "--model", str(model), *map(str, paths), "--explain", why])
    assert done.exit_code == 0 and len(read) == 3


def test_maps_never_take_the_place_of_images(made, tmp_path):
    model, features, _, _ = made
    image = tmp_path / "photo.png"
    shutil.copy(features.photos.root / features.table["path"].iloc[0], image)
    before = image.read_bytes()
    done = CliRunner().invoke(main, ["label", "--model", str(model), str(image), "--explain", str(tmp_path)])
    assert done.exit_code == 0 and image.read_bytes() == before
    assert (tmp_path / "photo.png.map.png").exists()


def test_the_command_says_it_and_draws_it(made, tmp_path):
    model, features, _, _ = made
    image = features.photos.root / features.table["path"].iloc[0]
    done = CliRunner().invoke(main, ["label", "--model", str(model), str(image), "--explain", str(tmp_path / "why")])
    assert done.exit_code == 0, done.output
    assert "says: " in done.stdout and "most like " in done.stdout
    assert Image.open(tmp_path / "why" / f"{image.name}.map.png").size == (SIDE, SIDE)
    done = CliRunner().invoke(main, ["label", "--model", str(model), str(image), "--json"])
    opinion = json.loads(done.stdout)["opinion"]
    assert set(opinion) == {"says", "labels", "unlike", "strangeness", "nearest"} and len(opinion["nearest"]) == 3
    file = tmp_path / "new.csv"
    for expected in ("", "has them all already"):
        done = CliRunner().invoke(main, ["label", "--model", str(model), str(image), "--output", str(file)])
        assert expected in done.stderr
    assert pd.read_csv(file)["says"].iloc[0] == opinion["says"]
    done = CliRunner().invoke(main, ["label", "--model", str(model / "model.tflite"), str(image), "--explain", "x"])
    assert done.exit_code == 1 and "--explain goes with --model and a run's model folder" in done.stderr


def test_a_damaged_guard_and_a_model_without_maps(made, tmp_path):
    model, _, _, _ = made
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "trust" / "guard.npz").write_bytes(b"x")
    with pytest.raises(RetrainLabError, match=r"guard.npz' is not the file that was exported"):
        labelers.load(folder)
    shutil.rmtree(folder / "trust")
    assert guarding.load(folder, contracts.Preprocessing()) is None and labelers.load(folder).guarded is None
    contract = json.loads((folder / "contract.json").read_text())
    (folder / "contract.json").write_text(sealing.json_text(contract | {"maps": []}))
    with pytest.raises(RetrainLabError, match="cannot say where a label comes from"):
        explaining.load(folder)


def test_what_to_label_next_is_written_and_shown(made, tmp_path):
    model, features, _, _ = made
    labeler, file = labelers.load(model), tmp_path / "to_label.csv"
    told = asking.to_label(labeler, features.photos.root, file)
    written = pd.read_csv(file)
    assert list(written.columns) == ["path", "label", "predicted", "probability", "unlike", "seen"]
    assert written["path"].is_unique and set(written["predicted"]) == {"green", "red"} and told.plot().axes
    assert written["label"].isna().all()
    learnt = (features.table["split"] == "train").sum()
    new = 240 - learnt
    assert str(told) == (
        f"Of {new} images, to_label.csv in the run's folder has the {new} to label first. {learnt} more are among "
        "those of this run and have a label."
    )
    assert len(written) == new and written["seen"].min() > 0.02
    labelled.give(file, written["path"][3], "red")
    again = asking.to_label(labeler, features.photos.root, file)
    assert "1 of those to label have a label by now." in str(again)
    assert labelled.read(file)["label"].tolist() == ["", "", "", "red"] + [""] * (new - 4)


def test_images_that_have_a_label_are_not_asked_for(made, tmp_path):
    model, features, _, _ = made
    labeler, file = labelers.load(model), tmp_path / "to_label.csv"
    test = features.table[features.table["split"] == "test"]
    told = asking.to_label(labeler, features.photos.root, file, test["sha256"])
    assert not set(pd.read_csv(file)["path"]) & {str(features.photos.root / path) for path in test["path"]}
    told = asking.to_label(labeler, features.photos.root, file, features.table["sha256"])
    assert not told and "All 240 images" in str(told) and "with a label" in str(told)


def test_what_a_threshold_says_is_explained(made, tmp_path):
    model, features, _, head = made
    early = replace(guards.load(model / "trust"), threshold=Threshold("red", 0.0, 50.0))
    exporting.export(tmp_path / "model", features.backbone, head, guard=early)
    green = features.table["path"][features.table["label"] == "green"].iloc[0]
    for folder, said in ((model, "green"), (tmp_path / "model", "red")):
        labeler = labelers.load(folder)
        (answer,) = streaming.answers(labeler, streaming.sources([features.photos.root / green]), 1)
        assert explaining.shown(labeler, *answer.labels[0]) == said == answer.opinion.said
    assert exporting.load_guard(tmp_path / "model").threshold == early.threshold


def test_nothing_to_label(made, tmp_path):
    model, _, _, _ = made
    labeler, file = labelers.load(model), tmp_path / "to_label.csv"
    assert str(asking.to_label(labeler, "", file)) == "" and not file.exists()
    (tmp_path / "empty").mkdir()
    told = asking.to_label(labeler, tmp_path / "empty", file)
    assert not told and "has nothing to label: the folder holds no images" in str(told) and not file.exists()
    told = asking.to_label(labelers.load(model / "model.tflite"), tmp_path / "empty", file)
    assert not told and "carries no guard" in str(told)
