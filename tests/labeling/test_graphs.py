"""Frozen graphs as retrain.py wrote them over the years, made here with TensorFlow 1's functions.

Their network takes the mean of each channel and a softmax of five times that: NumPy knows the answer.
"""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from retrainlab.cli.main import main
from retrainlab.errors import RetrainLabError
from retrainlab.labeling import graphs, label_image

LABELS = ["red", "green", "blue"]


def frozen(file, build):
    """Write the graph that `build(tf1)` makes, and three labels beside it."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        build(tf.compat.v1)
    file.write_bytes(graph.as_graph_def().SerializeToString())
    file.with_name("output_labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return file


def bottlenecks(tf1, images):
    """Five times the mean of each channel, by a convolution: [n, height, width, 3] -> [n, 3]."""
    kernel = tf1.constant(5 * np.eye(3, dtype=np.float32)[None, None])
    return tf1.reduce_mean(tf1.nn.conv2d(images, kernel, 1, "SAME"), [1, 2])


def hub(name="Placeholder", shape=(None, 16, 16, 3)):
    """The graph of retrain.py for TF Hub modules."""

    def build(tf1):
        images = tf1.placeholder(tf1.float32, shape, name)
        with tf1.name_scope("input"):
            middle = tf1.placeholder_with_default(bottlenecks(tf1, images), [None, 3], "BottleneckInputPlaceholder")
        tf1.nn.softmax(middle, name="final_result")

    return build


def inception(tf1):
    """The graph of the first retrain.py: the Inception of 2015 decodes, resizes and scales the image file itself."""
    contents = tf1.placeholder(tf1.string, [], "DecodeJpeg/contents")
    pixels = tf1.cast(tf1.image.decode_jpeg(contents, channels=3, name="DecodeJpeg"), tf1.float32, "Cast")
    resized = tf1.image.resize_bilinear(tf1.expand_dims(pixels, 0, name="ExpandDims"), [16, 16], name="ResizeBilinear")
    images = tf1.multiply(tf1.subtract(resized, 128.0, name="Sub"), 1 / 128, name="Mul")
    reshaped = tf1.reshape(bottlenecks(tf1, images), [1, 3], "pool_3/_reshape")
    middle = tf1.placeholder_with_default(reshaped, [None, 3], "input/BottleneckInputPlaceholder")
    tf1.nn.softmax(middle, name="final_result")


def two_heads(tf1):
    images = tf1.placeholder(tf1.float32, [None, 16, 16, 3], "Placeholder")
    tf1.nn.softmax(bottlenecks(tf1, images), name="colours")
    tf1.nn.softmax(bottlenecks(tf1, images)[:, :2], name="warmth")


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8) // np.array([1, 2, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return pixels


def expected(pixels, mean, std):
    powers = np.exp(5 * ((pixels.astype(float) - mean) / std).mean(axis=(0, 1)))
    return powers / powers.sum()


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("Placeholder", 0, 255), ("input", 0, 255), ("Mul", 128, 128), ("my/images", 0, 255)]
)
def test_nodes_size_and_the_usual_scaling_are_found(tmp_path, picture, name, mean, std):
    labeler = label_image.load(frozen(tmp_path / "output_graph.pb", hub(name)))
    assert labeler.labels == LABELS and labeler.image_size == (16, 16)
    assert labeler.probabilities(picture) == pytest.approx(expected(picture, mean, std), abs=1e-6)
    assert f"Images go into '{name}', probabilities come from 'final_result'." in labeler.note
    assert f"Assumed: --input_mean {mean} and --input_std {std}" in labeler.note


def test_what_is_told_is_taken_and_not_said_again(tmp_path, picture):
    file = frozen(tmp_path / "g.pb", hub("Mul"))
    labeler = label_image.load(file, None, "Mul", "final_result", 16, 16, 10, 50)
    assert labeler.probabilities(picture) == pytest.approx(expected(picture, 10, 50), abs=1e-6)
    assert labeler.note == ""


@pytest.mark.parametrize(
    ("flag", "value", "mean", "std"),
    [("input_mean", 10, 10, 255), ("input_std", 50, 0, 50), ("input_layer", "Mul", 128, 128),
     ("output_layer", "colours", 0, 255)],
)  # fmt: skip
def test_flags_of_label_image_on_the_command_line(tmp_path, picture, flag, value, mean, std):
    build = {"input_layer": inception, "output_layer": two_heads}.get(flag, hub("Placeholder"))
    file = frozen(tmp_path / "g.pb", build)
    (tmp_path / "names.txt").write_text("rouge\nvert\nbleu\n")
    usual = ["label", "--graph", file, "--labels", tmp_path / "names.txt", "--image", tmp_path / "picture.png"]
    done = CliRunner().invoke(main, [*map(str, usual), f"--{flag}={value}"])
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {name: float(chance) for name, chance in lines}
    assert [found[name] for name in ("rouge", "vert", "bleu")] == pytest.approx(expected(picture, mean, std), abs=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize(("flag", "asked"), [("input_height", "20 x 16"), ("input_width", "16 x 20")])
def test_height_and_width_are_told_apart(tmp_path, flag, asked):
    with pytest.raises(RetrainLabError, match=f"takes images of 16 x 16 pixels .* ask for {asked}"):
        label_image.load(frozen(tmp_path / "g.pb", hub()), **{flag: 20})


@pytest.mark.parametrize("name", ["Mul", "import/Mul", "Mul:0", "import/Mul:0"])
def test_names_as_label_image_users_write_them(tmp_path, picture, name):
    file = frozen(tmp_path / "g.pb", hub("Mul"))
    labeler = label_image.load(file, input_layer=name, output_layer="import/final_result:0")
    assert labeler.probabilities(picture) == pytest.approx(expected(picture, 128, 128), abs=1e-6)


def test_the_inception_of_2015_takes_the_file_as_it_is(tmp_path, picture):
    import tensorflow as tf

    file = frozen(tmp_path / "g.pb", inception)
    labeler = label_image.load(file)
    assert labeler.image_size is None and "'DecodeJpeg/contents'" in labeler.note and "Assumed" not in labeler.note
    large = np.asarray(Image.fromarray(picture).resize((70, 40)))
    Image.fromarray(large).save(tmp_path / "large.png")
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(file.read_bytes()))
        contents = (tmp_path / "large.png").read_bytes()
        (own,) = session.run("import/final_result:0", {"import/DecodeJpeg/contents:0": contents})
    assert labeler.probabilities(large) == pytest.approx(own, abs=1e-6)


def test_a_node_within_the_graph_can_be_fed(tmp_path, picture):
    labeler = label_image.load(frozen(tmp_path / "g.pb", inception), input_layer="Mul")
    assert labeler.image_size == (16, 16)
    assert labeler.probabilities(picture) == pytest.approx(expected(picture, 128, 128), abs=1e-6)


def test_probabilities_that_are_reshaped_after_the_softmax(tmp_path, picture):
    def slim(tf1):
        images = tf1.placeholder(tf1.float32, [1, 16, 16, 3], "input")
        tf1.reshape(tf1.nn.softmax(bottlenecks(tf1, images)), [-1, 3], "InceptionV3/Predictions/Reshape_1")

    labeler = label_image.load(frozen(tmp_path / "g.pb", slim))
    assert "InceptionV3/Predictions/Reshape_1" in labeler.note
    assert labeler.probabilities(picture) == pytest.approx(expected(picture, 0, 255), abs=1e-6)


def test_an_output_that_is_no_softmax(tmp_path):
    def logits(tf1):
        tf1.identity(bottlenecks(tf1, tf1.placeholder(tf1.float32, [None, 16, 16, 3], "x")), "scores")

    assert graphs.read(frozen(tmp_path / "g.pb", logits)).output == "scores"


def test_the_usual_name_wins_and_unused_inputs_do_not_count(tmp_path):
    def build(tf1):
        two_heads(tf1)
        tf1.nn.softmax(tf1.placeholder(tf1.float32, [None, 8, 8, 3], "elsewhere"), name="other")
        tf1.nn.softmax(
            bottlenecks(tf1, tf1.get_default_graph().get_tensor_by_name("Placeholder:0")), name="final_result"
        )

    graph = graphs.read(frozen(tmp_path / "g.pb", build))
    assert (graph.input, graph.output, graph.size) == ("Placeholder", "final_result", (16, 16))


def test_several_outputs_are_listed_and_one_can_be_named(tmp_path, picture):
    file = frozen(tmp_path / "g.pb", two_heads)
    with pytest.raises(
        RetrainLabError, match=r"several nodes that fit as output: 'colours' \[\?, 3\], 'warmth' \[\?, 2\]\. Say"
    ):
        graphs.read(file)
    labeler = label_image.load(file, output_layer="colours")
    assert labeler.probabilities(picture) == pytest.approx(expected(picture, 0, 255), abs=1e-6)


def test_several_inputs_are_listed(tmp_path):
    def build(tf1):
        left, right = (tf1.placeholder(tf1.float32, [None, 16, 16, 3], name) for name in ("left", "right"))
        tf1.nn.softmax(bottlenecks(tf1, left + right), name="final_result")

    file = frozen(tmp_path / "g.pb", build)
    with pytest.raises(
        RetrainLabError, match=r"fit as input: 'left' \[\?, 16, 16, 3\], 'right' \[\?, 16, 16, 3\]. Say"
    ):
        graphs.read(file)
    with pytest.raises(RetrainLabError, match=r"needs more than images: .* also depends on right\."):
        label_image.load(file, input_layer="left")


@pytest.mark.parametrize("shape", [None, (None, None, None, 3)])
def test_any_size_is_taken_as_299_unless_told(tmp_path, shape):
    file = frozen(tmp_path / "g.pb", hub("Placeholder", shape))
    labeler = label_image.load(file)
    assert labeler.image_size == (299, 299) and "Assumed: images of 299 x 299 pixels." in labeler.note
    labeler = label_image.load(file, input_height=20, input_width=30)
    assert labeler.image_size == (20, 30) and "pixels." not in labeler.note


def not_frozen(tf1):
    tf1.disable_resource_variables()
    try:
        weights = tf1.get_variable("weights", [3, 3])
    finally:
        tf1.enable_resource_variables()
    images = tf1.placeholder(tf1.float32, [None, 16, 16, 3], "Placeholder")
    tf1.nn.softmax(bottlenecks(tf1, images) @ weights, name="final_result")


def grey(tf1):
    tf1.nn.softmax(tf1.reduce_mean(tf1.placeholder(tf1.float32, [None, 8, 8, 1], "x"), [1, 2]), name="final_result")


def with_dropout(tf1):
    keep = tf1.placeholder(tf1.float32, [], "keep_prob")
    images = tf1.placeholder(tf1.float32, [None, 16, 16, 3], "Placeholder")
    tf1.nn.softmax(bottlenecks(tf1, images) * keep, name="final_result")


def flat(tf1):
    images = tf1.placeholder(tf1.float32, [None, None, None, 3], "Placeholder")
    tf1.nn.softmax(tf1.reshape(images, [-1, 16 * 16 * 3]), name="final_result")


def text(tf1):
    words = tf1.placeholder(tf1.string, [None], "words")
    tf1.nn.softmax(tf1.string_to_number(words)[None], name="final_result")


@pytest.mark.parametrize(
    ("build", "flags", "said"),
    [
        (not_frozen, {}, "is not frozen: it still has variables, such as 'weights'"),
        (grey, {}, "no node that fits as input. Expected a placeholder of images"),
        (grey, {"input_layer": "x"}, r"takes float32 of shape \[\?, 8, 8, 1\]. Expected float32"),
        (text, {}, "no node that fits as input"),
        (text, {"input_layer": "words"}, "takes text, which the graph does not decode"),
        (with_dropout, {}, "needs more than images: the output 'final_result' also depends on keep_prob"),
        (flat, {}, "tensor with 268203 values, .*It was given 299 x 299 pixels: try --input_height"),
        (hub(), {"input_layer": "input/BottleneckInputPlaceholder"}, r"of shape \[\?, 3\]. Expected float32"),
        (hub(), {"input_height": 224, "input_width": 224}, "takes images of 16 x 16 pixels .* ask for 224 x 224"),
        (hub(), {"input_std": 0.0}, "cannot be scaled by --input_mean 0 and --input_std 0"),
        (hub(), {"input_mean": float("nan")}, "cannot be scaled by --input_mean nan"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_used_is_said(tmp_path, build, flags, said):
    with pytest.raises(RetrainLabError, match=said):
        label_image.load(frozen(tmp_path / "g.pb", build), **flags)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"no graph at all", "its content is something else, or damaged"),
        (np.random.default_rng(0).bytes(5000), "its content is something else, or damaged"),
        (b"\x1c\0\0\0TFL3 and so on", "it is a LiteRT model"),
    ],
)
def test_what_is_no_frozen_graph_is_said(tmp_path, content, said):
    (tmp_path / "g.pb").write_bytes(content)
    with pytest.raises(RetrainLabError, match=f"g.pb' is no frozen graph: {said}"):
        label_image.load(tmp_path / "g.pb")


def test_half_a_graph_a_saved_model_a_folder_and_nothing(tmp_path, module):
    whole = frozen(tmp_path / "g.pb", hub()).read_bytes()
    (tmp_path / "g.pb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RetrainLabError, match="is no frozen graph: its content is something else, or damaged"):
        label_image.load(tmp_path / "g.pb")
    with pytest.raises(RetrainLabError, match="is no frozen graph: it is a SavedModel"):
        label_image.load(module / "saved_model.pb")
    with pytest.raises(RetrainLabError, match=r"is a folder\. --graph takes one file"):
        label_image.load(tmp_path)
    with pytest.raises(RetrainLabError, match="No graph at"):
        label_image.load(tmp_path / "none.pb")


def test_a_graph_of_an_operation_that_nobody_knows(tmp_path):
    import tensorflow as tf

    file = frozen(tmp_path / "g.pb", hub())
    definition = tf.compat.v1.GraphDef.FromString(file.read_bytes())
    definition.node.add(name="odd", op="NoSuchOperation")
    file.write_bytes(definition.SerializeToString())
    with pytest.raises(RetrainLabError, match=r"holds a graph that cannot be read: .*NoSuchOperation"):
        label_image.load(file)
