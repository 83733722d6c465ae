"""What a person may give instead of a SavedModel's folder: it is named, with what to do."""

import shutil
import tarfile

import numpy as np
import pytest

from retrainlab.backbones import foreign, registry
from retrainlab.errors import RetrainLabError


def said(tmp_path, given) -> str:
    with pytest.raises(RetrainLabError) as error:
        registry.resolve(str(given), tmp_path / "cache")
    return str(error.value)


def test_the_folder_above_and_the_file_inside(tmp_path, module):
    (tmp_path / "download").mkdir()
    inner = tmp_path / "download" / "2"
    shutil.copytree(module, inner)
    assert f"but there is one in '{inner}'. Give that folder." in said(tmp_path, tmp_path / "download")
    assert f"it is a file of one. Give its folder, '{inner}'." in said(tmp_path, inner / "saved_model.pb")


@pytest.mark.parametrize(
    ("how", "name"), [("gztar", "a tar archive"), ("tar", "a tar archive"), ("zip", "a zip archive")]
)
def test_the_archive_itself_or_the_folder_that_holds_it(tmp_path, module, how, name):
    (tmp_path / "download").mkdir()
    file = shutil.make_archive(str(tmp_path / "download" / "archive"), how, module)
    advice = "unpack it and give the folder that holds saved_model.pb."
    for given in (file, tmp_path / "download"):
        found = said(tmp_path, given)
        assert name in found and found.endswith(advice) and "Expected the folder of a SavedModel" in found


def test_models_of_keras(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    for name in ("mine.keras", "mine.h5"):
        model.save(tmp_path / name)
    assert f"it is {foreign.recognise(tmp_path / 'mine.h5').name}. Expected" in said(tmp_path, tmp_path / "mine.h5")
    assert "export(FOLDER)` and give that folder." in said(tmp_path, tmp_path / "mine.h5")
    found = registry.resolve(str(tmp_path / "mine.keras"), tmp_path / "cache")  # as it is
    assert found.bottlenecks(np.full((1, 8, 8, 3), 51, np.uint8)) == pytest.approx(0.2, abs=1e-5)
    exported = keras.models.load_model(tmp_path / "mine.keras")
    exported.export(tmp_path / "exported", verbose=False)  # as the sentence says
    assert registry.resolve(str(tmp_path / "exported"), tmp_path / "cache").dim == 3


def test_a_keras_file_that_keras_cannot_load(tmp_path):
    (tmp_path / "mine.keras").write_bytes(b"PK\x05\x06" + bytes(18))
    assert f"Keras cannot load '{tmp_path / 'mine.keras'}' (" in said(tmp_path, tmp_path / "mine.keras")
    assert "No backbone" in said(tmp_path, tmp_path / "gone.keras")


def test_a_litert_model(tmp_path, backbone):
    network = backbone.folder / "backbone.tflite"
    assert "it is a LiteRT model (.tflite). Expected the folder of a SavedModel" in said(tmp_path, network)


def test_files_that_are_nothing_known(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    assert foreign.recognise(tmp_path / "notes.txt") is None
    assert said(tmp_path, tmp_path / "notes.txt").endswith(
        "it is a file. Expected the folder of a SavedModel, such as a TF Hub module's."
    )
    (tmp_path / "half.tar.gz").write_bytes(b"\x1f\x8b\x08\x00rubbish")
    assert foreign.recognise(tmp_path / "half.tar.gz").name == "a tar archive"
    with tarfile.open(tmp_path / "plain.tar", "w"):
        pass
    assert foreign.recognise(tmp_path / "plain.tar").name == "a tar archive"
