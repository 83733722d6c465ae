"""A LiteRT model -> the same model, with what MediaPipe and Android read out of it: what goes in, and the labels.

Written as metadata_schema.fbs of TensorFlow Lite Support describes it (github.com/tensorflow/tflite-support, kept on in
MediaPipe): a FlatBuffer in the model's buffer TFLITE_METADATA, and the files that it names as a zip archive behind the
model. LiteRT itself heeds neither.
"""

import io
import zipfile
from typing import Any

import flatbuffers
import numpy as np

_BUFFER = "TFLITE_METADATA"
_LABELS = "labels.txt"

# Fields of the schema's tables, by number; a union takes two, its kind and its value.
_NAME, _DESCRIPTION = 0, 1  # of every table that has them
_FILE_TYPE = 2
_IMAGE_COLOURS = 0
_CONTENT_KIND, _CONTENT = 0, 1
_MEAN, _STD = 0, 1
_UNIT_KIND, _UNIT = 0, 1
_MAX, _MIN = 0, 1
_TENSOR_CONTENT, _TENSOR_UNITS, _TENSOR_STATS, _TENSOR_FILES = 3, 4, 5, 6
_GRAPH_INPUTS, _GRAPH_OUTPUTS = 2, 3
_MODEL_GRAPHS, _MODEL_PARSER = 3, 7
# Values of its enumerations and unions.
_FEATURES, _IMAGE, _RGB, _NORMALIZATION, _AXIS_LABELS = 1, 2, 1, 1, 2


class _Aligned(flatbuffers.Builder):
    """A builder that keeps the data of a model at multiples of 16, as its schema wants; the plain one forgets that."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def lines(labels: list[str]) -> str:
    """Give labels one a line, in class order, as every file of labels has them; a label stays on its line."""
    return "".join(" ".join(label.splitlines()) + "\n" for label in labels)


def described(model: bytes, labels: list[str]) -> bytes:
    """Describe a LiteRT classifier of images within its file.

    Args:
        model: from RGB images, float32 [1, height, width, 3] in [0, 1], to probabilities, float32 [1, labels].
        labels: in class order.

    Returns:
        A model that MediaPipe's ImageClassifier and Android's Task Library take as it is.
    """
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.ModelT.InitFromPackedBuf(model)
    about = schema.BufferT()
    about.data = np.frombuffer(_packed(_metadata(labels), b"M001"), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _BUFFER, len(whole.buffers)
    whole.buffers.append(about)
    whole.metadata = [*(whole.metadata or []), entry]
    builder = _Aligned(len(model) + 2**20)  # a builder that has to grow doubles, and may not beyond 2 GiB
    builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
    return _with_files(builder.Output(), {_LABELS: lines(labels)})


def _metadata(labels: list[str]) -> dict[int, Any]:
    pixels = {
        _NAME: "image",
        _DESCRIPTION: "RGB image, its pixels from 0 to 1; scale it to this size without keeping its aspect.",
        _TENSOR_CONTENT: {_CONTENT_KIND: _IMAGE, _CONTENT: {_IMAGE_COLOURS: _RGB}},
        # clients take pixels of 0 to 255, subtract the mean, and divide by the deviation
        _TENSOR_UNITS: [{_UNIT_KIND: _NORMALIZATION, _UNIT: {_MEAN: [0.0], _STD: [255.0]}}],
        _TENSOR_STATS: {_MAX: [1.0], _MIN: [0.0]},
    }
    file = {_NAME: _LABELS, _DESCRIPTION: "The labels, one a line, in class order.", _FILE_TYPE: _AXIS_LABELS}
    chances = {
        _NAME: "probability",
        _DESCRIPTION: "Probability of each label.",
        _TENSOR_CONTENT: {_CONTENT_KIND: _FEATURES, _CONTENT: {}},
        _TENSOR_STATS: {_MAX: [1.0], _MIN: [0.0]},
        _TENSOR_FILES: [file],
    }
    return {
        _NAME: "Retrain Lab image classifier",
        _DESCRIPTION: f"Says which of {len(labels)} labels an image has.",
        _MODEL_GRAPHS: [{_GRAPH_INPUTS: [pixels], _GRAPH_OUTPUTS: [chances]}],
        _MODEL_PARSER: "1.0.0",
    }


def _packed(table: dict[int, Any], identifier: bytes) -> bytes:
    """Pack a table into a FlatBuffer: {field: text, byte, table, list of tables or list of float}."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_pack(builder, table), file_identifier=identifier)
    return bytes(builder.Output())


def _pack(builder: Any, value: Any) -> int:
    """Write a value and what it holds, inner ones first; returns where it is."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, list) and isinstance(value[0], float):
        return builder.CreateNumpyVector(np.array(value, np.float32))
    if isinstance(value, list):
        places = [_pack(builder, table) for table in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    fields = {field: inner if isinstance(inner, int) else _pack(builder, inner) for field, inner in value.items()}
    builder.StartObject(max(fields, default=-1) + 1)
    for field, inner in fields.items():
        is_byte = isinstance(value[field], int)
        (builder.PrependUint8Slot if is_byte else builder.PrependUOffsetTRelativeSlot)(field, inner, 0)
    return builder.EndObject()


def _with_files(model: bytearray, files: dict[str, str]) -> bytes:
    """Append a zip archive: not compressed, as MediaPipe asks; the same each time."""
    content = io.BytesIO(model)
    with zipfile.ZipFile(content, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text.encode())
    return content.getvalue()
