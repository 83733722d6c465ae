import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import save_module

from retrainlab import backbones
from retrainlab.backbones import converting, embedded, modules, registry
from retrainlab.errors import RetrainLabError


def test_a_backbone_knows_its_size_and_agrees_with_tensorflow(module, backbone):
    import tensorflow as tf

    assert (backbone.image_size, backbone.dim) == ((32, 32), 24)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    loaded = tf.saved_model.load(str(module))
    expected = loaded(tf.constant(pixels.astype(np.float32) / 255)).numpy()
    found = backbone.bottlenecks(pixels)
    assert found.dtype == np.float32 and found == pytest.approx(expected, abs=1e-5)
    assert backbone.bottlenecks(pixels[:0]).shape == (0, 24)


def test_the_digest_is_of_the_content_not_of_the_place(module, backbone, tmp_path):
    for name in ("elsewhere", "later"):
        moved = shutil.copytree(module, tmp_path / name)
        found = registry.resolve(str(moved), tmp_path / "cache")
        assert found.digest == backbone.digest and found.module == moved
        shutil.rmtree(moved)
    other = save_module(tmp_path / "other", seed=1)
    assert registry.resolve(str(other), tmp_path / "cache").digest != backbone.digest


def test_a_known_backbone_opens_without_tensorflow(module, backbone, bottleneck_dir):
    code = (
        "import sys, numpy as np; from retrainlab.backbones import registry;"
        f"b = registry.resolve({str(module)!r}, {str(bottleneck_dir)!r});"
        "b.bottlenecks(np.zeros((1, 32, 32, 3), np.uint8)); print(b.dim, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["24", "False"]
    assert done.stderr == ""  # the libraries' own chatter is kept off


def test_the_cache_is_tagged_so_that_scans_and_backups_pass_it_over(backbone, bottleneck_dir):
    assert (bottleneck_dir / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    record = json.loads((backbone.folder / "backbone.json").read_text())
    assert record["image_size"] == [32, 32] and record["digest"] == backbone.digest


def test_errors_are_sentences(tmp_path):
    import tensorflow as tf

    with pytest.raises(RetrainLabError, match=r"No backbone 'efficientnet_lite9'\. Expected one of efficientnet_lite0"):
        registry.resolve("efficientnet_lite9", tmp_path)
    with pytest.raises(RetrainLabError, match=r"holds no saved_model.pb"):
        registry.resolve(str(tmp_path), tmp_path / "cache")
    plain = tf.Module()
    plain.f = tf.function(lambda x: x, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(plain, str(tmp_path / "plain"))
    with pytest.raises(RetrainLabError, match="no image feature vector"):
        registry.resolve(str(tmp_path / "plain"), tmp_path / "cache")
    images = tf.train.Checkpoint()
    images.__call__ = tf.function(lambda x: x * 2, input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
    tf.saved_model.save(images, str(tmp_path / "images"))
    with pytest.raises(RetrainLabError, match=r"returns an array of shape \(1, 8, 8, 3\)"):
        registry.resolve(str(tmp_path / "images"), tmp_path / "cache")
    with pytest.raises(RetrainLabError, match="does not take images of 20 x 20 pixels"):
        registry.resolve(str(save_module(tmp_path / "tiny")), tmp_path / "cache", image_size=20)


def test_a_new_kind_of_handle_is_one_new_file(tmp_path, module, monkeypatch):
    (tmp_path / "aliases.py").write_text(
        "from pathlib import Path\n"
        "from retrainlab.backbones.backbone import Kind\n"
        "from retrainlab.backbones.modules import digest\n"
        f"place = Path({str(module)!r})\n"
        "KIND = Kind(1, ('an alias (alias:NAME)',), lambda handle: handle.startswith('alias:'),\n"
        "            lambda handle: digest(place), lambda handle, folder: place)\n"
    )
    monkeypatch.setattr(backbones, "__path__", [*backbones.__path__, str(tmp_path)])
    registry._kinds.cache_clear()
    try:
        assert registry.resolve("alias:tiny", tmp_path / "cache").dim == 24
        with pytest.raises(
            RetrainLabError, match=r"Expected one of .*, an alias \(alias:NAME\), the address of .*, or a K"
        ):
            registry.resolve("alien", tmp_path / "cache")
    finally:
        sys.modules.pop("retrainlab.backbones.aliases", None)
        registry._kinds.cache_clear()


def test_a_cache_whose_place_is_taken_by_a_file(tmp_path, module):
    (tmp_path / "cache").touch()
    with pytest.raises(RetrainLabError, match="cannot be written"):
        registry.resolve(str(module), tmp_path / "cache")


def test_a_module_that_takes_any_size_needs_image_size_or_a_name_that_tells(tmp_path):
    import tensorflow as tf

    free = tf.train.Checkpoint()
    spec = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    free.__call__ = tf.function(lambda x: tf.reduce_mean(x, [1, 2]), input_signature=spec)
    for name in ("free", "resnet_v2_152", "mobilenet_v9_160"):
        tf.saved_model.save(free, str(tmp_path / name))
    with pytest.raises(RetrainLabError, match="set image_size"):
        registry.resolve(str(tmp_path / "free"), tmp_path / "cache")
    with pytest.raises(RetrainLabError, match="set image_size"):
        registry.resolve(str(tmp_path / "resnet_v2_152"), tmp_path / "cache")
    small = registry.resolve(str(tmp_path / "free"), tmp_path / "cache", 40)
    large = registry.resolve(str(tmp_path / "free"), tmp_path / "cache", 48)
    assert small.image_size == (40, 40) and small.folder != large.folder
    assert registry.resolve(str(tmp_path / "mobilenet_v9_160"), tmp_path / "cache").image_size == (160, 160)


def test_a_module_with_fake_quantization_operations_works(tmp_path):
    """Such modules make quantization-aware graphs: they round to 8 bits, in TensorFlow as in LiteRT."""
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.kernel = tf.Variable(np.random.default_rng(0).normal(0, 0.5, (3, 3, 3, 8)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32)])
    def features(images):
        fake = tf.quantization.fake_quant_with_min_max_args
        images = fake(images, 0.0, 1.0)
        inner = tf.nn.relu6(tf.nn.conv2d(images, fake(saved.kernel, -2.0, 2.0), 2, "SAME"))
        return tf.reduce_mean(fake(inner, 0.0, 6.0), [1, 2])

    saved.__call__ = features
    tf.saved_model.save(saved, str(tmp_path / "module"))
    backbone = registry.resolve(str(tmp_path / "module"), tmp_path / "cache")
    pixels = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    expected = features(tf.constant(pixels / 255, tf.float32)).numpy()
    assert backbone.bottlenecks(pixels) == pytest.approx(expected, abs=0.02)  # a step of the rounding is 0.024


def save_function(folder, function, shape=(None, 8, 8, 3), dtype="float32"):
    """A callable module without weights."""
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.__call__ = tf.function(function, input_signature=[tf.TensorSpec(shape, dtype)])
    tf.saved_model.save(saved, str(folder))
    return str(folder)


def test_a_wrong_image_size_names_the_modules_own(tmp_path, module):
    said = r"does not take images of 40 x 40 pixels, but of 32 x 32\. Set image_size to 0, and it gets those\.$"
    with pytest.raises(RetrainLabError, match=said):
        registry.resolve(str(module), tmp_path / "cache", 40)


@pytest.mark.parametrize(
    ("known", "said"),
    [("when it is traced", ": Dimension size .* 4800"), ("when it runs", r"\. Set image_size to a size that it takes")],
)
def test_a_wrong_image_size_that_shows_only_inside_the_module(tmp_path, known, said):
    import tensorflow as tf

    def flatten(images):
        shown = tf.random.uniform([], 3072, 3073, tf.int32) if known == "when it runs" else 3072
        return tf.reshape(images, [-1, shown])

    flat = save_function(tmp_path / "flat", flatten, (None, None, None, 3))
    if known == "when it is traced":
        assert registry.resolve(flat, tmp_path / "cache", 32).dim == 3072
    with pytest.raises(RetrainLabError, match=f"does not take images of 40 x 40 pixels{said}") as error:
        registry.resolve(flat, tmp_path / "cache", 40)
    assert "in user code" not in str(error.value)


def test_a_module_without_signatures_tells_its_size_too(tmp_path):
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.__call__ = tf.function(lambda x: tf.reduce_mean(x, [1, 2]), [tf.TensorSpec([None, 8, 10, 3], tf.float32)])
    tf.saved_model.save(saved, str(tmp_path / "module"), signatures={})
    assert registry.resolve(str(tmp_path / "module"), tmp_path / "cache").image_size == (8, 10)


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (lambda x: {"logits": x[:, 0, 0], "pooled": x[:, 1, 1]}, "it returns a dict of logits, pooled"),
        (lambda x: [x[:, 0, 0], x[:, 1, 1]], "it returns a list"),
    ],
)
@pytest.mark.parametrize("size", [0, 8])
def test_a_module_that_returns_no_tensor_is_no_image_feature_vector(tmp_path, returns, said, size):
    made = save_function(tmp_path / "module", returns)
    with pytest.raises(RetrainLabError, match=rf"is no image feature vector: {said}\. Expected one array"):
        registry.resolve(made, tmp_path / "cache", size)


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [
        ([None], "string", r"string \(None,\)"),
        ([None, 7], "float32", r"float32 \(None, 7\)"),
        ([1, None, None, 3], "uint8", r"uint8 \(1, None, None, 3\)"),
        ([None, 28, 28, 1], "float32", r"float32 \(None, 28, 28, 1\)"),
    ],
)
@pytest.mark.parametrize("size", [0, 28])
def test_a_module_that_takes_no_images_is_no_image_feature_vector(tmp_path, shape, dtype, said, size):
    import tensorflow as tf

    made = save_function(tmp_path / "module", lambda x: tf.zeros([tf.shape(x)[0], 4]), shape, dtype)
    with pytest.raises(RetrainLabError, match=f"is no image feature vector: it takes {said}. Expected one that takes"):
        registry.resolve(made, tmp_path / "cache", size)


