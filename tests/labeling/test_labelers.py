"""An export keeps its contract, or `label` says what is wrong with it; label_image.py's users are served, too."""

import json
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_image, save_module
from PIL import Image

from retrainlab.backbones import registry
from retrainlab.cli.main import main
from retrainlab.errors import RetrainLabError
from retrainlab.export import contracts, exporting
from retrainlab.labeling import answering, label_image, labelers
from retrainlab.pixels.decoding import read_pixels
from retrainlab.training import heads


@pytest.fixture(scope="module")
def exported(backbone, trained, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labeling") / "model"
    pixels = np.stack([read_pixels(photos / path, (32, 32)) for path in trained["table"]["path"][:20]])
    exporting.export(folder, backbone, trained["head"], representative=pixels)
    return folder


@pytest.fixture
def model(exported, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(exported, tmp_path / "model")


@pytest.fixture
def image(photos):
    return next(photos.glob("green/*.png"))


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, ["label", *(str(argument) for argument in arguments)])


def change(folder, *others, **values):
    """Change what a contract says, as a person does: without its seal, and without the files that are others now."""
    path = folder / "contract.json"
    stated = json.loads(path.read_text())
    stated.pop("seal", None)
    for name in others:
        del stated["files"][name]
    path.write_text(json.dumps(stated | values))


def rewire(file, feed):
    """Put something before the input of our frozen graph: a graph that wants other pixels."""
    import tensorflow as tf

    definition, graph = tf.compat.v1.GraphDef.FromString(file.read_bytes()), tf.Graph()
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, 32, 32, 3], "Placeholder")
        wired = {"Placeholder:0": feed(images)}
        (chances,) = tf.import_graph_def(definition, wired, ["final_result:0"], name="inner")
        tf.identity(chances, name="final_result")
    file.write_bytes(graph.as_graph_def().SerializeToString())


# --------------------------------------------------------------------------------------------- the contract


def test_every_export_carries_reference_images_and_what_to_expect(exported, backbone, trained):
    stated = json.loads((exported / "contract.json").read_text())
    assert len(stated["reference"]) == 3
    for entry in stated["reference"]:
        with Image.open(exported / entry["image"]) as image:
            pixels = np.asarray(image)
        assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
        assert np.abs(pixels[..., 0].astype(int) - pixels[..., 2]).mean() > 1  # red and blue are told apart
        logits = trained["head"].logits(backbone.bottlenecks(pixels[None]))[0]
        chances = np.exp(logits) / np.exp(logits).sum()
        assert list(entry["probabilities"]) == trained["head"].labels
        assert list(entry["probabilities"].values()) == pytest.approx(chances, abs=1e-5)
        assert chances.max() < 0.9  # it wavers: mistakes show
    files = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert set(stated["files"]) == files - {"contract.json"}


def test_reference_images_are_the_same_every_time(backbone, trained, tmp_path):
    exporting.export(tmp_path / "a", backbone, trained["head"])
    exporting.export(tmp_path / "b", backbone, trained["head"])
    for number in (1, 2, 3):
        assert (tmp_path / f"a/reference/{number}.png").read_bytes() == (
            tmp_path / f"b/reference/{number}.png"
        ).read_bytes()


def test_reference_images_of_a_head_that_knows_one_answer_only(exported, backbone, trained, tmp_path):
    sure = heads.Head(
        trained["head"].labels, trained["head"].settings, trained["head"].kernel * 0, np.float32([9, 0, 0])
    )
    exporting.export(tmp_path / "model", backbone, sure)
    labeler = labelers.load(tmp_path / "model")
    assert labeler.probabilities(np.zeros((32, 32, 3), np.uint8)).argmax() == 0


@pytest.mark.parametrize("file", ["", "model.tflite", "saved_model.pb", "output_graph.pb"])
def test_every_format_keeps_the_contract(exported, image, file):
    table, problems = answering.label(labelers.load(exported / file), [image])
    assert table["label"][0] == "green" and not problems


