"""A trunk and the top above it are the whole network, in whatever kind of module; and what of it can be trained."""

import numpy as np
import pytest

from retrainlab.backbones import cuts, cutting, registry
from retrainlab.backbones.cuts import Cut
from retrainlab.backbones.freezing import OUTPUT, freeze
from retrainlab.errors import RetrainLabError

SHAPES = {"stem": (3, 3, 3, 6), "deep": (3, 3, 6, 1), "narrow": (1, 1, 6, 8), "inner": (3, 3, 8, 8), "last": (8, 12)}
NORM = {"scale": 1.2, "shift": 0.1, "mean": 0.3, "variance": 2.0}


def weights():
    random = np.random.default_rng(0)
    kernels = {name: random.normal(0, 0.4, shape) for name, shape in SHAPES.items()}
    norm = {name: value * random.uniform(0.5, 1.5, 8) for name, value in NORM.items()}
    return {name: value.astype(np.float32) for name, value in (kernels | norm).items()}


def network(images, of, fused):
    """Two convolutions, and a residual block with batch norm, of 16 x 16 images; 12 numbers."""
    import tensorflow as tf

    x = tf.nn.relu(tf.nn.conv2d(2 * images - 1, of["stem"], 2, "SAME"), name="stem")
    x = tf.nn.depthwise_conv2d(x, of["deep"], [1, 1, 1, 1], "SAME")
    x = tf.nn.conv2d(x, of["narrow"], 2, "SAME", name="narrow")
    y = tf.nn.conv2d(x, of["inner"], 1, "SAME")
    if fused:
        y = tf.raw_ops.FusedBatchNormV3(
            x=y, scale=of["scale"], offset=of["shift"], mean=of["mean"], variance=of["variance"], is_training=False
        )[0]
    else:
        y = tf.nn.batch_normalization(y, of["mean"], of["variance"], of["shift"], of["scale"], 1e-3)
    x = tf.add(x, tf.nn.relu(y), name="block")
    return tf.tanh(tf.reduce_mean(x, [1, 2]) @ of["last"])


def save_tf2(folder):
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.weights = {name: tf.Variable(value) for name, value in weights().items()}
    spec = tf.TensorSpec([None, 16, 16, 3])
    saved.__call__ = tf.function(lambda images: network(images, saved.weights, True), [spec], autograph=False)
    tf.saved_model.save(saved, str(folder))


def save_tf1(folder):
    """A module of TF1: reference variables, batch norm by single operations, a control input."""
    import tensorflow as tf

    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(folder))
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 16, 16, 3])
        of = {name: v1.get_variable(name, initializer=value, use_resource=False) for name, value in weights().items()}
        with tf.control_dependencies([tf.reduce_max(images)]):
            vectors = network(images, of, False)
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"images": images}, {"default": vectors})
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
    builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")


