"""Extraction in batches as on a GPU, on TensorFlow's CPU device: the same results, kept and said as on threads."""

import json
import shutil
import threading

import numpy as np
import pytest
from conftest import make_folder, make_image, save_convolutions
from PIL import Image

from retrainlab.backbones import cuts, cutting, gpu, registry
from retrainlab.backbones.backbone import BackboneSettings
from retrainlab.backbones.gpu import Batched, Gpu
from retrainlab.bottlenecks import activations, caching, computing, extracting, features, pipeline
from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.lab import Lab
from retrainlab.pixels.conditions import CONDITIONS
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.pixels.distortions import Distortion
from retrainlab.pixels.levels import OWN


@pytest.fixture
def on_device(monkeypatch):
    """A GPU that is TensorFlow's CPU device, with batches of 8."""
    monkeypatch.setattr(gpu, "BATCH", 8)
    monkeypatch.setattr(gpu, "find", lambda: Gpu("/CPU:0", "GPU (the CPU)"))


@pytest.fixture
def convolutions(tmp_path):
    """A backbone that may be cut, with a cache of its own."""
    shapes = {"first": (3, 3, 3, 8), "second": (3, 3, 8, 4)}
    return registry.resolve(save_convolutions(tmp_path / "module", shapes, 16), tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "images", {"a": 12, "b": 15})


def run(fresh, folder, **options):
    cache, table = caching.open_cache(fresh), scanning.scan(folder).images
    return cache, table, extracting.extract(fresh, cache, ImageFolder(folder), table, **options)


def expected(fresh, folder, table):
    return np.concatenate([fresh.bottlenecks(ImageFolder(folder).read(p, fresh.image_size)[None]) for p in table.path])


def close(found, wanted):
    return np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_each_image_gets_what_litert_gives_it(on_device, fresh, folder):
    cache, table, done = run(fresh, folder)
    found, known = cache.features(table, OWN)
    assert close(found, expected(fresh, folder, table)) and known["path"].tolist() == table["path"].tolist()
    assert (done.cached, done.computed, done.problems, len(cache)) == (0, 27, {}, 27)
    assert str(done).endswith("images/s) on the GPU (the CPU), in float32.")
    assert str(run(fresh, folder)[2]) == "27 images: 27 bottlenecks from the cache, none computed."


def test_what_fits_in_one_batch_is_not_worth_starting_tensorflow_for(on_device, fresh, folder):
    for file in sorted(folder.glob("*/*"))[3:-4]:
        file.unlink()
    assert str(run(fresh, folder)[2]).endswith("images/s) on the CPU.")


def test_files_that_cannot_be_read_are_rows_and_the_others_of_their_batch_are_there(on_device, fresh, folder):
    cache, table = caching.open_cache(fresh), scanning.scan(folder).images
    gone, changed = table["path"].iloc[[9, 10]]
    (folder / gone).unlink()
    make_image(99).save(folder / changed)
    done = extracting.extract(fresh, cache, ImageFolder(folder), table)
    assert done.computed == 25 and done.problems == {
        gone: "the file cannot be read any more: No such file or directory",
        changed: "the file has changed since it was scanned; run again",
    }
    found, known = cache.features(table, OWN)
    assert len(known) == 25 and close(found, expected(fresh, folder, known))


def test_a_folder_that_vanishes_ends_the_work_with_its_sentence(on_device, fresh, folder):
    cache, table = caching.open_cache(fresh), scanning.scan(folder).images
    shutil.rmtree(folder)
    with pytest.raises(RetrainLabError, match="has vanished, or is empty"):
        extracting.extract(fresh, cache, ImageFolder(folder), table)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupted_work_is_kept(on_device, fresh, folder, error, monkeypatch):
    real, lock, seen = computing.read_pixels, threading.Lock(), []

    def interrupted(*arguments):
        with lock:
            seen.append(1)
            if len(seen) == 22:
                raise error
        return real(*arguments)

    monkeypatch.setattr(computing, "read_pixels", interrupted)
    with pytest.raises(error):
        run(fresh, folder)
    monkeypatch.setattr(computing, "read_pixels", real)
    cache, table, done = run(fresh, folder)
    assert done.cached >= 16 and done.cached + done.computed == 27
    assert close(cache.features(table, OWN)[0], expected(fresh, folder, table))


def test_parts_are_written_on_the_way(on_device, fresh, folder, monkeypatch):
    monkeypatch.setattr(computing, "_ROWS_A_PART", 8)
    cache = run(fresh, folder)[0]
    assert len(cache.parts) == 4 and len(cache) == 27


def exhausted(monkeypatch, fresh, when, name):
    """A device whose memory is exhausted when that says so of the batches it was given; returns their sizes."""
    import tensorflow as tf

    whole, given = gpu.open_network(fresh, Gpu("/CPU:0", "")), []

    def run(pixels):
        given.append(len(pixels))
        if when(given):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return whole(pixels)

    monkeypatch.setattr(gpu, "open_network", lambda *_: Batched(run, name))
    return given