@pytest.mark.parametrize(
    ("low", "high", "channels"), [(-1, 1, "RGB"), (0, 255, "RGB"), (0, 1, "BGR"), (-1, 1, "BGR"), (0, 255, "BGR")]
)
def test_which_preprocessing_would_have_fitted_is_said_and_can_be_stated(model, image, low, high, channels):
    file = model / "output_graph.pb"
    rewire(file, lambda x: (x[..., ::-1] if channels == "BGR" else x) / (high - low) - low / (high - low))
    with pytest.raises(RetrainLabError, match=r"output_graph.pb' is not the file that was exported"):
        labelers.load(file)
    change(model, "output_graph.pb")
    with pytest.raises(RetrainLabError) as error:
        labelers.load(file)
    assert "output_graph.pb', fed with pixels from 0 to 1 in RGB order, does not give the prob" in str(error.value)
    assert f"They fit with pixels from {low} to {high} in {channels} order" in str(error.value)
    change(model, input_range=[low, high], channels=channels)
    table, _ = answering.label(labelers.load(file), [image])
    assert table["label"][0] == "green"


def test_a_model_of_another_size(model):
    change(model, image_size=[48, 40])
    for file in ("model.tflite", "saved_model.pb", "output_graph.pb"):
        with pytest.raises(RetrainLabError, match=r"takes images of 32 x 32 pixels .* contract.json states 48 x 40"):
            labelers.load(model / file)


def test_labels_in_another_order(model):
    labels = json.loads((model / "contract.json").read_text())["labels"]
    change(model, labels=labels[::-1])
    with pytest.raises(
        RetrainLabError, match=r"output_labels.txt' lists the labels in another order than contract.json"
    ):
        labelers.load(model)
    (model / "output_labels.txt").write_text("\n".join(labels[::-1]))
    with pytest.raises(
        RetrainLabError, match=r"They fit with the labels in another order: blue, green, red\. Put back"
    ):
        labelers.load(model)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blue\nred\ngreen\n", "lists the labels in another order than"),
        ("blue\ngreen\n", r"lists the labels otherwise \(2 of them\) than contract.json \(3 labels\)"),
        ("blue\ngreen\nyellow\n", "lists the labels otherwise"),
    ],
)
def test_a_labels_file_that_was_changed(model, text, said):
    (model / "output_labels.txt").write_text(text)
    with pytest.raises(RetrainLabError, match=said):
        labelers.load(model)


def test_other_line_ends_and_a_missing_labels_file_are_no_change(model):
    (model / "output_labels.txt").write_bytes(b"\xef\xbb\xbfblue\r\ngreen\r\nred\r\n\r\n")
    assert labelers.load(model).labels == ["blue", "green", "red"]
    (model / "output_labels.txt").unlink()
    assert labelers.load(model).labels == ["blue", "green", "red"]


def test_a_model_of_another_export(model, trained, tmp_path, bottleneck_dir):
    other = registry.resolve(str(save_module(tmp_path / "other", seed=1)), bottleneck_dir)
    exporting.export(tmp_path / "replaced", other, trained["head"])
    for name in ("model.tflite", "output_graph.pb"):
        shutil.copy(tmp_path / "replaced" / name, model / name)
        with pytest.raises(RetrainLabError, match=f"{name}' is not the file that was exported"):
            labelers.load(model / name)
        change(model, name)
        with pytest.raises(RetrainLabError, match=f"No usual range.* {name} is not of this export: write the contract"):
            labelers.load(model / name)
    two = heads.Head(["a", "b"], trained["head"].settings, trained["head"].kernel[:, :2], trained["head"].bias[:2])
    exporting.export(tmp_path / "replaced", other, two)
    shutil.copy(tmp_path / "replaced" / "model.tflite", model / "model.tflite")
    with pytest.raises(RetrainLabError, match=r"gives 2 probabilities, but contract.json lists 3 labels"):
        labelers.load(model)


