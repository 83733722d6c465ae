import io
import zipfile

import flatbuffers
import numpy as np
import pytest
from conftest import make_image

from retrainlab.export import exporting, formats, metadata
from retrainlab.labeling import labelers
from retrainlab.pixels.decoding import read_pixels
from retrainlab.training.heads import Head, HeadSettings

ODD = ["ant, bee; 'wasp'", "birds/größe\nzwei 狗"]
MANY = [f"label {number}" for number in range(120)]


def make_head(labels: list[str]) -> Head:
    random = np.random.default_rng(len(labels))
    kernel = random.normal(0, 3, (24, len(labels))).astype(np.float32)
    return Head(labels, HeadSettings(), kernel, np.zeros(len(labels), np.float32))


@pytest.fixture(scope="module", params=[ODD, MANY], ids=["2 odd labels", "120 labels"])
def folder(request, backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("described") / "model"
    pixels = np.stack([np.asarray(make_image(number, number, (32, 32))) for number in range(9)])
    exporting.export(folder, backbone, make_head(request.param), representative=pixels)
    return folder


class Table:
    """A table of a FlatBuffer, read by the numbers of its fields: what is not there is None."""

    def __init__(self, content: bytes, place: int | None = None):
        start = flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0) if place is None else place
        self.table = flatbuffers.table.Table(content, start)

    def _at(self, field: int) -> int | None:
        offset = self.table.Offset(4 + 2 * field)
        return self.table.Pos + offset if offset else None

    def text(self, field: int) -> str:
        return self.table.String(self._at(field)).decode()

    def byte(self, field: int) -> int:
        return self.table.Get(flatbuffers.number_types.Uint8Flags, self._at(field))

    def inner(self, field: int) -> "Table":
        return Table(self.table.Bytes, self.table.Indirect(self._at(field)))

    def only(self, field: int) -> "Table":
        offset = self._at(field) - self.table.Pos
        assert self.table.VectorLen(offset) == 1
        return Table(self.table.Bytes, self.table.Indirect(self.table.Vector(offset)))

    def floats(self, field: int) -> list[float]:
        offset = self.table.Offset(4 + 2 * field)
        return self.table.GetVectorAsNumpy(flatbuffers.number_types.Float32Flags, offset).tolist()


@pytest.mark.parametrize("name", ["model.tflite", "model_int8.tflite"])
def test_a_model_says_what_goes_in_and_names_its_labels(folder, name):
    from ai_edge_litert.schema_py_generated import ModelT

    content = (folder / name).read_bytes()
    model = ModelT.InitFromPackedBuf(content)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    about = model.buffers[entry.buffer].data.tobytes()
    assert about[4:8] == b"M001"
    graph = Table(about).only(3)  # the numbers are those of metadata_schema.fbs
    image, chances = graph.only(2), graph.only(3)
    assert image.inner(3).byte(0) == 2 and image.inner(3).inner(1).byte(0) == 1  # ImageProperties, RGB
    assert image.only(4).byte(0) == 1 and image.inner(5).floats(0) == [1.0]  # NormalizationOptions; the most
    assert (image.only(4).inner(1).floats(0), image.only(4).inner(1).floats(1)) == ([0.0], [255.0])
    assert chances.only(6).text(0) == "labels.txt" and chances.only(6).byte(2) == 2  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("labels.txt") == (folder / "output_labels.txt").read_bytes()
        assert [part.compress_type for part in archive.infolist()] == [zipfile.ZIP_STORED] and not archive.testzip()


def test_a_described_model_is_the_same_model(backbone, trained):
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.schema_py_generated import ModelT

    from retrainlab.backbones.modules import load_module

    bare = formats.lite(backbone, trained["head"], load_module(backbone.module))
    described = metadata.described(bare, ["a", "b", "c"])
    assert described == metadata.described(bare, ["a", "b", "c"])  # the digest of an export does not depend on the hour
    before, after = (ModelT.InitFromPackedBuf(model) for model in (bare, described))
    assert len(after.buffers) == len(before.buffers) + 1
    for old, new in zip(before.buffers, after.buffers, strict=False):
        assert np.array_equal(old.data, new.data)
    start = np.frombuffer(described, np.uint8).ctypes.data
    places = [buffer.data.ctypes.data - start for buffer in after.buffers if buffer.data is not None]
    assert len(places) > 3 and not any(
        place % 16 for place in places
    )  # as the schema has it, for files that are mapped
    rows = []
    for model in (bare, described):
        network = Interpreter(model_content=model)
        network.allocate_tensors()
        pixels = np.asarray(make_image(1, 2, (32, 32)), np.float32)[None] / 255
        network.set_tensor(network.get_input_details()[0]["index"], pixels)
        network.invoke()
        rows.append(network.get_tensor(network.get_output_details()[0]["index"]))
    assert np.array_equal(*rows)


@pytest.mark.parametrize("name", ["model.tflite", "model_int8.tflite"])
def test_mediapipe_takes_a_model_as_it_is_and_answers_as_label_does(folder, name, tmp_path):
    mediapipe = pytest.importorskip("mediapipe", reason="needs mediapipe, and on Linux libEGL and libGLESv2")
    from mediapipe.tasks.python import BaseOptions, vision

    labeler = labelers.load(folder / name)
    names = [" ".join(label.splitlines()) for label in labeler.labels]
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(folder / name)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for hue in range(4):
            make_image(9, hue, (32, 32)).save(tmp_path / "image.png")
            answer = classifier.classify(mediapipe.Image.create_from_file(str(tmp_path / "image.png")))
            expected = labeler.probabilities(read_pixels(tmp_path / "image.png"))
            found = {category.category_name: category.score for category in answer.classifications[0].categories}
            assert max(found, key=found.__getitem__) == names[expected.argmax()]
            assert [found[label] for label in names] == pytest.approx(expected.tolist(), abs=1e-3)
