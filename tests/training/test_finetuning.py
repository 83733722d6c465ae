"""Fine-tuning above a cut learns what a layer cannot, from cached activations, and loses nothing."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from retrainlab.backbones import cuts, cutting, freezing, registry
from retrainlab.bottlenecks import activations
from retrainlab.bottlenecks.features import load
from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training import devices, finetuning, tops
from retrainlab.training.devices import Device
from retrainlab.training.finetuning import TuningSettings
from retrainlab.training.heads import HeadSettings
from retrainlab.training.study import study

QUICK = TuningSettings(epochs=8, learning_rate=0.02, batch_size=16, dropout=0.0)


def save_network(folder):
    """Two convolutions with random weights on 16 x 16 images; 4 numbers, too few to tell much by."""
    import tensorflow as tf

    saved, random = tf.train.Checkpoint(), np.random.default_rng(0)
    shapes = {"first": (3, 3, 3, 8), "second": (3, 3, 8, 4)}
    saved.kernels = {n: tf.Variable(random.normal(0, 0.3, s).astype(np.float32)) for n, s in shapes.items()}
    saved.biases = {n: tf.Variable(np.zeros(s[-1], np.float32)) for n, s in shapes.items()}

    def features(images):
        x = images - 0.5
        for name in shapes:
            x = tf.nn.relu(tf.nn.conv2d(x, saved.kernels[name], 2, "SAME") + saved.biases[name], name=f"{name}_out")
        return tf.reduce_mean(x, [1, 2])

    saved.__call__ = tf.function(features, input_signature=[tf.TensorSpec([None, 16, 16, 3])], autograph=False)
    tf.saved_model.save(saved, str(folder))
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Stripes, upright or lying: the mean of a random network's channels hardly tells them apart."""
    place, random = tmp_path_factory.mktemp("tuning"), np.random.default_rng(0)
    for label in ("lying", "upright"):
        (place / "images" / label).mkdir(parents=True)
        for number in range(40):
            stripes = np.sin(np.arange(16) * 1.6 + random.uniform(0, 6))[:, None] * np.ones(16)
            stripes = stripes if label == "lying" else stripes.T
            pixels = 128 + 40 * stripes[:, :, None] + random.normal(0, 25, (16, 16, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(place / "images" / label / f"{number}.png")
    backbone = registry.resolve(str(save_network(place / "module")), place / "cache")
    images = scanning.load(place / "images", 20, 20).images
    return load(backbone, ImageFolder.of(place / "images", images), images)


@pytest.fixture(scope="module")
def cut(features):
    return cutting.choose(cuts.of(features.backbone), "first_out")


@pytest.fixture(scope="module")
def top(features, cut):
    return cutting.above(freezing.freeze(features.backbone), cut)


@pytest.fixture(scope="module")
def layer(features):
    return study(features, HeadSettings(how_many_training_steps=500), [0.01]).train()[0]


@pytest.fixture(scope="module")
def kept(features, cut):
    return activations.load(features, cut, features.table)


@pytest.fixture(scope="module")
def tuned(top, kept, layer, tmp_path_factory):
    return finetuning.fine_tune(top, kept, layer, QUICK, tmp_path_factory.mktemp("state"))


def test_it_learns_what_the_layer_alone_cannot(tuned):
    held = tuned.history[tuned.history["split"] == "validation"].set_index("step")
    assert held.loc[0, "accuracy"] < 0.9 < 0.95 <= held.loc[tuned.epoch, "accuracy"]
    assert held["cross_entropy"].idxmin() == tuned.epoch and tuned.said == ""
    assert set(tuned.history["split"]) == {"train", "validation"} and len(held) == 9


def test_epoch_0_is_the_layer_that_it_started_from(tuned, features, layer):
    held = features.rows(lambda table: table["split"] == "validation")
    right = (np.array(layer.labels)[layer.logits(held.matrix).argmax(axis=1)] == held.table["label"]).mean()
    first = tuned.history.query("split == 'validation' and step == 0")["accuracy"].item()
    assert first == pytest.approx(right)


def test_the_tuned_network_is_a_backbone_that_answers_as_the_top_did(tuned, features, cut, kept):
    network = cutting.tuned(features.backbone, cut, tuned.weights)
    assert network.digest != features.backbone.digest
    again = load(network, features.photos, features.table)
    right = np.array(tuned.head.labels)[tuned.head.logits(again.matrix).argmax(axis=1)] == again.table["label"]
    said = tuned.history.query("split == 'validation' and step == @tuned.epoch")["accuracy"].item()
    assert right[again.table["split"] == "validation"].mean() == pytest.approx(said)
    settings = replace(features.backbone.settings, tuned=network.digest)
    opened = registry.resolve(settings.handle, network.folder.parent, tuned=network.digest)
    assert opened.digest == network.digest and opened.settings == settings


def test_an_interrupted_one_goes_on_and_comes_to_the_same(top, kept, layer, tuned, tmp_path):
    def interrupt(history):
        if history["step"].max() == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetuning.fine_tune(top, kept, layer, QUICK, tmp_path, interrupt)
    seen = []
    again = finetuning.fine_tune(top, kept, layer, QUICK, tmp_path, lambda history: seen.append(history["step"].max()))
    assert seen == [4, 5, 6, 7, 8] and again.epoch == tuned.epoch
    for name, value in tuned.weights.items():
        assert again.weights[name] == pytest.approx(value, abs=1e-4)
    state = next(tmp_path.glob("*/epoch 8.npz"))
    state.write_bytes(state.read_bytes()[:100])  # damaged: from the beginning
    assert finetuning.fine_tune(top, kept, layer, QUICK, tmp_path).epoch == tuned.epoch
    other = replace(QUICK, epochs=1, seed=1)  # another training finds nothing of this one
    assert finetuning.fine_tune(top, kept, layer, other, tmp_path).history["step"].max() == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_loss_that_is_no_number_falls_back(top, kept, layer, tmp_path):
    wild = replace(QUICK, learning_rate=0.9, epochs=4, weight_decay=1e20)
    found = finetuning.fine_tune(top, kept, layer, wild, tmp_path)
    assert found.epoch == 0 and "diverged in epoch 1" in found.said and "fine_tune_learning_rate" in found.said
    assert all(np.isfinite(value).all() for value in found.weights.values())


def test_a_refit_learns_from_validation_images_and_stops_where_it_is_told(top, kept, layer, tmp_path):
    both = finetuning.refitting(kept)
    assert (both.table["split"] == "train").sum() == (kept.table["split"] != "test").sum()
    found = finetuning.fine_tune(top, both, layer, QUICK, tmp_path, until=3)
    assert found.epoch == 3 and set(found.history["split"]) == {"train"}


def test_activations_are_kept_in_half_precision_and_found_again(features, cut, kept):
    assert kept.cache.dtype == np.float16
    again = activations.load(features, cut, features.table)
    assert [done.computed for done in again.done] == [0]
    x = kept.batch([0, 1], [0, 0])
    assert x.shape == (2, *cut.shape) and x.dtype == np.float32


def test_a_disk_that_is_too_small(features, cut, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    more = pd.concat([features.table] * 3, ignore_index=True)
    with pytest.raises(RetrainLabError, match=r"take about .* GB, and there are 0.0 GB left"):
        activations.load(features, cut, more)


def test_what_cannot_be_started_from(top, kept, layer, tmp_path):
    deep = replace(layer, hidden=(np.ones((4, 3), np.float32), np.ones(3, np.float32)))
    with pytest.raises(RetrainLabError, match="without hidden units"):
        finetuning.fine_tune(top, kept, deep, QUICK, tmp_path)
    none = replace(kept, table=kept.table.assign(split="test"))
    with pytest.raises(RetrainLabError, match="no training image"):
        finetuning.fine_tune(top, none, layer, QUICK, tmp_path)
    with pytest.raises(RetrainLabError, match="fine_tune_epochs is 0"):
        TuningSettings(epochs=0)
    with pytest.raises(RetrainLabError, match="fine_tune_learning_rate is -1"):
        TuningSettings(learning_rate=-1)


def test_which_cut_is_chosen(features):
    found = cuts.of(features.backbone)
    assert cutting.choose(found, "auto") in found
    with pytest.raises(RetrainLabError, match=r"fine_tune_from is 'frist_out'.*nearest is 'first_out'"):
        cutting.choose(found, "frist_out")
    with pytest.raises(RetrainLabError, match="cannot be fine-tuned"):
        cutting.choose([], "auto")


# --------------------------------------------------------------------------------------------- devices


def steps(top, cut, kept, layer, device):
    """The variables after three steps on the same batches."""
    made, rows = tops.Top(top, cut, layer, QUICK, device), np.arange(32)
    classes = pd.Index(layer.labels).get_indexer(kept.table["label"].iloc[rows])
    for number in range(1, 4):
        made.step(kept.batch(rows, rows * 0), classes, number, 2)
    return made.state()


def test_without_a_gpu_it_learns_on_the_cpu_in_float32():
    device = devices.found()
    assert (device.mixed, device.loss_scale, str(device)) == (False, 1.0, "CPU, in float32")


def test_a_scaled_loss_gives_the_same_gradients(top, cut, kept, layer):
    plain = steps(top, cut, kept, layer, Device("CPU"))
    scaled = steps(top, cut, kept, layer, Device("CPU", loss_scale=2.0**10))
    for value, other in zip(plain, scaled, strict=True):
        assert np.array_equal(value, other)  # a power of 2 changes no digit
    assert any(np.ptp(value) > 0 for value in plain)


def test_gradients_that_overflow_are_passed_over_and_the_scale_is_halved(top, cut, kept, layer):
    start = tops.Top(top, cut, layer, QUICK, Device("CPU")).state()
    for value, before in zip(steps(top, cut, kept, layer, Device("CPU", loss_scale=np.inf)), start, strict=True):
        assert np.array_equal(value, before)
    made = tops.Top(top, cut, layer, QUICK, Device("CPU", loss_scale=2.0**127))
    rows = np.arange(32)
    batch = 1e3 * kept.batch(rows, rows * 0), rows % 2, 1, 2
    assert np.isfinite(made.step(*batch)) and made._scale.numpy() == 2.0**126
    while any(np.array_equal(value, before) for value, before in zip(made.state()[:2], start, strict=False)):
        assert made._scale.numpy() > 1
        made.step(*batch)
    assert all(np.isfinite(value).all() for value in made.state())


def test_mixed_precision_is_asked_for_while_it_learns_and_no_longer(top, cut, kept, layer):
    """What the pass does to a graph takes a GPU to see; on the CPU, it leaves it as it is."""
    import tensorflow as tf

    options = tf.config.optimizer.get_experimental_options
    with Device("GPU", mixed=True).computing():
        assert options()["auto_mixed_precision"] is True
    assert options()["auto_mixed_precision"] is False
    with Device("CPU").computing():
        assert options()["auto_mixed_precision"] is False
    plain, mixed = (steps(top, cut, kept, layer, Device("", mixed)) for mixed in (False, True))
    assert all(np.array_equal(value, other) for value, other in zip(plain, mixed, strict=True))


class Small:
    """A top's gradients, or its judgement, on a device with memory for so many images."""

    def __init__(self, whole, takes):
        self.whole, self.takes, self.given = whole, takes, []

    def __call__(self, x, *rest):
        import tensorflow as tf

        self.given.append(len(x))
        if len(x) > self.takes:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return self.whole(x, *rest)


def stepping(top, cut, kept, layer, device, takes=None):
    """(variables, losses, logits, portions) of four steps on batches of 15 with dropout."""
    made, rows = tops.Top(top, cut, layer, replace(QUICK, dropout=0.3), device), np.arange(15)
    small = Small(made._gradients, takes or 15)
    made._gradients, made._judge = small, Small(made._judge, takes or 15)
    classes = pd.Index(layer.labels).get_indexer(kept.table["label"].iloc[rows])
    batch = kept.batch(rows, rows * 0)
    losses = [made.step(batch, classes, number, 2) for number in range(1, 5)]
    return made.state(), losses, made.logits(batch), small.given


@pytest.mark.parametrize("device", [Device("CPU"), Device("GPU", loss_scale=2.0**10)])
def test_exhausted_memory_divides_a_batch_and_changes_nothing_but_rounding(top, cut, kept, layer, device):
    whole = stepping(top, cut, kept, layer, device)
    parts = stepping(top, cut, kept, layer, device, takes=4)
    assert parts[3] == [15, 7, 3, 3, 3, 3, 3] + [3, 3, 3, 3, 3] * 3 and whole[3] == [15] * 4
    assert parts[1] == pytest.approx(whole[1], rel=1e-5) and parts[2] == pytest.approx(whole[2], abs=1e-4)
    for value, other in zip(parts[0], whole[0], strict=True):
        assert value == pytest.approx(other, abs=1e-4)
    assert max(np.ptp(value) for value in whole[0]) > 0.1


def test_a_device_without_memory_is_said(top, kept, layer, tmp_path, monkeypatch):
    def full(self, *given):
        import tensorflow as tf

        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(tops.Top, "_slopes", full)
    with pytest.raises(RetrainLabError, match="memory of the device that computes is exhausted"):
        finetuning.fine_tune(top, kept, layer, QUICK, tmp_path)
