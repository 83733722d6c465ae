"""Modules fetched from a loopback server that stands for TF Hub; and what their names tell."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import save_module
from module_server import Server, archive

from retrainlab.backbones import hub, modules, registry
from retrainlab.errors import RetrainLabError


def save_tf1_module(folder: Path, dim: int = 6) -> Path:
    """A module in TF1's Hub format: the signature `default`, from `images` to `default`, and tfhub_module.pb."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 16, 16, 3])
        kernel = v1.get_variable("kernel", initializer=np.random.default_rng(0).normal(size=(3, dim)).astype("f"))
        vectors = tf.nn.relu(tf.reduce_mean(images, [1, 2]) @ kernel)
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"images": images}, {"default": vectors})
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")  # format version 3: how tensorflow_hub knows TF1 modules
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "modules"))
    started = Server()
    yield started
    started.stop()


@pytest.mark.parametrize(("save", "side", "dim"), [(save_tf1_module, 16, 6), (save_module, 32, 24)], ids=["TF1", "TF2"])
def test_a_module_is_fetched_used_and_used_again_with_the_server_stopped(server, tmp_path, save, side, dim):
    import tensorflow as tf

    folder = save(tmp_path / "module")
    server.archives["/tiny/feature_vector/1"] = archive(folder)
    handle = f"{server.url}/tiny/feature_vector/1"
    backbone = registry.resolve(handle, tmp_path / "cache")
    assert server.asked == [("/tiny/feature_vector/1", "tf-hub-format=compressed")]
    assert (backbone.image_size, backbone.dim) == ((side, side), dim)
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    found = backbone.bottlenecks(pixels)
    loaded, batch = tf.saved_model.load(str(folder)), tf.constant(pixels / 255, tf.float32)
    expected = loaded(batch) if callable(loaded) else loaded.signatures["default"](images=batch)["default"]
    assert found == pytest.approx(expected.numpy(), abs=1e-5)

    server.stop()
    again = registry.resolve(handle, tmp_path / "cache")
    assert again.digest == backbone.digest and np.array_equal(again.bottlenecks(pixels), found)
    # also with another bottleneck cache: the module itself is kept
    elsewhere = registry.resolve(handle, tmp_path / "other cache")
    assert elsewhere.digest == backbone.digest and len(server.asked) == 1


def test_a_connection_that_is_cut_off_leaves_nothing_half_done(server, tmp_path):
    server.archives["/tiny/1"] = archive(save_module(tmp_path / "module"))
    server.cut = True
    with pytest.raises(RetrainLabError, match=r"the connection was cut off after [\d,]+ of [\d,]+ bytes; run again"):
        hub.fetch(f"{server.url}/tiny/1")
    assert [path.name for path in (tmp_path / "modules").iterdir()] == []
    server.cut = False
    assert (hub.fetch(f"{server.url}/tiny/1") / "saved_model.pb").exists()


def test_a_module_that_was_damaged_since_is_fetched_again(server, tmp_path):
    server.archives["/tiny/1"] = archive(save_module(tmp_path / "module"))
    kept = hub.fetch(f"{server.url}/tiny/1")
    (weights,) = kept.glob("variables/*.data*")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:200] + b"\1" + whole[201:])
    assert hub.fetch(f"{server.url}/tiny/1") == kept and weights.read_bytes() == whole and len(server.asked) == 2
    modules._sealed(kept).unlink()  # as if somebody had unpacked it there: nothing is known of it
    weights.write_bytes(whole[:200] + b"\1" + whole[201:])
    hub.fetch(f"{server.url}/tiny/1")
    assert len(server.asked) == 2


def test_no_network_and_no_cache_end_in_a_sentence(server, tmp_path):
    server.stop()
    with pytest.raises(RetrainLabError) as error:
        registry.resolve(f"{server.url}/tiny/1", tmp_path / "cache")
    said = str(error.value)
    assert "Connection refused" in said and "\n" not in said
    assert "fetch and unpack it elsewhere" in said and "efficientnet_lite0" in said


