"""A test for each complaint of retrain.py's and label_image.py's users; those about labelling are in test_labeling."""

import shutil
import threading

import numpy as np
import pytest
from conftest import make_folder, make_image
from PIL import Image

from retrainlab.bottlenecks import caching, extracting
from retrainlab.cli import retrain
from retrainlab.cli.flags import Flags
from retrainlab.images import overview, scanning
from retrainlab.pixels.decoding import ImageFolder, read_pixels
from retrainlab.pixels.levels import OWN
from retrainlab.training import heads, trainer


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "images", {"A-1": 8, "a 1": 8, "日本": 8})


def flags(tmp_path, image_dir, module, **more):
    out = {name: str(tmp_path / name) for name in ("output_graph", "output_labels", "summaries_dir", "checkpoint_path")}
    usual = {"how_many_training_steps": 20, "testing_percentage": 25, "validation_percentage": 25}
    return Flags(**(usual | out | {"image_dir": str(image_dir), "tfhub_module": str(module),
                                   "bottleneck_dir": str(tmp_path / "cache")} | more))  # fmt: skip


def test_moving_the_folder_keeps_the_split(folder, tmp_path):
    before = scanning.load(folder, 25, 25).images
    moved = shutil.move(folder, tmp_path / "elsewhere")
    assert scanning.load(moved, 25, 25).images["split"].tolist() == before["split"].tolist()


def test_adding_images_and_labels_keeps_every_split_and_uses_the_cache(folder, backbone, tmp_path):
    before = scanning.load(folder, 25, 25).images.set_index("path")["split"]
    cache = caching.Cache(tmp_path, backbone.dim)
    extracting.extract(backbone, cache, ImageFolder(folder), scanning.load(folder, 25, 25).images)
    make_folder(folder, {"A-1": 8, "a 1": 8, "日本": 8, "new": 5})
    make_image(99, 0).save(folder / "A-1" / "another.png")
    after = scanning.load(folder, 25, 25).images
    assert after.set_index("path")["split"][before.index].equals(before)
    assert extracting.extract(backbone, cache, ImageFolder(folder), after).computed == 6


def test_train_validation_and_test_accuracy_can_be_compared(folder, module, tmp_path):
    metrics = retrain.retrain(flags(tmp_path, folder, module))
    counts = overview.counts_by_label(scanning.load(folder, 25, 25, even=False).images)
    for split in ("train", "validation", "test"):
        assert metrics[split]["n"] == counts[split].sum()  # whole splits, each image once


def test_edited_images_get_new_bottlenecks(folder, backbone, tmp_path):
    cache = caching.Cache(tmp_path, backbone.dim)
    table = scanning.load(folder).images
    extracting.extract(backbone, cache, ImageFolder(folder), table)
    make_image(77, 5).save(folder / table["path"][0])
    again = scanning.load(folder).images
    assert extracting.extract(backbone, cache, ImageFolder(folder), again).computed == 1
    assert not np.array_equal(cache.load(again["sha256"][:1]), cache.load(table["sha256"][:1]))


def test_half_written_cache_files_are_set_aside_and_computed_again(folder, backbone, tmp_path):
    cache = caching.Cache(tmp_path, backbone.dim)
    table = scanning.load(folder).images
    extracting.extract(backbone, cache, ImageFolder(folder), table)
    (part,) = tmp_path.glob("*.arrow")
    part.write_bytes(part.read_bytes()[:-100])
    opened = caching.Cache(tmp_path, backbone.dim)
    opened.refresh()
    assert len(opened) == 0 and len(opened.damaged) == 1
    assert extracting.extract(backbone, opened, ImageFolder(folder), table).computed == table["sha256"].nunique()


def test_bottlenecks_are_binary_and_not_read_again_at_every_step(folder, backbone, tmp_path):
    cache = caching.Cache(tmp_path / "cache", backbone.dim)
    cache.folder.mkdir()
    table = scanning.load(folder, 25, 25).images
    extracting.extract(backbone, cache, ImageFolder(folder), table)
    assert [file.suffix for file in cache.folder.iterdir()] == [".arrow"]
    features, known = cache.features(table, OWN)
    shutil.rmtree(cache.folder)  # training does without
    (head,), _ = trainer.train(features, known["label"], known["split"], [heads.HeadSettings(20)])
    assert features.dtype == np.float32 and head.kernel.shape == (backbone.dim, 3)


