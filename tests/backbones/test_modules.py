"""SavedModels of the makes that TF Hub and Keras leave, each with known answers."""

import numpy as np
import pytest

from retrainlab.backbones import registry

INFERENCE = np.arange(15, dtype=np.float32).reshape(3, 5)


def save_tf1(folder, graphs, referred, hub_format):
    """A module of TF1: a graph for each list of tags, where that for training gives something else."""
    import tensorflow as tf

    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(folder))
    for number, tags in enumerate(graphs):
        with tf.Graph().as_default(), v1.Session() as session:
            images = v1.placeholder(tf.float32, [None, 16, 16, 3])
            kernel = v1.get_variable("kernel", initializer=INFERENCE, use_resource=not referred)
            vectors = tf.reduce_mean(images, [1, 2]) @ kernel + (100.0 if "train" in tags else 0.0)
            session.run(v1.global_variables_initializer())
            signature = v1.saved_model.predict_signature_def({"images": images}, {"default": vectors, "layer": images})
            if number:
                builder.add_meta_graph(tags, {"default": signature})
            else:
                builder.add_meta_graph_and_variables(session, tags, {"default": signature})
    builder.save()
    if hub_format:
        (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")


@pytest.mark.parametrize("referred", [True, False], ids=["reference variables", "resource variables"])
@pytest.mark.parametrize(
    ("graphs", "hub_format"),
    [([[], ["train"]], True), ([["train"], []], False), ([["serve"]], False), ([["train"], ["serve"]], False)],
    ids=["TF Hub", "training first", "one to serve", "one to serve beside training"],
)
def test_a_module_of_tf1_gives_what_its_graph_for_inference_gives(tmp_path, graphs, hub_format, referred):
    save_tf1(tmp_path / "module", graphs, referred, hub_format)
    backbone = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    assert (backbone.image_size, backbone.dim) == ((16, 16), 5)
    colour = np.full((1, 16, 16, 3), [51, 102, 255], np.uint8)  # 0.2, 0.4 and 1
    assert backbone.bottlenecks(colour)[0] == pytest.approx([0.2, 0.4, 1.0] @ INFERENCE, abs=1e-4)


def test_a_module_that_must_be_told_whether_it_trains(tmp_path):
    import tensorflow as tf

    saved = tf.train.Checkpoint()

    @tf.function(autograph=False)
    def call(inputs, training, batch_norm_momentum=0.99):
        return tf.reduce_mean(inputs, [1, 2]) + (100.0 if training else 0.0)

    for training in (True, False):
        call.get_concrete_function(tf.TensorSpec([None, 8, 8, 3]), training, tf.TensorSpec([]))
    saved.__call__ = call
    tf.saved_model.save(saved, str(tmp_path / "module"))
    backbone = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    colour = np.full((1, 8, 8, 3), [51, 102, 255], np.uint8)
    assert backbone.bottlenecks(colour)[0] == pytest.approx([0.2, 0.4, 1.0], abs=1e-5)


def test_a_module_that_gives_a_dict_of_one_array(tmp_path):
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    spec = [tf.TensorSpec([None, 8, 8, 3])]
    saved.__call__ = tf.function(lambda images: {"pooled": tf.reduce_mean(images, [1, 2])}, spec)
    tf.saved_model.save(saved, str(tmp_path / "module"))
    backbone = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    colour = np.full((1, 8, 8, 3), [51, 102, 255], np.uint8)
    assert backbone.bottlenecks(colour)[0] == pytest.approx([0.2, 0.4, 1.0], abs=1e-5)


@pytest.mark.parametrize("version", [2, 3])
def test_a_model_of_keras_by_its_own_means(tmp_path, version):
    """Batch norm and dropout do in a backbone what they do in inference."""
    if version == 2:
        keras = pytest.importorskip("tf_keras")
    else:
        import keras
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((16, 16, 3)), layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Dropout(0.5),
        layers.GlobalAveragePooling2D()])  # fmt: skip
    if version == 2:
        model.save(tmp_path / "module", save_format="tf")
    else:
        model.export(tmp_path / "module", verbose=False)
    backbone = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    expected = np.asarray(model(pixels.astype(np.float32) / 255, training=False))
    assert backbone.bottlenecks(pixels) == pytest.approx(expected, abs=1e-5)