@pytest.mark.parametrize(
    ("name", "link", "said"),
    [
        ("../outside", None, "'../outside', which would lie outside its folder"),
        ("/outside", None, "'/outside', which would lie outside its folder"),
        ("/some/where/outside", None, "'/some/where/outside', which would lie outside its folder"),
        ("outside", tarfile.SYMTYPE, "'outside', which is a link to '/etc/passwd'"),
        ("outside", tarfile.LNKTYPE, "'outside', which is a link to '/etc/passwd'"),
    ],
)
def test_an_archive_that_reaches_outside_its_folder_is_refused(server, tmp_path, name, link, said):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = link, "/etc/passwd"
        tar.addfile(member, io.BytesIO())
    server.archives["/bad/1"] = packed.getvalue()
    with pytest.raises(RetrainLabError, match=f"could not be fetched: what was sent holds {said}"):
        hub.fetch(f"{server.url}/bad/1")
    assert not list(tmp_path.rglob("outside*"))


def test_an_archive_that_is_cut_short_at_its_source(server, tmp_path):
    whole = archive(save_module(tmp_path / "module"))
    server.archives["/tiny/1"] = whole[: len(whole) // 2]
    with pytest.raises(RetrainLabError, match="could not be fetched: what was sent is cut short or damaged"):
        hub.fetch(f"{server.url}/tiny/1")
    assert not list((tmp_path / "modules").iterdir())


def test_an_archive_of_something_else_is_not_kept(server, tmp_path, module):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").touch()
    server.archives["/tiny/1"] = archive(tmp_path / "notes")
    with pytest.raises(RetrainLabError, match=r"could not be fetched: what was sent holds no saved_model\.pb"):
        hub.fetch(f"{server.url}/tiny/1")
    server.archives["/tiny/1"] = archive(module)
    assert (hub.fetch(f"{server.url}/tiny/1") / "saved_model.pb").exists()


def test_a_module_that_cannot_be_loaded_is_fetched_again(server, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"nonsense")
    server.archives["/tiny/feature_vector/1"] = archive(tmp_path / "broken")
    handle = f"{server.url}/tiny/feature_vector/1"
    with pytest.raises(RetrainLabError, match="damaged or incomplete; fetch it again"):
        registry.resolve(handle, tmp_path / "cache")
    server.archives["/tiny/feature_vector/1"] = archive(save_module(tmp_path / "module"))
    assert registry.resolve(handle, tmp_path / "cache").dim == 24


def test_a_sound_module_of_another_kind_is_not_fetched_again(server, tmp_path):
    import tensorflow as tf

    text = tf.train.Checkpoint()
    text.__call__ = tf.function(lambda x: tf.zeros([tf.shape(x)[0], 4]), [tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(text, str(tmp_path / "text"))
    server.archives["/text/1"] = archive(tmp_path / "text")
    for _ in range(2):
        with pytest.raises(RetrainLabError, match=r"no image feature vector: it takes string \(None,\)"):
            registry.resolve(f"{server.url}/text/1", tmp_path / "cache")
    assert len(server.asked) == 1


def test_what_tensorflow_hub_has_fetched_is_found_and_the_other_way_round(server, tmp_path, monkeypatch):
    from retrainlab.backbones.runtimes import tensorflow_hub

    server.archives["/tiny/1"] = archive(save_module(tmp_path / "module"))
    theirs = Path(tensorflow_hub().resolve(f"{server.url}/tiny/1"))
    assert hub.fetch(f"{server.url}/tiny/1") == theirs and len(server.asked) == 1
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "other"))
    ours = hub.fetch(f"{server.url}/tiny/1")
    assert Path(tensorflow_hub().resolve(f"{server.url}/tiny/1")) == ours and len(server.asked) == 2


def test_handles():
    assert hub.is_handle("https://tfhub.dev/google/imagenet/inception_v3/feature_vector/5")
    assert hub.is_handle("google/inception-v3/tensorFlow2/feature-vector/2")
    assert not hub.is_handle("efficientnet_lite9") and not hub.is_handle("models/mine")
    with pytest.raises(RetrainLabError, match="does not say which version; add one, such as google/inception-v3"):
        hub.fetch("google/inception-v3/tensorFlow2/feature-vector")
    assert hub._address("google/inception-v3/tensorFlow2/feature-vector/2") == (
        "https://www.kaggle.com/models/google/inception-v3/frameworks/tensorFlow2/variations/feature-vector/versions/2"
    )


# --------------------------------------------------------------------------------------------- what a name tells


def test_names_tell_the_image_size():
    assert hub.image_size("https://tfhub.dev/google/imagenet/inception_v3/feature_vector/1") == 299
    assert hub.image_size("https://tfhub.dev/tensorflow/efficientnet/b3/feature-vector/1") == 300
    assert hub.image_size("https://tfhub.dev/google/bit/m-r50x1/1") == 224
    assert hub.image_size("/models/mobilenet_v2_035_128/feature_vector") == 128
    assert hub.image_size("/models/resnet_v2_152") is None


@pytest.mark.parametrize(
    ("handle", "size"),
    [
        ("tensorflow/efficientnet/tensorFlow2/b0-feature-vector/1", 224),
        ("tensorflow/efficientnet/tensorFlow2/b7-feature-vector/1", 600),
        ("tensorflow/efficientnet/tensorFlow2/lite4-feature-vector/2", 300),
        ("google/efficientnet-v2/tensorFlow2/imagenet1k-b3-feature-vector/2", 300),
        ("google/efficientnet-v2/tensorFlow2/imagenet21k-ft1k-m-feature-vector/2", 480),
        ("google/efficientnet-v2/tensorFlow2/imagenet21k-xl-feature-vector/1", 512),
        ("google/resnet-v2/tensorFlow2/50-feature-vector/2", 224),
        ("google/resnet-v1/tensorFlow2/152-feature-vector/2", 224),
        ("google/bit/tensorFlow2/m-r101x3/1", 224),
        ("google/inception-resnet-v2/tensorFlow2/feature-vector/2", 299),
        ("google/mobilenet-v2/tensorFlow2/035-128-feature-vector/2", 128),
        ("https://www.kaggle.com/models/google/bit/frameworks/TensorFlow2/variations/m-r50x1/versions/1", 224),
        ("https://www.kaggle.com/models/tensorflow/efficientnet/TensorFlow2/b4-feature-vector/1", 380),
        ("https://tfhub.dev/google/imagenet/efficientnet_v2_imagenet21k_s/feature_vector/2", 384),
        ("https://tfhub.dev/google/imagenet/resnet_v1_101/feature_vector/5", 224),
    ],
)
def test_handles_of_well_known_networks_tell_the_image_size(handle, size):
    assert hub.image_size(handle) == size


@pytest.mark.parametrize(
    "handle",
    [
        "somebody/efficientnet-b3-leaves/tensorFlow2/default/1",  # trained anew, on whatever size
        "somebody/resnet-v2/tensorFlow2/50-feature-vector/1",
        "google/efficientnet-v2/tensorFlow2/imagenet1k-b9-feature-vector/1",
        "google/resnet-rs/tensorFlow2/50-feature-vector/1",
        "https://example.org/google/bit/m-r50x1/1",
        "/models/efficientnet_b3",
    ],
)
def test_handles_of_other_networks_tell_nothing(handle):
    assert hub.image_size(handle) is None


def test_every_well_known_module_is_told_by_its_name():
    for module in hub.known_modules():
        assert hub.image_size(module["handle"]) == int(module["image_size"])
        assert int(module["image_size"]) >= 96 and int(module["dim"]) >= 256 and hub.is_handle(module["handle"])


def test_a_number_in_the_path_of_a_folder_is_no_image_size():
    assert hub.image_size("/data/256/photos/net") is None
    assert hub.image_size("/data/256/mobilenet_v2_100_192/2") == 192
