import matplotlib
import numpy as np
import pytest

from retrainlab.backbones import embedded, registry
from retrainlab.backbones.torch_files import read_torch_file
from retrainlab.images.decoding import read_pixels


@pytest.mark.parametrize(("name", "size"), [("efficientnet_lite0", 224), ("efficientnet_lite2", 260)])
def test_the_rebuilt_network_sees_what_the_trained_one_saw(tmp_path, name, size):
    """Matplotlib's sample photo, Grace Hopper in uniform, is ImageNet's class 652, `military uniform`.

    The network's own classifier, which the backbone leaves out, is applied by hand.
    """
    backbone = registry.resolve(name, tmp_path)
    assert (backbone.image_size, backbone.dim) == ((size, size), 1280)
    photo = f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg"
    bottleneck = backbone.bottlenecks(read_pixels(photo, backbone.image_size)[None])[0]
    with embedded.weights_file(name).open("rb") as file:
        state = read_torch_file(file)
    logits = state["_fc.weight"] @ bottleneck + state["_fc.bias"]
    best = np.argsort(-logits)[:5]
    assert best[0] == 652 and {457, 834, 906} & set(best)  # and a bow tie, suit or Windsor tie