@pytest.mark.parametrize("number", ["inf", "nan"])
def test_a_module_that_gives_inf_or_nan_is_refused(tmp_path, number):
    made = save_function(tmp_path / "module", lambda x: x[:, 0, 0] + float(number))
    with pytest.raises(RetrainLabError, match=r"returns numbers that are not finite"):
        registry.resolve(made, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/backbone*"))


def test_a_folder_of_other_things_is_not_tagged_as_a_cache(tmp_path, module):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").touch()
    registry.resolve(str(module), tmp_path / "work")
    assert not (tmp_path / "work" / "CACHEDIR.TAG").exists()


def test_paths_that_tensorflow_takes_for_wildcards(tmp_path, module):
    shutil.copytree(module, tmp_path / "mine [1]*?" / "module")
    backbone = registry.resolve(str(tmp_path / "mine [1]*?" / "module"), tmp_path / "cache [2]")
    assert backbone.dim == 24


@pytest.mark.parametrize(("file", "kept"), [("backbone.json", 0), ("backbone.json", 20), ("backbone.tflite", 100)])
def test_a_damaged_backbone_is_converted_again(tmp_path, module, file, kept):
    first = registry.resolve(str(module), tmp_path)
    whole = {name: (first.folder / name).read_bytes() for name in ("backbone.json", "backbone.tflite")}
    (first.folder / file).write_bytes(whole[file][:kept])
    again = registry.resolve(str(module), tmp_path)
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    assert np.array_equal(again.bottlenecks(pixels), first.bottlenecks(pixels))
    assert (first.folder / file).read_bytes() == whole[file]


@pytest.mark.parametrize("file", ["backbone.json", "backbone.tflite"])
def test_a_byte_that_changed_is_found_wherever_it_is(tmp_path, module, monkeypatch, file):
    first = registry.resolve(str(module), tmp_path)
    monkeypatch.setattr(converting, "convert", lambda *given: None)  # whether it would be: converting takes seconds
    assert registry._resolved(first.settings, tmp_path) == first
    whole, random = (first.folder / file).read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.integers(0, 8)
        (first.folder / file).write_bytes(bytes(damaged))
        assert registry._resolved(first.settings, tmp_path) is None, place
    record = (
        json.loads((first.folder / "backbone.json").read_text()) if file == "backbone.tflite" else json.loads(whole)
    )
    for values in ({**record, "dim": 25}, {**record, "seal": None}, [], None, {}, "text"):
        (first.folder / "backbone.json").write_text(json.dumps(values))
        assert registry._resolved(first.settings, tmp_path) is None, values


def test_a_damaged_network_is_built_again_if_it_can_be_and_left_alone_if_it_is_a_persons_own(tmp_path):
    place, own = tmp_path / embedded.digest("efficientnet_lite0"), tmp_path / "own"
    for folder in (place / "saved_model", own):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"nonsense")
    assert not modules.is_whole(place / "saved_model")
    assert modules.is_whole(embedded.build("efficientnet_lite0", place))
    with pytest.raises(RetrainLabError, match="may be damaged or incomplete"):
        registry.resolve(str(own), tmp_path)
    assert (own / "saved_model.pb").read_bytes() == b"nonsense"


def test_a_file_where_a_backbones_folder_should_be(tmp_path, module, backbone):
    (tmp_path / backbone.digest).touch()
    with pytest.raises(RetrainLabError, match=r"The bottleneck folder .* cannot be written: File exists\."):
        registry.resolve(str(module), tmp_path)


def test_a_cache_that_holds_only_data_sets_yet_is_marked_as_one(tmp_path, module):
    (tmp_path / "cache" / "datasets" / "elpv").mkdir(parents=True)
    registry.resolve(str(module), tmp_path / "cache")
    assert (tmp_path / "cache" / "CACHEDIR.TAG").exists()