def test_bottlenecks_are_computed_on_several_cores_at_once(folder, tmp_path):
    together = threading.Barrier(2)

    class Backbone:
        image_size, dim = (8, 8), 3

        def bottlenecks(self, pixels):
            together.wait(timeout=20)  # opens only when two threads are in here
            return np.zeros((1, 3), np.float32)

    table = scanning.load(folder).images
    done = extracting.extract(Backbone(), caching.Cache(tmp_path, 3), ImageFolder(folder), table[:22], threads=2)
    assert done.computed == 22 and not done.problems


def test_distortions_keep_the_cache(folder, module, tmp_path, caplog):
    caplog.set_level("INFO", logger="retrainlab")
    asked = flags(tmp_path, folder, module, flip_left_right=True, distortion_variants=2)
    retrain.retrain(asked)
    caplog.clear()
    retrain.retrain(asked)
    said = [record.getMessage() for record in caplog.records if "bottlenecks from the cache" in record.getMessage()]
    assert len(said) == 2 and all("none computed" in line for line in said)


def test_a_label_without_images_in_a_split_is_no_crash(module, tmp_path):
    root = make_folder(tmp_path / "images", {"many": 30, "one": 1, "two": 2})
    metrics = retrain.retrain(flags(tmp_path, root, module, testing_percentage=0))
    assert metrics["test"] == {"n": 0, "accuracy": None, "interval": None, "cross_entropy": None}
    assert metrics["train"]["n"] > 0
    assert any("no test image" in note for note in overview.notes(scanning.load(root, 0, 10).images))


def test_a_corrupt_image_is_named_and_passed_over(folder, module, tmp_path, caplog):
    (folder / "A-1" / "broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    retrain.retrain(flags(tmp_path, folder, module))
    said = [record.getMessage() for record in caplog.records]
    assert any("1 of 25 files are left out" in line for line in said)
    assert any(line.startswith("A-1/broken.jpg is left out: ") for line in said)
    table = scanning.load(folder).images.set_index("path")
    assert table["problem"]["A-1/broken.jpg"] and table["problem"].notna().sum() == 1


def test_every_usual_format_works_whatever_the_extension_says(tmp_path):
    picture = make_image(1, 1, (60, 40))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=turned)
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    picture.save(tmp_path / "really a png.jpg", "PNG")
    for suffix in ("gif", "webp", "bmp", "tiff"):
        picture.save(tmp_path / f"picture.{suffix}")
    expected = np.asarray(picture).mean()
    for file in tmp_path.iterdir():
        pixels = read_pixels(file)
        assert pixels.shape == ((60, 40, 3) if file.name == "turned.jpg" else (40, 60, 3)), file
        assert pixels.mean() == pytest.approx(expected, abs=4), file


def test_labels_stay_as_the_folders_are_named(folder, module, tmp_path):
    asked = flags(tmp_path, folder, module)
    retrain.retrain(asked)
    assert (tmp_path / "output_labels").read_text(encoding="utf-8").splitlines() == ["A-1", "a 1", "日本"]


def test_own_outputs_inside_image_dir_are_no_labels(folder, module, tmp_path):
    out = {name: str(folder / name) for name in ("summaries_dir", "saved_model_dir", "bottleneck_dir")}
    out |= {name: str(folder / "out" / name) for name in ("output_graph", "output_labels", "checkpoint_path")}
    for _ in range(2):
        retrain.retrain(flags(tmp_path, folder, module, **out))
        assert sorted(scanning.load(folder).images["label"].unique()) == ["A-1", "a 1", "日本"]


def test_summaries_of_an_earlier_run_are_kept(folder, module, tmp_path):
    logs = tmp_path / "summaries_dir"
    logs.mkdir()
    (logs / "notes of mine.txt").touch()
    for _ in range(2):
        retrain.retrain(flags(tmp_path, folder, module))
    (earlier,) = [path for path in logs.iterdir() if path.name not in ("train", "validation", "notes of mine.txt")]
    assert (logs / "notes of mine.txt").exists()
    assert list((earlier / "train").glob("events*")) and list((earlier / "validation").glob("events*"))


def test_the_seed_makes_runs_repeatable(folder, module, tmp_path):
    once, again = (retrain.retrain(flags(tmp_path, folder, module)) for _ in range(2))
    assert once == again


def test_the_saved_model_does_not_care_for_the_final_tensor_name(folder, module, tmp_path):
    import tensorflow as tf

    asked = flags(tmp_path, folder, module, final_tensor_name="other", saved_model_dir=str(tmp_path / "saved"))
    retrain.retrain(asked)
    signature = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    assert list(signature.structured_outputs) == ["prediction"]
