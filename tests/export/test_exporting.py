import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_image

from retrainlab.errors import RetrainLabError
from retrainlab.export import contracts, exporting, formats
from retrainlab.files import replacing_folder
from retrainlab.labeling import answering, labelers
from retrainlab.pixels.decoding import read_pixels
from retrainlab.training import heads, trainer


@pytest.fixture(scope="module", params=[0, 7], ids=["softmax layer", "hidden layer"])
def exported(request, backbone, trained, tmp_path_factory):
    table = trained["table"]
    settings = heads.HeadSettings(300, hidden_units=request.param)
    (head,), _ = trainer.train(trained["features"], table["label"], table["split"], [settings])
    folder = tmp_path_factory.mktemp("export") / "model"
    sizes = exporting.export(folder, backbone, head, "my_result")
    return folder, head, sizes


def test_all_formats_agree_with_the_head_on_the_same_images(exported, photos, trained, backbone):
    folder, head, sizes = exported
    paths = [photos / path for path in trained["table"]["path"][::9]]
    logits = head.logits(trained["features"][::9])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for file in ("", "model.tflite", "saved_model.pb", "output_graph.pb"):
        labeler = labelers.load(folder / file)
        table, problems = answering.label(labeler, paths, top=3)
        assert not problems and labeler.labels == head.labels
        found = table.pivot_table(index="path", columns="label", values="probability", sort=False)[head.labels]
        assert found.to_numpy() == pytest.approx(expected, abs=1e-5), file
    assert sizes["LiteRT"] == (folder / "model.tflite").stat().st_size
    assert not [p for p in folder.parent.iterdir() if p != folder]  # nothing half done is left behind


def test_the_files_are_those_of_retrain_py(exported):
    import tensorflow as tf

    folder, head, _ = exported
    assert (folder / "output_labels.txt").read_text().splitlines() == head.labels
    graph = tf.compat.v1.GraphDef.FromString((folder / "output_graph.pb").read_bytes())
    operations = {node.name: node.op for node in graph.node}
    assert operations["Placeholder"] == "Placeholder" and operations["my_result"] == "Softmax"
    contract = json.loads((folder / "contract.json").read_text())
    assert contract["output"] == "my_result" and contract["labels"] == head.labels


def test_the_saved_model_serves_pixels_and_files(exported, tmp_path):
    import tensorflow as tf

    folder, _, _ = exported
    make_image(5, 1, (90, 70)).save(tmp_path / "a.png")
    make_image(6, 2, (50, 80)).convert("L").save(tmp_path / "b.png")
    signatures = tf.saved_model.load(str(folder)).signatures
    pixels = np.stack([read_pixels(tmp_path / name, (32, 32)) for name in ("a.png", "b.png")])
    from_pixels = signatures["serving_default"](image=tf.constant(pixels / 255, tf.float32))["prediction"].numpy()
    files = tf.constant([(tmp_path / name).read_bytes() for name in ("a.png", "b.png")])
    from_files = signatures["image_bytes"](image_bytes=files)["prediction"].numpy()
    assert from_pixels.sum(axis=1) == pytest.approx([1, 1])
    assert from_files == pytest.approx(from_pixels, abs=0.01)  # resized by TensorFlow instead of Pillow


def test_tf2onnx_converts_the_saved_model(backbone, trained, tmp_path):
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    exporting.export(tmp_path / "model", backbone, trained["head"])
    command = ["-m", "tf2onnx.convert", "--saved-model", "model", "--output", "model.onnx"]  # as the README gives it
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    contract = contracts.read(tmp_path / "model")
    for name, expected in contract.reference.items():
        pixels = contract.preprocessing(read_pixels(tmp_path / "model" / name))
        (found,) = session.run(["prediction"], {"image": pixels})[0]
        assert found == pytest.approx([expected[label] for label in contract.labels], abs=1e-4)


def test_a_new_export_replaces_the_old_one_as_a_whole(backbone, trained, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "left over").touch()
    exporting.export(folder, backbone, trained["head"])
    assert not (folder / "left over").exists() and (folder / "saved_model.pb").exists()


def test_a_bad_image_among_good_ones(exported, photos, tmp_path):
    folder, _, _ = exported
    (tmp_path / "bad.jpg").write_text("no image")
    good = next(photos.glob("red/*.png"))
    table, problems = answering.label(labelers.load(folder), [tmp_path / "bad.jpg", good, tmp_path / "none.png"], 1)
    assert table["path"].tolist() == [str(good)]
    assert problems == {
        str(tmp_path / "bad.jpg"): "not an image in any format that can be read; convert it to JPEG, PNG or TIFF",
        str(tmp_path / "none.png"): "the file does not exist",
    }


