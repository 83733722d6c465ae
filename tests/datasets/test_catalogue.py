"""The catalogue's cards, parameter files and labels; the lists that MATLAB wrote."""

import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.io import savemat

from retrainlab.datasets import catalogue
from retrainlab.errors import RetrainLabError
from retrainlab.pages import parameters

PATHS = ["n02085620-Chihuahua/n02085620_5927.jpg", "n02111889-Samoyed/n02111889_1.jpg"]


def mat_file(compressed: bool = True, **cells: list) -> bytes:
    """A MATLAB 5 file of cell arrays, each one column, as the lists of Stanford Dogs are."""
    file = io.BytesIO()
    columns = {name: np.array([*values, None], object)[:-1, None] for name, values in cells.items()}
    savemat(file, columns, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("name", catalogue.DATASETS)
def test_every_card_says_what_a_reader_must_know(name):
    dataset = catalogue.DATASETS[name]
    assert all(dataset.card[key] for key in ("title", "images", "labels", "licence", "cite", "caveat"))
    assert ("published" in dataset.card) == ("protocol" in dataset.card)
    for source in dataset.sources:
        assert source.url.startswith("http") and source.bytes > 0 and len(bytes.fromhex(source.sha256)) == 32


@pytest.mark.parametrize("name", ["stanford-dogs", "flower-photos"])
def test_its_parameters_file_fits_the_notebooks_and_says_its_command(name):
    file = Path(__file__).parents[2] / "params" / f"{name}.yaml"
    values = parameters.check(yaml.safe_load(file.read_text()), parameters.known())
    assert values["run"] == values["image_dir"] == name
    assert f"retrainlab report --params params/{name}.yaml" in file.read_text()


def test_labels_that_would_be_the_same_stay_apart():
    assert catalogue.readable_breeds(["n2-toy_poodle", "n1-Toy_poodle", "n3-basset", "n4"]) == {
        "n1-Toy_poodle": "Toy poodle (n1)", "n2-toy_poodle": "toy poodle (n2)", "n3-basset": "basset", "n4": "n4",
    }  # fmt: skip


@pytest.mark.parametrize("compressed", [True, False])
def test_texts_of_a_matlab_file(tmp_path, compressed):
    texts = [*PATHS, "", "é", "abc"]
    file = tmp_path / "train_list.mat"
    file.write_bytes(mat_file(compressed, labels=[1.0, 2.0], file_list=texts, one=["x"], none=[]))
    assert catalogue.read_cell_texts(file, "file_list") == texts
    assert catalogue.read_cell_texts(file, "one") == ["x"] and catalogue.read_cell_texts(file, "none") == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be read"),
        (b"\x89HDF" * 50, "cannot be read"),  # MATLAB 7.3 writes HDF5
        (mat_file(other=["x"]), "it holds no cell array 'file_list'"),
        (mat_file(file_list=[1.0, 2.0]), "cannot be read"),  # cells of numbers
        *((mat_file(file_list=PATHS)[:-cut], "cannot be read") for cut in (1, 20)),
        *((mat_file(compressed=False, file_list=PATHS)[:-cut], "cannot be read") for cut in (8, 100)),
    ],
)
def test_anything_else_is_refused_in_a_sentence_with_the_files_name(tmp_path, data, said):
    file = tmp_path / "list.mat"
    file.write_bytes(data)
    with pytest.raises(RetrainLabError, match=rf"^'list.mat' .*{said}.*Expected a MATLAB 5 file"):
        catalogue.read_cell_texts(file, "file_list")
