"""Every file of a run, an export and a cache, damaged: the right numbers come of it, or a sentence that names it."""

import shutil

import pytest
from conftest import make_folder, make_image, run_notebook
from damaged_files import LOOKS, Watched, damages
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

FIXED = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck),
         "phases": [Phase.generate]}  # fmt: skip
HARD = 10  # damages of each file


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Two runs as 03_retrain leaves them, on a Keras model of three layers: its SavedModel lies in the cache."""
    import tensorflow as tf

    place = tmp_path_factory.mktemp("damage")
    make_folder(place / "images", {"red": 14, "green": 14, "blue": 14})
    make_image(3, 1).save(place / "image.png")
    tf.keras.utils.set_random_seed(0)
    layers = [tf.keras.layers.Conv2D(count, 3, 2, "same", activation="relu") for count in (8, 12)]
    model = tf.keras.Sequential([tf.keras.Input((32, 32, 3)), *layers, tf.keras.layers.GlobalAveragePooling2D()])
    model.save(place / "tiny.keras")
    where = {"reports_dir": str(place / "sound/reports"), "bottleneck_dir": str(place / "sound/cache"),
             "image_dir": str(place / "images"), "tfhub_module": str(place / "tiny.keras")}  # fmt: skip
    run_notebook("03", run="one", how_many_training_steps=20, weight_decay=[0.1, 1.0], **where)
    shutil.rmtree(place / "sound/reports/one/logs")
    shutil.copytree(place / "sound/reports/one", place / "sound/reports/two")
    LOOKS["reopen"](place / "sound")  # so that it notes which parts of the cache were checked
    return Watched(place / "sound")


@settings(max_examples=15, **FIXED)
@given(st.data())
def test_a_damaged_file_gives_the_same_or_is_said(watched, data):
    file = data.draw(st.sampled_from([file for file in watched.damageable() if not _slow(file)]))
    watched.hold(file, data.draw(damages(file)))


def test_every_kind_of_file_is_there_to_be_damaged(watched):
    names = {name.rpartition("/")[2] for name in watched.damageable()}
    assert {"run.json", "metrics.json", "images.parquet", "contract.json", "guard.npz", "backbone.json", "cuts.json",
            "backbone.tflite", "frozen.pb", "checked.json", "saved_model.sha256", "learnt.txt"} <= names  # fmt: skip


def _slow(file: str) -> bool:
    """What TensorFlow takes a second for."""
    return "saved_model" in file or file.endswith((".tflite", ".pb", "backbone.json", "cuts.json", "contract.json"))


@pytest.mark.hard
def test_every_file_damaged_in_many_ways(watched, capsys):
    watched.counts.clear()
    for file in watched.damageable():
        _many(file, watched)
    tried = watched.counts.total()
    with capsys.disabled():
        print(f"\n{tried} damages of {len(watched.damageable())} files: {dict(watched.counts)}")
    assert tried >= HARD * len(watched.damageable()) * 0.9  # hypothesis may not find as many ways for an empty file


def _many(file, watched):
    many = 4 * HARD if file.endswith(("run.json", "metrics.json", "contract.json")) else HARD

    @settings(max_examples=many, **FIXED)
    @given(damages(file))
    def each(damage):
        watched.hold(file, damage)

    each()