def test_what_is_no_model_is_said(exported, tmp_path):
    folder, _, _ = exported
    with pytest.raises(RetrainLabError, match="No model at"):
        labelers.load(tmp_path / "none")
    with pytest.raises(RetrainLabError, match=r"no readable contract.json"):
        labelers.load(tmp_path)
    with pytest.raises(RetrainLabError, match=r"contract.json' is no model"):
        labelers.load(folder / "contract.json")


def test_eight_bits_label_nearly_as_the_float_model_does(exported, backbone, photos, trained, tmp_path):
    _, head, _ = exported
    paths = [photos / path for path in trained["table"]["path"]]
    pixels = np.stack([read_pixels(path, (32, 32)) for path in paths])
    sizes = exporting.export(tmp_path / "model", backbone, head, representative=pixels[::2])
    facts, correct = answering.measure(tmp_path / "model" / "model_int8.tflite", paths, trained["table"]["label"])
    _, expected = answering.measure(tmp_path / "model" / "model.tflite", paths, trained["table"]["label"])
    assert correct.mean() >= expected.mean() - 0.05 and facts["accuracy"] == correct.mean()
    assert sizes["LiteRT, int8"] == (tmp_path / "model" / "model_int8.tflite").stat().st_size


def test_a_layer_is_corrected_for_features_that_are_shifted_and_shrunk():
    random = np.random.default_rng(0)
    wanted = random.normal(2, 1, (300, 20)).astype(np.float32)
    found = wanted * random.uniform(0.5, 1, 20) + random.uniform(-1, 1, 20)
    kernel, bias = random.normal(size=(20, 3)), random.normal(size=3)
    new, shifted = formats._corrected(kernel, bias, found, wanted)
    assert found @ new + shifted == pytest.approx(wanted @ kernel + bias, abs=0.02)


def test_the_head_is_read_back(exported, backbone, tmp_path):
    folder, head, _ = exported
    again = exporting.load_head(folder, backbone)
    assert again.labels == head.labels and again.settings == head.settings
    assert np.array_equal(again.kernel, head.kernel) and (again.hidden is None) == (head.hidden is None)
    with pytest.raises(RetrainLabError, match="no head to start from"):
        exporting.load_head(tmp_path, backbone)


def test_a_cooled_head_is_read_back_with_its_temperature(exported, backbone, trained, tmp_path):
    _, head, _ = exported
    folder = tmp_path / "model"
    exporting.export(folder, backbone, head.calibrated(0.14))
    again = exporting.load_head(folder, backbone)
    assert again.temperature == pytest.approx(0.14)
    features, table = trained["features"], trained["table"]
    assert again.logits(features) == pytest.approx(head.logits(features) / 0.14, rel=1e-4, abs=1e-3)
    began = []
    for start in (head, again):
        _, history = trainer.train(features, table["label"], table["split"], [head.settings], [], start=start)
        began.append(history["cross_entropy"].to_numpy())
    assert began[1] == pytest.approx(began[0], abs=1e-4)


def test_a_head_that_was_cut_off(exported, backbone, tmp_path):
    shutil.copytree(exported[0], tmp_path / "model")
    content = (tmp_path / "model" / "head.npz").read_bytes()
    (tmp_path / "model" / "head.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(RetrainLabError, match=r"head.npz' is not the file that was exported"):
        exporting.load_head(tmp_path / "model", backbone)
    (tmp_path / "model" / "head.npz").unlink()
    with pytest.raises(RetrainLabError, match="holds no head to start from"):
        exporting.load_head(tmp_path / "model", backbone)


def test_what_a_head_has_learnt_from_is_known_whatever_becomes_of_the_images(backbone, trained, tmp_path):
    with pytest.raises(RetrainLabError, match="model' holds no head to start from"):
        exporting.read_learnt(tmp_path / "model")
    exporting.export(tmp_path / "model", backbone, trained["head"], learnt=["3", "1"])
    assert exporting.read_learnt(tmp_path / "model") == {"1", "3"}
    (tmp_path / "model" / "learnt.txt").write_text("1\n")
    with pytest.raises(RetrainLabError, match=r"learnt.txt' is not the file that was exported"):
        exporting.read_learnt(tmp_path / "model")


@pytest.mark.parametrize("place", [".", "link"])
def test_a_saved_model_is_written_where_a_link_or_a_dot_leads(backbone, trained, tmp_path, monkeypatch, place):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real" if place == "." else tmp_path)
    with replacing_folder(Path(place)) as aside:
        exporting.write_saved_model(aside, backbone, trained["head"])
    assert (tmp_path / "real" / "saved_model.pb").exists() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
