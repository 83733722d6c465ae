import pytest

from retrainlab.backbones import hub, published


def test_names_tell_the_image_size():
    assert published.image_size("https://tfhub.dev/google/imagenet/inception_v3/feature_vector/1") == 299
    assert published.image_size("https://tfhub.dev/tensorflow/efficientnet/b3/feature-vector/1") == 300
    assert published.image_size("https://tfhub.dev/google/bit/m-r50x1/1") == 224
    assert published.image_size("/models/mobilenet_v2_035_128/feature_vector") == 128
    assert published.image_size("/models/resnet_v2_152") is None


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
    assert published.image_size(handle) == size


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
    assert published.image_size(handle) is None


def test_every_well_known_module_is_told_by_its_name():
    for module in published.known_modules():
        assert published.image_size(module["handle"]) == int(module["image_size"])
        assert int(module["image_size"]) >= 96 and int(module["dim"]) >= 256 and hub.is_handle(module["handle"])


def test_a_number_in_the_path_of_a_folder_is_no_image_size():
    assert published.image_size("/data/256/photos/net") is None
    assert published.image_size("/data/256/mobilenet_v2_100_192/2") == 192
