import io
import pickle

import pytest

from retrainlab.backbones import embedded, torch_files


def test_the_weights_are_read_whole():
    with embedded.weights_file("efficientnet_lite0").open("rb") as file:
        state = torch_files.read_torch_file(file)
        assert file.read() == b""
    assert len(state) == 296 and sum(array.size for array in state.values()) == 4_694_073


def test_a_file_that_names_anything_else_is_refused():
    evil = io.BytesIO(b"".join(pickle.dumps(part) for part in (1, 2, 3)) + pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match=r"unexpected builtins.print"):
        torch_files.read_torch_file(evil)
