"""A network on a GPU: here on TensorFlow's CPU device, by the same code."""

import os
import subprocess
import sys

import numpy as np
import pytest

from retrainlab.backbones import gpu, registry
from retrainlab.backbones.gpu import Batched, Gpu, Portions
from retrainlab.errors import RetrainLabError

CPU = Gpu("/CPU:0", "CPU")
PIXELS = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)


def exhausted():
    import tensorflow as tf

    return tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


class Small:
    """A graph's function on a device with memory for so many images."""

    def __init__(self, takes):
        self.takes, self.given = takes, []

    def __call__(self, pixels):
        self.given.append(len(pixels))
        if len(pixels) > self.takes:
            raise exhausted()
        return pixels.reshape(len(pixels), -1)[:, :3].astype(np.float32)


def test_a_batch_comes_to_what_litert_says_of_each_image(backbone):
    network = gpu.open_network(backbone, CPU)
    expected = backbone.bottlenecks(PIXELS)
    for count in (1, 7, 20):
        found = network(PIXELS[:count])
        assert found.dtype == np.float32 and found.shape == (count, backbone.dim)
        assert np.abs(found - expected[:count]).max() < 1e-5 * np.abs(expected).max()
    assert str(network) == "CPU, in float32"
    assert gpu.open_network(backbone, CPU) is network


def test_what_is_derived_runs_in_batches_too(module, bottleneck_dir):
    both = registry.resolve(str(module), bottleneck_dir, average_views=True)
    expected = both.bottlenecks(PIXELS)
    assert np.abs(gpu.open_network(both, CPU)(PIXELS) - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_network_whose_images_depend_on_their_neighbours_is_unfit(tmp_path):
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.__call__ = tf.function(
        lambda x: tf.reduce_mean(x, [1, 2]) + tf.reduce_mean(x), input_signature=[tf.TensorSpec([None, 8, 8, 3])]
    )
    tf.saved_model.save(saved, str(tmp_path / "module"))
    mixing = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    with pytest.raises(gpu.Unfit, match=r"gives other features on the CPU \(they differ by up to 0\.0"):
        gpu.open_network(mixing, CPU)


def test_batches_are_halved_until_they_fit_and_stay_so():
    small = Small(5)
    network = Batched(small, "GPU (small)", most=16)
    assert np.array_equal(network(PIXELS), PIXELS.reshape(20, -1)[:, :3])
    assert small.given == [16, 8, 4, 4, 4, 4, 4]
    small.given.clear()
    network(PIXELS[:9])
    assert small.given == [4, 4, 1] and str(network) == "GPU (small), in float32, in batches of 4 for want of memory"


def test_memory_for_a_single_image_is_enough_and_for_none_is_said():
    assert len(Batched(Small(1), "GPU")(PIXELS)) == 20
    with pytest.raises(RetrainLabError, match="memory of the device that computes is exhausted, even by one image"):
        Batched(Small(0), "GPU")(PIXELS)


def test_memory_that_tensorflow_itself_cannot_get_halves_batches():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.uint8)])
    def hungry(pixels):
        """70 TB for more than 6 images."""
        numbers = tf.random.uniform([tf.where(tf.shape(pixels)[0] > 6, tf.constant(2**44, tf.int64), 1)])
        return tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2]) + 0 * numbers[:1]

    network = Batched(lambda pixels: hungry(pixels).numpy(), "CPU")
    assert network(PIXELS) == pytest.approx(PIXELS.mean((1, 2)), rel=1e-5) and str(network).endswith(
        "batches of 5 for want of memory"
    )


def test_portions_cover_a_count_in_order():
    assert [(part.start, part.stop) for part in Portions(3).each(7, lambda part: part)] == [(0, 3), (3, 6), (6, 7)]
    assert [*Portions(3).each(0, lambda part: part)] == []


def test_an_image_on_which_the_network_fails_is_a_runtime_error():
    import tensorflow as tf

    def fails(pixels):
        raise tf.errors.InvalidArgumentError(None, None, "Input is not invertible.")

    with pytest.raises(RuntimeError, match=r"^Input is not invertible\.$"):
        Batched(fails, "GPU")(PIXELS)


def test_without_a_sign_of_a_gpu_tensorflow_is_not_imported():
    code = (
        "import sys; from retrainlab.backbones import gpu; from retrainlab.training import devices; gpu._SIGNS = ();"
        "print(gpu.find(), devices.found(), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None CPU, in float32 False\n"


@pytest.mark.hard
def test_with_a_driver_tensorflow_is_asked():
    code = (
        "import sys; from retrainlab.backbones import gpu; gpu._SIGNS = (sys.executable,);"
        "print(gpu.find(), 'tensorflow' in sys.modules)"
    )
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "None True\n"