@pytest.mark.parametrize("file", ["model.tflite", "saved_model.pb", "output_graph.pb", "model_int8.tflite"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_model_file_that_was_cut_off(model, file, kept):
    content = (model / file).read_bytes()
    (model / file).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(RetrainLabError, match=f"{file}' is not the file that was exported"):
        labelers.load(model / file)
    change(model, file)
    if kept == 0 or not file.endswith("int8.tflite"):
        with pytest.raises(RetrainLabError, match=r"no whole|is no frozen graph|can(not| not) be read"):
            labelers.load(model / file)


def test_damaged_weights(model, trained):
    kernel = trained["head"].kernel.astype("<f4")
    for file in (model / "saved_model.pb", model / "model.tflite"):
        part = model / "variables/variables.data-00000-of-00001" if file.suffix == ".pb" else file
        content = part.read_bytes()
        found = [raw for raw in (kernel.tobytes(), kernel.T.copy().tobytes()) if raw in content]
        part.write_bytes(content.replace(found[0], found[0][::-1]))
        with pytest.raises(RetrainLabError, match=f"{part.name}' is not the file that was exported"):
            labelers.load(file)


def test_a_damaged_graph_of_ours_is_no_graph_of_somebody_elses(call, model, image):
    rewire(model / "output_graph.pb", lambda x: x * 0.1)
    done = call("--graph", model / "output_graph.pb", image)
    assert done.exit_code == 1 and "output_graph.pb' is not the file that was exported: it was da" in done.output


def test_an_int8_model_is_held_to_its_content(model):
    assert labelers.load(model / "model_int8.tflite").labels == ["blue", "green", "red"]
    content = bytearray((model / "model_int8.tflite").read_bytes())
    name = content.index(b"image")  # the input's name: such a change does no harm, but it is one
    content[name : name + 5] = b"IMAGE"
    (model / "model_int8.tflite").write_bytes(content)
    with pytest.raises(RetrainLabError, match=r"model_int8.tflite' is not the file that was exported"):
        labelers.load(model / "model_int8.tflite")


def test_a_contract_that_was_changed(model):
    stated = json.loads((model / "contract.json").read_text())
    entries = [entry | {"probabilities": {"blue": 0.3, "green": 0.4, "red": 0.3}} for entry in stated["reference"]]
    change(model, reference=entries)
    with pytest.raises(RetrainLabError, match=r"The model is as it was exported, so contract.json was changed"):
        labelers.load(model)
    change(model, labels=["blue", "green", "yellow"])
    (model / "output_labels.txt").unlink()
    with pytest.raises(RetrainLabError, match="are not those of its reference images"):
        labelers.load(model)
    (model / "reference" / "2.png").unlink()
    change(model, labels=stated["labels"], reference=stated["reference"])
    with pytest.raises(RetrainLabError, match=r"reference/2.png' cannot be read \(No such file or dir"):
        labelers.load(model)
    change(model, "reference/2.png")
    with pytest.raises(RetrainLabError, match=r"reference image .*2.png' cannot be read: the file does not exist\."):
        labelers.load(model)
    assert stated.pop("seal")
    for text in (
        "{",
        "[]",
        "{}",
        json.dumps(stated | {"input_range": [1, 1]}),
        json.dumps(stated | {"channels": "HSV"}),
        json.dumps(stated | {"reference": []}),
    ):
        (model / "contract.json").write_text(text)
        with pytest.raises(RetrainLabError, match=r"contract.json' is not what an export writes"):
            labelers.load(model)


# --------------------------------------------------------------------------------------------- label_image.py's part


def test_a_tf1_client_reads_our_frozen_graph(exported, photos, trained):
    import tensorflow as tf

    paths = [photos / path for path in trained["table"]["path"][::9]]
    pixels = np.stack([read_pixels(path, (32, 32)) for path in paths])
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString((exported / "output_graph.pb").read_bytes()))
    with tf.compat.v1.Session(graph=graph) as session:
        feeds = {graph.get_operation_by_name("import/Placeholder").outputs[0]: pixels / np.float32(255)}
        found = session.run(graph.get_operation_by_name("import/final_result").outputs[0], feeds)
    logits = trained["head"].logits(trained["features"][::9])
    assert found == pytest.approx(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), abs=1e-5)
    labeler = labelers.load(exported)
    assert found == pytest.approx(np.stack([labeler.probabilities(image) for image in pixels]), abs=1e-5)


@pytest.mark.parametrize("joined", [False, True], ids=["--flag value", "--flag=value"])
def test_label_takes_the_flags_of_label_image(call, exported, image, joined):
    flags = {"--image": image, "--graph": exported / "output_graph.pb", "--labels": exported / "output_labels.txt",
             "--input_height": 32, "--input_width": 32, "--input_mean": 0, "--input_std": 255,
             "--input_layer": "Placeholder", "--output_layer": "final_result"}  # fmt: skip
    words = [f"{name}={value}" for name, value in flags.items()]
    done = call(*words) if joined else call(*(word for pair in flags.items() for word in pair))
    lines = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and done.stderr == "" and lines[0][0] == "green" and len(lines) == 3
    assert [float(chance) for _, chance in lines] == sorted((float(chance) for _, chance in lines), reverse=True)
    assert done.stdout == call("--model", exported, image).stdout


