"""Cuts are found where one tensor carries everything, in whatever kind of module; and what is read there is right."""

import numpy as np
import pytest

from retrainlab.backbones import cuts, derived, registry
from retrainlab.errors import RetrainLabError


def save_blocks(folder, make=None):
    """A TF2-format module of 16 x 16 images: a stem, an inverted bottleneck, a residual block; 12 numbers."""
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    random = np.random.default_rng(0)
    shapes = {
        "stem": (3, 3, 3, 6),
        "wide": (1, 1, 6, 24),
        "narrow": (1, 1, 24, 8),
        "inner": (3, 3, 8, 8),
        "last": (8, 12),
    }
    saved.kernels = {
        name: tf.Variable(random.normal(0, 0.4, shape).astype(np.float32)) for name, shape in shapes.items()
    }

    def features(images):
        kernels = saved.kernels
        x = tf.nn.relu(tf.nn.conv2d(2 * images - 1, kernels["stem"], 2, "SAME"), name="stem")
        x = tf.nn.relu(tf.nn.conv2d(x, kernels["wide"], 1, "SAME"), name="wide")
        x = tf.nn.conv2d(x, kernels["narrow"], 2, "SAME", name="narrow")
        x = tf.add(x, tf.nn.relu(tf.nn.conv2d(x, kernels["inner"], 1, "SAME")), name="block")
        return tf.tanh(tf.reduce_mean(x, [1, 2]) @ kernels["last"])

    saved.__call__ = tf.function(features, input_signature=[tf.TensorSpec([None, 16, 16, 3])], autograph=False)
    tf.saved_model.save(saved, str(folder))
    return folder


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    place = tmp_path_factory.mktemp("blocks")
    return registry.resolve(str(save_blocks(place / "module")), place / "cache")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def test_cuts_lie_where_nothing_jumps_over_and_few_numbers_pass(blocks):
    found = cuts.of(blocks)
    assert [(cuts.short(cut.name), cut.shape) for cut in found] == [
        ("stem", (8, 8, 6)),  # not `wide`, which makes more numbers of the same
        ("narrow", (4, 4, 8)),
        ("block", (4, 4, 8)),
    ]
    work = np.array([64 * 162, 64 * 144, 16 * 192, 16 * 576, 96])  # multiplications of the five kernels
    above = 1 - np.cumsum(work) / work.sum()
    assert [cut.above for cut in found] == pytest.approx(above[[0, 2, 3]])


def test_cuts_are_kept_beside_the_bottlenecks(blocks):
    first = cuts.of(blocks)
    file = blocks.folder / "cuts.json"
    file.write_text("[{]")
    assert cuts.of(blocks) == first  # damaged: found again
    assert "cut" in file.read_text() or "name" in file.read_text()


def test_cuts_and_the_last_map_freeze_a_network_once(blocks, monkeypatch):
    (blocks.folder / "cuts.json").unlink(missing_ok=True)
    frozen, freeze = [], cuts.freeze
    monkeypatch.setattr(cuts, "freeze", lambda backbone: frozen.append(backbone) or freeze(backbone))
    for _ in range(2):
        assert cuts.last_map(blocks).shape[:2] == cuts.of(blocks)[-1].shape[:2] and derived.maps(blocks, "all")
    assert len(frozen) == 1


def test_every_depth_is_read_beside_the_last_layer(blocks, pixels, tmp_path):
    import tensorflow as tf

    deep = derived.reading(blocks, "all")
    assert deep.dim == 12 + 2 * (6 + 8)  # of `narrow` and `block`, which have one shape, the last
    found = deep.bottlenecks(pixels)
    assert found[:, :12] == pytest.approx(blocks.bottlenecks(pixels), abs=1e-5)
    kernel = tf.saved_model.load(str(blocks.module)).kernels["stem"]
    stem = tf.nn.relu(tf.nn.conv2d(2 * pixels.astype(np.float32) / 255 - 1, kernel, 2, "SAME")).numpy()
    assert found[:, 12:18] == pytest.approx(stem.mean((1, 2)), abs=1e-4)
    assert found[:, 18:24] == pytest.approx(stem.std((1, 2)), abs=1e-3)


def test_views_are_averaged(blocks, pixels):
    both = (blocks.bottlenecks(pixels) + blocks.bottlenecks(pixels[:, :, ::-1])) / 2
    views = derived.reading(blocks, "last", average_views=True)
    assert views.bottlenecks(pixels) == pytest.approx(both, abs=1e-5)
    assert (views.settings.depth, views.settings.average_views) == ("last", True)


def test_some_cuts_by_name_and_what_is_read_opens_again(blocks, pixels):
    deep = derived.reading(blocks, "stem narrow")
    assert deep.dim == 12 + 2 * (6 + 8)
    assert deep.digest != derived.reading(blocks, "all").digest != blocks.digest
    assert derived.reading(blocks, "stem narrow") == deep
    assert derived.reading(blocks, "last") == blocks


def test_a_cut_that_is_not_there_names_the_nearest(blocks, module, tmp_path):
    with pytest.raises(
        RetrainLabError, match=r"depth is 'blok'.*the nearest is 'block'.*There are: stem, narrow, block"
    ):
        derived.reading(blocks, "blok")
    flat = registry.resolve(str(save_flat(tmp_path / "flat")), tmp_path / "cache")
    assert derived.chosen(flat, "all") == []
    with pytest.raises(RetrainLabError, match=r"no cut below its last layer.*Expected 'last', 'all'"):
        derived.reading(flat, "mixed7")


def save_flat(folder):
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.kernel = tf.Variable(np.ones((192, 4), np.float32))
    spec = tf.TensorSpec([None, 8, 8, 3])
    flat = tf.function(lambda images: tf.reshape(images, [-1, 192]) @ saved.kernel, input_signature=[spec])
    saved.__call__ = flat
    tf.saved_model.save(saved, str(folder))
    return folder
