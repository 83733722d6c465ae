import io
import pickle

import matplotlib
import numpy as np
import pytest

from retrainlab.backbones import embedded, registry
from retrainlab.pixels.decoding import read_pixels


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
        state = embedded.read_torch_file(file)
    logits = state["_fc.weight"] @ bottleneck + state["_fc.bias"]
    best = np.argsort(-logits)[:5]
    assert best[0] == 652 and {457, 834, 906} & set(best)  # and a bow tie, suit or Windsor tie


def test_the_weights_are_read_whole():
    with embedded.weights_file("efficientnet_lite0").open("rb") as file:
        state = embedded.read_torch_file(file)
        assert file.read() == b""
    assert len(state) == 296 and sum(array.size for array in state.values()) == 4_694_073


def test_a_file_that_names_anything_else_is_refused():
    evil = io.BytesIO(b"".join(pickle.dumps(part) for part in (1, 2, 3)) + pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match=r"unexpected builtins.print"):
        embedded.read_torch_file(evil)