@pytest.fixture(scope="module", params=[save_tf2, save_tf1], ids=["TF2", "TF1"])
def backbone(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("cutting")
    request.param(place / "module")
    return registry.resolve(str(place / "module"), place / "cache")


def narrow(backbone):
    """The cut between the blocks, whatever the format calls it."""
    return next(cut for cut in cuts.of(backbone) if "narrow" in cut.name)


@pytest.fixture(scope="module")
def cut(backbone):
    return narrow(backbone)


@pytest.fixture(scope="module")
def top(backbone, cut):
    return cutting.above(freeze(backbone), cut)


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def run(top, cut, activations, values=None):
    import tensorflow as tf

    @tf.function(autograph=False)
    def above(given):
        return tf.graph_util.import_graph_def(top, {f"{cut.name}:0": given, **(values or {})}, [f"{OUTPUT}:0"])[0]

    return above(tf.reshape(activations, [-1, *cut.shape]))


def test_the_trunk_and_the_top_are_the_whole(backbone, cut, top, pixels):
    trunk = cutting.trunk(backbone, cut)
    assert (trunk.dim, cut.shape) == (4 * 4 * 8, (4, 4, 8))
    assert cutting.trunk(backbone, cut) == trunk and trunk.digest != backbone.digest
    found = run(top, cut, trunk.bottlenecks(pixels)).numpy()
    assert found == pytest.approx(backbone.bottlenecks(pixels), abs=1e-4)
    assert {node.name for node in top.node if node.op == "Placeholder"} == {cut.name}
    assert not any(name.startswith("^") for node in top.node for name in node.input)


def test_all_weights_above_a_cut_have_gradients_and_nothing_else_is_one(cut, top):
    import tensorflow as tf

    found = cutting.kernels(top)
    # of a batch norm, its scale and its shift; by single operations they become a factor and an addend
    assert sorted(value.shape for value in found.values()) == sorted([(3, 3, 8, 8), (8,), (8,), (8, 12)])
    names, shapes = list(found), [tf.TensorSpec(value.shape) for value in found.values()]

    def above(given, *values):
        mapped = {f"{cut.name}:0": given} | {f"{n}:0": value for n, value in zip(names, values, strict=True)}
        return tf.graph_util.import_graph_def(top, mapped, [f"{OUTPUT}:0"])[0]

    called = tf.function(above, input_signature=[tf.TensorSpec([None, *cut.shape]), *shapes], autograph=False)
    variables = [tf.Variable(value) for value in found.values()]
    given = np.random.default_rng(2).normal(size=(2, *cut.shape)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(called(given, *(variable.read_value() for variable in variables)) ** 2)
    slopes = tape.gradient(loss, variables)
    assert all(slope is not None and np.abs(slope).max() > 0 for slope in slopes)


def test_a_tuned_backbone_has_other_weights_above_the_cut_only(backbone, cut, top, pixels):
    same = cutting.tuned(backbone, cut, cutting.kernels(top))
    assert same.bottlenecks(pixels) == pytest.approx(backbone.bottlenecks(pixels), abs=1e-4)
    values = {name: value * 1.5 for name, value in cutting.kernels(top).items()}
    found = cutting.tuned(backbone, cut, values)
    assert found.digest not in (same.digest, backbone.digest) and found.dim == 12
    expected = run(cutting.with_values(top, values), cut, cutting.trunk(backbone, cut).bottlenecks(pixels)).numpy()
    assert found.bottlenecks(pixels) == pytest.approx(expected, abs=1e-4)
    assert np.abs(expected - backbone.bottlenecks(pixels)).max() > 0.05
    assert cutting.tuned(backbone, cut, values) == found
    again = narrow(found)  # it can be tuned once more
    assert len(cutting.kernels(cutting.above(freeze(found), again))) == len(values)


def test_auto_leaves_a_third_of_the_arithmetic_above():
    shares = [0.9, 0.6, 0.48, 0.3, 0.2, 0.0]
    several = [Cut(f"a/block_{number}", (4, 4, 8), share) for number, share in enumerate(shares)]
    assert cutting.choose(several, "auto").above == 0.3
    assert cutting.choose(several[:2], "auto").above == 0.6
    assert cutting.choose(several[4:], "auto").above == 0.2
    assert cutting.choose(several, "block_1").above == 0.6
    with pytest.raises(RetrainLabError, match=r"fine_tune_from is 'blok_1'. Expected 'auto' or .* nearest is 'a/block"):
        cutting.choose(several, "blok_1")
    for none in (several[5:], []):
        with pytest.raises(RetrainLabError, match="no cut with arithmetic above it"):
            cutting.choose(none, "auto")


def test_a_network_that_is_quantized_above_the_cut_is_refused():
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3], name="Placeholder")
        x = tf.nn.conv2d(images, np.ones((3, 3, 3, 4), np.float32), 2, "SAME", name="narrow")
        x = tf.quantization.fake_quant_with_min_max_args(x)
        tf.identity(tf.reduce_mean(x, [1, 2]), OUTPUT)
    with pytest.raises(RetrainLabError, match=r"quantized above the cut 'narrow' \(FakeQuantWithMinMaxArgs\)"):
        cutting.above(graph.as_graph_def(), Cut("narrow", (4, 4, 4), 0.5))
