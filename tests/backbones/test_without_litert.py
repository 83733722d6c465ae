"""A module with an operation that LiteRT lacks: TensorFlow runs it, all the way from images to answers."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_folder
from PIL import Image

from retrainlab.backbones import registry
from retrainlab.bottlenecks import features
from retrainlab.cli.main import main
from retrainlab.errors import RetrainLabError
from retrainlab.export import exporting
from retrainlab.images import scanning
from retrainlab.labeling import answering, labelers
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training import classifier, heads, trainer
from retrainlab.trust import guard


def save(folder, function):
    """A callable module without weights, of images of 8 x 8."""
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.__call__ = tf.function(function, input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
    tf.saved_model.save(saved, str(folder))
    return str(folder)


def colours_and_determinant(images):
    import tensorflow as tf

    return tf.concat([tf.linalg.det(3 * images[..., 0])[:, None], tf.reduce_mean(images, [1, 2])], 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return save(tmp_path_factory.mktemp("module") / "determinant", colours_and_determinant)


@pytest.fixture(scope="module")
def unlike(made, bottleneck_dir):
    return registry.resolve(made, bottleneck_dir)


@pytest.fixture(scope="module")
def loaded(photos, unlike):
    return features.load(unlike, ImageFolder(photos), scanning.load(photos, 20, 20).images)


@pytest.fixture(scope="module")
def exported(loaded, tmp_path_factory):
    """(folder, what is said of it, the classifier), asked for in 8 bits as well."""
    known = loaded.table["label"], loaded.table["split"]
    (head,), history = trainer.train(loaded.matrix, *known, [heads.HeadSettings(300)])
    made = classifier.Classifier.of(loaded, head, history, [head.settings])
    folder = tmp_path_factory.mktemp("export") / "model"
    return folder, exporting.export_classifier(folder, made, guard.of(made), "final_result", int8=True), made


def test_its_numbers_are_tensorflows_on_any_thread(unlike):
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    expected = colours_and_determinant(tf.constant(pixels, tf.float32) / 255).numpy()
    with ThreadPoolExecutor(4) as pool:
        found = np.concatenate([*pool.map(unlike.bottlenecks, pixels[:, None])])
    assert found.dtype == np.float32 and found == pytest.approx(expected, abs=1e-5)
    assert (unlike.folder / "backbone.pb").exists() and not (unlike.folder / "backbone.tflite").exists()


def test_who_runs_it_and_what_that_costs_is_said(unlike, backbone, loaded):
    assert unlike.no_litert == "LiteRT lacks MatrixDeterminant" and not backbone.no_litert
    assert (unlike.record["runtime"], backbone.record["runtime"]) == ("TensorFlow on the CPU", "LiteRT on the CPU")
    said = f"LiteRT lacks MatrixDeterminant, so TensorFlow runs the network, on the CPU: {loaded.milliseconds} ms an"
    assert loaded.milliseconds > 0 and said in str(loaded)


def test_it_is_opened_again_and_made_again_where_it_was_damaged(made, tmp_path):
    first = registry.resolve(made, tmp_path)
    file, pixels = first.folder / "backbone.pb", np.full((1, 8, 8, 3), 50, np.uint8)
    whole, changed = file.read_bytes(), file.stat().st_mtime_ns
    assert registry.resolve(made, tmp_path) == first and file.stat().st_mtime_ns == changed
    for damaged in (b"", whole[: len(whole) // 2], b"nonsense"):
        file.write_bytes(damaged)
        again = registry.resolve(made, tmp_path)
        assert again.no_litert and np.array_equal(again.bottlenecks(pixels), first.bottlenecks(pixels))


def test_what_is_derived_of_it_runs_so_too(made, unlike, bottleneck_dir):
    both = registry.resolve(made, bottleneck_dir, average_views=True)
    pixels = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    expected = (unlike.bottlenecks(pixels) + unlike.bottlenecks(pixels[:, :, ::-1])) / 2
    assert both.no_litert == unlike.no_litert and both.bottlenecks(pixels) == pytest.approx(expected, abs=1e-5)


def test_an_image_on_which_it_fails_is_named_and_the_others_are_kept(tmp_path):
    import tensorflow as tf

    inverse = save(
        tmp_path / "inverse", lambda x: tf.reshape(tf.linalg.inv(tf.linalg.diag(tf.reduce_mean(x, [1, 2]))), [-1, 9])
    )
    folder = make_folder(tmp_path / "photos", {"a": 3, "b": 3})
    Image.new("RGB", (9, 9)).save(folder / "a" / "black.png")
    table = scanning.load(folder, 20, 20).images
    found = features.load(registry.resolve(inverse, tmp_path / "cache"), ImageFolder(folder), table)
    assert len(found.table) == 6 and found.matrix.shape == (6, 9)
    problems = found.extractions[0].problems
    assert problems == {"a/black.png": "the network fails on it: Input is not invertible."}


def test_a_module_that_gives_other_numbers_each_time_is_refused(tmp_path):
    import tensorflow as tf

    made = save(tmp_path / "module", lambda x: tf.reduce_mean(x, [1, 2]) + tf.random.normal([1, 3]))
    with pytest.raises(
        RetrainLabError, match=r"gives other features each time \(they differ by up to .*cannot be used"
    ):
        registry.resolve(made, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/backbone*"))


def test_the_export_leaves_out_litert_and_says_so(exported):
    folder, told, _ = exported
    assert str(told).startswith(
        "LiteRT lacks MatrixDeterminant, so model.tflite and model_int8.tflite cannot be written"
    )
    assert set(told.numbers) == {"SavedModel", "frozen graph", "trust"} and not list(folder.glob("*.tflite"))
    assert {path.suffix for path in (folder / "trust").glob("backbone.*")} == {".pb"}
    assert not any(name.endswith(".tflite") for name in json.loads((folder / "contract.json").read_text())["files"])


def test_the_export_answers_with_opinions_as_the_classifier_does(exported, photos):
    folder, _, made = exported
    rows = made.features.table.index[::15]
    expected = made.head.logits(made.features.matrix[rows])
    expected = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    paths = [photos / path for path in made.features.table["path"][rows]]
    for file in ("", "saved_model.pb", "output_graph.pb"):
        labeler = labelers.load(folder / file)
        table, problems = answering.label(labeler, paths, top=3)
        assert not problems and (labeler.guarded is not None) == (file == "")
        found = table.pivot_table(index="path", columns="label", values="probability", sort=False)[made.head.labels]
        assert found.to_numpy() == pytest.approx(expected, abs=1e-5), file
    done = CliRunner().invoke(main, ["label", "--model", str(folder), str(paths[0]), "--csv"])
    assert done.exit_code == 0 and made.head.labels[expected[0].argmax()] in done.stdout


def test_a_damaged_network_of_the_export_is_said(exported, tmp_path):
    model = shutil.copytree(exported[0], tmp_path / "model")
    (model / "trust" / "backbone.pb").write_bytes(b"nonsense")
    with pytest.raises(RetrainLabError, match=r"backbone.pb' is not the file that was exported"):
        labelers.load(model)


def test_8_bits_that_cannot_be_had_are_no_error(exported, photos):
    folder, _, made = exported
    told = answering.compare_int8(folder, made.features.table, photos, True)
    assert not told and "LiteRT cannot run this network" in str(told)