def test_our_own_graph_needs_no_flags_and_says_nothing(call, exported, image):
    done = call("--graph", exported / "output_graph.pb", image)
    assert done.exit_code == 0 and done.stderr == "" and done.stdout.startswith("green ")


def test_what_was_guessed_is_one_line_beside_the_answer(call, exported, image, tmp_path):
    shutil.copy(exported / "output_graph.pb", tmp_path / "retrained_graph.pb")
    (tmp_path / "retrained_labels.txt").write_text("blue\ngreen\nred\n")
    done = call("--graph", tmp_path / "retrained_graph.pb", "--image", image)
    assert done.exit_code == 0 and done.stdout.startswith("green ")
    assert done.stderr == (
        "Images go into 'Placeholder', probabilities come from 'final_result'. "
        "Assumed: --input_mean 0 and --input_std 255; 128 and 128 are the other usual pair.\n"
    )


def test_complaint_wrong_node_names_are_answered_with_the_right_ones(call, exported, image):
    given = ["--graph", exported / "output_graph.pb", "--image", image]
    done = call(*given, "--input_layer", "placeholder")
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert "has no input node 'placeholder'. Did you mean 'Placeholder'? Its candidates: Placeholder." in done.output
    done = call(*given, "--output_layer", "import/final_results")
    assert "has no output node 'import/final_results'. Did you mean 'final_result'?" in done.output
    assert "Its candidates: final_result." in done.output and done.output.count("\n") == 1


def test_complaint_wrong_mean_and_std_are_found_out(call, exported, image):
    given = ["--graph", exported / "output_graph.pb", "--image", image]
    done = call(*given, "--input_mean", 128, "--input_std", 128)
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert "fed with pixels from -1 to 0.992 in RGB order, does not give the probabilities" in done.output
    assert "They fit with pixels from 0 to 1 in RGB order (mean 0, std 255): feed it so, as contract" in done.output
    assert "takes images of 32 x 32 pixels" in call(*given, "--input_height=299", "--input_width=299").output


def test_complaint_label_file_in_another_order_is_found_out(call, exported, image, tmp_path):
    graph, file = exported / "output_graph.pb", tmp_path / "labels.txt"
    file.write_text("green\nblue\nred\n")
    done = call("--graph", graph, "--labels", file, image)
    assert done.exit_code == 1 and "lists the labels in another order than the contract.json" in done.output
    file.write_text("blau\ngrün\nrot\n", encoding="utf-8")  # other names are the reader's own affair
    assert call("--graph", graph, "--labels", file, image).stdout.startswith("grün ")


@pytest.mark.parametrize("text", ["blue\ngreen\n", "blue\ngreen\nred\nyellow\n", ""])
def test_a_labels_file_of_the_wrong_length(call, exported, image, tmp_path, text):
    (tmp_path / "labels.txt").write_text(text)
    done = call("--graph", exported / "output_graph.pb", "--labels", tmp_path / "labels.txt", image)
    count = len(text.split())
    assert done.exit_code == 1 and f"There are {count} labels, but" in done.output and "gives 3 prob" in done.output


def test_labels_are_looked_for_beside_the_graph(call, exported, image, tmp_path):
    shutil.copy(exported / "output_graph.pb", tmp_path / "graph.pb")
    done = call("--graph", tmp_path / "graph.pb", image)
    assert done.exit_code == 1 and "There is no output_labels.txt beside" in done.output
    done = call("--graph", tmp_path / "graph.pb", "--labels", tmp_path / "none.txt", image)
    assert done.exit_code == 1 and "none.txt' cannot be read: No such file" in done.output
    shutil.copy(exported / "output_labels.txt", tmp_path / "output_labels.txt")
    assert call("--graph", tmp_path / "graph.pb", image).stdout.startswith("green ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --model with a run's model folder, or --graph with a frozen graph"),
        (["--model", "MODEL", "--graph", "GRAPH"], "either --model"),
        (["--model", "MODEL", "--input_mean", "128"], "--input_mean goes with --graph"),
        (["--model", "MODEL", "--labels=x"], "--labels goes with --graph"),
        (["--graph", "GRAPH", "--input_height", "0"], "--input_height"),
        (["--graph", "GRAPH", "--input_std", "0"], "cannot be scaled by --input_mean 0 and --input_std 0"),
        (["--graph", "GRAPH", "--inptu_layer", "x"], "Did you mean"),
        (["--model", "GRAPH_ALONE"], "a frozen graph of retrain goes with --graph"),
    ],
)
def test_flags_that_do_not_go_together(call, exported, image, tmp_path, arguments, said):
    shutil.copy(exported / "output_graph.pb", tmp_path / "graph.pb")
    places = {"MODEL": exported, "GRAPH": exported / "output_graph.pb", "GRAPH_ALONE": tmp_path / "graph.pb"}
    done = call(*(places.get(word, word) for word in arguments), image)
    assert done.exit_code and said in done.output and "Traceback" not in done.output


