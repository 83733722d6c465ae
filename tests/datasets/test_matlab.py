"""MATLAB's lists: one file that SciPy wrote, and files laid out by hand for what SciPy does not write."""

import base64
import struct
import zlib

import pytest

from retrainlab.datasets.matlab import read_cell_texts
from retrainlab.errors import RetrainLabError

PATHS = ["n02085620-Chihuahua/n02085620_5927.jpg", "n02111889-Samoyed/n02111889_1.jpg"]

# scipy.io.savemat, compressed: annotation_list (cells), labels (numbers), file_list (cells of PATHS, a column)
SCIPY = b"MATLAB 5.0 MAT-file".ljust(124) + base64.b64decode(
    "AAFJTQ8AAAB+AAAAeJzjY2Bg+ADEbEDMAcSMDBDACuUzQcVAmB+IE/Py8ksSSzLz8+JzMotLGPiAYhFI+lnQ9IP0KSGZKwDl5xkYGViYmhkZ6Dpn"
    "ZGaUJgKRPlws3tTSyByiHmR+AAHzZdHMl4WYb2hoaGFhqRucmJtfmZqiDxeJNwTKAwAymBoqDwAAAC4AAAB4nONjYGCwAGI2IOYAYk4GCGCF8pmA"
    "mBGKQWpyEpNSc4pB4kwMjBUMDAA6yQNlDwAAAHkAAAB4nONjYGD4AcRsQMwBxIwMEMAK5TNBxUCYE4jTMnNS43Myi0ug6viAOAJJPwuafpA+NSRz"
    "BaD8PAMjAwtTMyMDXeeMzIzSRCDSh4vFm1oametlFaQTZ74imvmKEPMNDQ0tLCx1gxNz8ytTU/ThIvGGEKPBAACsXRqH"
)


def mat_file(order="<", compressed=True, encoding="utf-16", **cells: list[str]) -> bytes:
    """Lay out a MATLAB 5 file of cell arrays of texts."""

    def element(kind, content):
        return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)

    def matrix(kind, shape, name, content):
        flags, dims = struct.pack(f"{order}II", kind, 0), struct.pack(f"{order}ii", *shape)
        return element(14, element(6, flags) + element(5, dims) + element(1, name.encode()) + content)

    def text(value):
        number, codec = {"utf-16": (4, f"utf-16-{'le' if order == '<' else 'be'}"), "utf-8": (16, "utf-8")}[encoding]
        return matrix(4, (1, len(value)), "", element(number, value.encode(codec)))

    file = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100) + (b"IM" if order == "<" else b"MI")
    for name, values in cells.items():
        whole = matrix(1, (len(values), 1), name, b"".join(map(text, values)))
        packed = zlib.compress(whole)
        file += struct.pack(f"{order}II", 15, len(packed)) + packed if compressed else whole
    return file


def test_a_file_that_scipy_wrote(tmp_path):
    file = tmp_path / "train_list.mat"
    file.write_bytes(SCIPY)
    assert read_cell_texts(file, "file_list") == PATHS
    assert read_cell_texts(file, "annotation_list") == [path.removesuffix(".jpg") for path in PATHS]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_every_way_of_writing_them(tmp_path, order, compressed, encoding):
    texts = [*PATHS, "", "é", "abc"]
    file = tmp_path / "list.mat"
    file.write_bytes(mat_file(order, compressed, encoding, other=["x"], file_list=texts, none=[]))
    assert read_cell_texts(file, "file_list") == texts
    assert read_cell_texts(file, "none") == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be read"),
        (b"\x89HDF" * 50, "cannot be read"),  # MATLAB 7.3 writes HDF5
        (mat_file(other=["x"]), "it holds no cell array 'file_list'"),
        (SCIPY.replace(b"IM", b"MI", 1), "cannot be read"),
        *((mat_file(file_list=PATHS)[:-cut], "cannot be read") for cut in (1, 20)),
        *((mat_file(compressed=False, file_list=PATHS)[:-cut], "cannot be read") for cut in (1, 8, 100)),
    ],
)
def test_anything_else_is_refused_in_a_sentence(tmp_path, data, said):
    file = tmp_path / "list.mat"
    file.write_bytes(data)
    with pytest.raises(RetrainLabError, match=said):
        read_cell_texts(file, "file_list")


def test_cells_of_numbers_are_refused(tmp_path):
    file = tmp_path / "list.mat"
    data = bytearray(mat_file(compressed=False, file_list=["abc"]))
    data[data.index(struct.pack("<I", 4), 136 + 48)] = 6  # the class of the only cell becomes double
    file.write_bytes(data)
    with pytest.raises(RetrainLabError, match="a cell is no text"):
        read_cell_texts(file, "file_list")