def test_memory_that_is_exhausted_makes_batches_smaller_and_nothing_is_lost(on_device, fresh, folder, monkeypatch):
    given = exhausted(monkeypatch, fresh, lambda given: given[-1] > 3, "GPU (small)")
    cache, table, done = run(fresh, folder)
    assert close(cache.features(table, OWN)[0], expected(fresh, folder, table)) and done.problems == {}
    assert given[:3] == [8, 4, 2] and max(given[2:]) == 2 and sum(given[2:]) == 27
    assert str(done).endswith("on the GPU (small), in float32, in batches of 2 for want of memory.")


def test_a_device_without_memory_ends_the_work_and_what_was_computed_is_kept(on_device, fresh, folder, monkeypatch):
    rounds = exhausted(monkeypatch, fresh, lambda given: len(given) > 2, "GPU (full)")
    with pytest.raises(RetrainLabError, match=r"memory of the device .* exhausted.*CUDA_VISIBLE_DEVICES=-1"):
        run(fresh, folder)
    assert rounds == [8, 8, 8, 4, 2, 1] and len(caching.open_cache(fresh)) == 16


def test_an_image_on_which_the_network_fails_is_named_and_its_batch_is_kept(on_device, tmp_path):
    import tensorflow as tf

    def inverse(x):
        return tf.reshape(tf.linalg.inv(tf.linalg.diag(tf.reduce_mean(x, [1, 2]))), [-1, 9])

    saved = tf.train.Checkpoint()
    saved.__call__ = tf.function(inverse, input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    tf.saved_model.save(saved, str(tmp_path / "module"))
    folder = make_folder(tmp_path / "photos", {"a": 9, "b": 9})
    Image.new("RGB", (9, 9)).save(folder / "a" / "black.png")
    backbone = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    cache, _, done = run(backbone, folder)
    assert done.problems == {"a/black.png": "the network fails on it: Input is not invertible."}
    assert done.computed == len(cache) == 18


def test_a_network_that_is_unfit_runs_on_the_cpu_and_that_is_said(on_device, tmp_path, folder):
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.__call__ = tf.function(
        lambda x: tf.reduce_mean(x, [1, 2]) + tf.reduce_mean(x), input_signature=[tf.TensorSpec([None, 8, 8, 3])]
    )
    tf.saved_model.save(saved, str(tmp_path / "module"))
    mixing = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    cache, table, done = run(mixing, folder)
    assert "on the CPU, since the network gives other features on the GPU (the CPU) (they differ" in str(done)
    assert np.array_equal(cache.features(table, OWN)[0], expected(mixing, folder, table))


def test_variants_and_conditions_go_the_same_way(on_device, fresh, folder):
    photos, table = ImageFolder(folder), scanning.load(folder, 20, 20).images
    distortion, condition = Distortion(flip_left_right=True, random_crop=20), CONDITIONS["noisy"][2]
    found = features.load(fresh, photos, table, distortion, 2)
    assert [done.device for done in found.extractions] == ["the GPU (the CPU), in float32"] * 2
    under = found.under(condition, np.arange(len(found.table)))

    def wanted(change, images, number):
        made = [
            change.make(lambda size, path=path: photos.read(path, size), fresh.image_size, sha256, number)
            for path, sha256 in zip(images["path"], images["sha256"], strict=True)
        ]
        return fresh.bottlenecks(np.stack(made))

    learnt = table[table["split"] == "train"]
    for number in (1, 2):
        made = found.cache.load(learnt["sha256"].tolist(), distortion.variant(number))
        assert close(made, wanted(distortion, learnt, number))
    assert close(under, wanted(condition, found.table, 1))


def test_activations_go_the_same_way(on_device, convolutions, folder):
    photos, table = ImageFolder(folder), scanning.load(folder, 20, 20).images
    cut = cutting.choose(cuts.of(convolutions), "first_out")
    kept = activations.load(features.load(convolutions, photos, table), cut, table)
    assert [done.device for done in kept.done] == ["the GPU (the CPU), in float32"]
    wanted = cutting.trunk(convolutions, cut).bottlenecks(photos.read_many(table["path"], convolutions.image_size))
    found = kept.cache.load(kept.known_by)
    assert kept.cache.dtype == np.float16 and np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()


def test_the_device_is_in_run_json(on_device, fresh, folder, tmp_path):
    lab = Lab.open("one", str(folder), 20, 20, reports_dir=tmp_path / "reports")
    lab.begin()
    lab.record(lab.features(BackboneSettings(fresh.handle), fresh.folder.parent))
    said = json.loads((lab.run.folder / "run.json").read_text())["extraction"]
    assert said.endswith("on the GPU (the CPU), in float32.")


def test_the_pipeline_reads_side_by_side_ahead_and_only_so_far():
    """Each of 4 reads waits for the 3 others, and no more are read than what the batches ahead take."""
    together, seen = threading.Barrier(4), []

    def read(number):
        seen.append(number)
        together.wait(timeout=20)
        return np.full((2, 2, 3), number, np.uint8)

    found = pipeline.batches(read, 200, (2, 2), 4, 4)
    numbers, pixels, failed = next(found)
    assert len(seen) <= 4 * 8 and not failed and (pixels[:, 0, 0, 0] == numbers).all()
    every = numbers + [number for more, *_ in found for number in more]
    assert sorted(every) == sorted(seen) == list(range(200))