def test_no_image(call, exported):
    done = call("--model", exported)
    assert done.exit_code == 1 and "There is no image to label." in done.output


# --------------------------------------------------------------------------------------------- the images


def test_an_image_that_is_given_twice_is_labelled_once(call, exported, image):
    done = call("--model", exported, image, image, "--image", image)
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 3
    table, _ = answering.label(labelers.load(exported), [image, str(image)])
    assert len(table) == 3


def test_a_file_name_that_is_not_utf8(call, exported, image, tmp_path):
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        make_image(1, 1).save(tmp_path / "plain.png")
        (tmp_path / "plain.png").rename(os.fsdecode(odd))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    arguments = ["label", "--model", str(exported), os.fsdecode(odd), os.fsdecode(odd + b".none"), str(image)]
    done = CliRunner().invoke(main, arguments)
    lines = done.stdout.splitlines()
    assert lines[0] == str(tmp_path / r"caf\xe9.png") and lines[4] == str(image) and len(lines) == 8
    assert r"caf\xe9.png.none: the file does not exist." in done.stderr and done.exit_code == 1
    answers = map(json.loads, CliRunner().invoke(main, [*arguments, "--json"]).stdout.splitlines())
    assert [len(answer["labels"]) for answer in answers] == [3, 0, 3]


def test_contract_tells_ranges_apart():
    pixels = np.array([[[0, 128, 255]]], np.uint8)
    assert contracts.Preprocessing()(pixels).ravel() == pytest.approx([0, 128 / 255, 1])
    assert contracts.from_range(-1, 1, "BGR")(pixels).ravel() == pytest.approx([1, 128 / 127.5 - 1, -1])
    assert contracts.from_range(0, 255)(pixels).ravel().tolist() == [0, 128, 255]
    assert str(contracts.Preprocessing(128, 128)) == "pixels from -1 to 0.992 in RGB order"


def test_an_own_graph_read_at_other_nodes_is_taken_at_the_callers_word(exported):
    labeler = label_image.load(exported / "output_graph.pb", output_layer="final_retrain_ops/Wx_plus_b/pre_activations")
    logits = labeler.probabilities(np.full((32, 32, 3), 100, np.uint8))
    chances = labelers.load(exported).probabilities(np.full((32, 32, 3), 100, np.uint8))
    assert np.exp(logits) / np.exp(logits).sum() == pytest.approx(chances, abs=1e-5)


def test_what_8_bits_cost_and_win_is_measured_on_the_same_images(exported, photos, trained):
    table = trained["table"]
    told = answering.compare_int8(exported, table, photos, True)
    low, high = told.numbers["accuracy"]["interval"]
    assert low <= told.numbers["accuracy"]["accuracy"] <= high and f"n = {len(table)}." in str(told)
    assert list(told.table.data.index) == ["model.tflite", "model_int8.tflite"]
    assert not answering.compare_int8(exported, table, photos, False)._repr_html_()
    assert "neither test nor validation images" in str(answering.compare_int8(exported, table[:0], photos, True))


@pytest.mark.parametrize(
    ("key", "value"),
    [("files", None), ("reference", [{"image": "reference/1.png", "probabilities": {"red": "x"}}]), ("reference", [5])],
)
def test_a_contract_of_another_shape_is_said(exported, tmp_path, key, value):
    model = shutil.copytree(exported, tmp_path / "model")
    stated = json.loads((model / "contract.json").read_text())
    (model / "contract.json").write_text(json.dumps(stated | {key: value}))
    with pytest.raises(RetrainLabError, match=r"contract.json' is not what an export writes \(its content is not what"):
        labelers.load(model)
    change(model, **{key: value})
    with pytest.raises(RetrainLabError, match=rf"contract.json' is not what an export writes \('{key}"):
        labelers.load(model)
