"""Write a backbone with a trained head in every format that people use it in.

The folder holds a SavedModel; beside it output_graph.pb, output_labels.txt, model.tflite, head.npz and contract.json,
which says what a client must feed and may expect.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..backbones.backbone import Backbone
from ..backbones.modules import load_module
from ..backbones.runtimes import litert, quiet, tensorflow
from ..errors import RetrainLabError
from ..evaluation.calibration import softmax
from ..training.heads import Head, HeadSettings
from . import reference
from .contracts import digests

INPUT = "Placeholder"  # retrain.py's name for the frozen graph's input
_RANGES = 200  # images that suffice to find the ranges of activations
_FEATURES = "bottleneck"  # node of the frozen backbone that a head goes on
_SCOPE = "final_retrain_ops"  # of the head's nodes


def export(
    folder: Path,
    backbone: Backbone,
    head: Head,
    final_tensor_name: str = "final_result",
    representative: np.ndarray | None = None,
    learnt: Collection[str] = (),
) -> dict[str, int]:
    """Export a classifier; the folder is replaced as a whole, once everything is written.

    - `saved_model.pb`, `variables/`: see `write_saved_model`.
    - `output_graph.pb`: frozen graph, from `Placeholder` to `final_tensor_name`, for TF1-style clients.
    - `model.tflite`: float32 LiteRT model, [1, height, width, 3] in [0, 1] to [1, labels].
    - `model_int8.tflite`: the same with an 8-bit backbone; only with `representative`.
    - `output_labels.txt`: the labels in class order, one a line.
    - `head.npz`: the trained layer alone, for a later training to start from.
    - `learnt.txt`: sha256 of the images that it has learnt from, lest a later training is judged by them.
    - `contract.json`: image size, input range, names, labels; digests of the files; and, for three images in
      `reference/`, the probabilities to expect.

    Args:
        representative: uint8 [n, height, width, 3], some hundreds of training images: the ranges of activations are
            taken from them (Jacob et al. 2018, arxiv.org/abs/1712.05877), and the head is fitted to what 8 bits make
            of them.
        learnt: what goes to `learnt.txt`; those that the head it started from had learnt from belong to them.

    Returns:
        Size in bytes of each format.
    """
    with _replacing(folder) as aside:
        module = load_module(backbone.module)
        _save(aside, backbone, head, module)
        graph = with_head(freeze(backbone, module), head, final_tensor_name)
        (aside / "output_graph.pb").write_bytes(graph.SerializeToString())
        (aside / "model.tflite").write_bytes(_lite(backbone, head, module))
        if representative is not None:
            (aside / "model_int8.tflite").write_bytes(_int8(backbone, head, module, representative))
        write_labels(aside / "output_labels.txt", head.labels)
        _save_head(aside / "head.npz", head)
        (aside / "learnt.txt").write_text("".join(f"{sha256}\n" for sha256 in sorted(learnt)), encoding="utf-8")
        _write_contract(aside, backbone, head, final_tensor_name)
    files = {
        "SavedModel": [folder / "saved_model.pb", *(folder / "variables").iterdir()],
        "frozen graph": [folder / "output_graph.pb"],
        "LiteRT": [folder / "model.tflite"],
        "LiteRT, int8": list(folder.glob("model_int8.tflite")),
    }
    return {name: sum(file.stat().st_size for file in parts) for name, parts in files.items() if parts}


def write_saved_model(folder: Path, backbone: Backbone, head: Head, final_tensor_name: str = "final_result") -> None:
    """Write a SavedModel for serving, in place of an earlier one; with its labels and contract, for `labeling`.

    Signature `serving_default` is retrain.py's: `image`, float32 [n, height, width, 3] in [0, 1], to `prediction`,
    float32 [n, labels]. Signature `image_bytes` takes `image_bytes`, string [n], JPEG, PNG, GIF or BMP files, to
    `prediction`.

    Raises:
        RetrainLabError: see `check_replaceable`.
    """
    check_replaceable(folder)
    with _replacing(folder) as aside:
        _save(aside, backbone, head, load_module(backbone.module))
        write_labels(aside / "output_labels.txt", head.labels)
        _write_contract(aside, backbone, head, final_tensor_name)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Give a folder to write to, which takes the place of another once everything is written; else nothing is left."""
    folder = folder.resolve()  # a link stays one; `.` has a name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        aside = Path(place) / folder.name
        yield aside
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)


def check_replaceable(folder: Path) -> None:
    """Say whether `write_saved_model` may write to this folder.

    Raises:
        RetrainLabError: there is something that is no SavedModel.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "saved_model.pb").exists()):
        raise RetrainLabError(
            f"'{folder}' is there already and is no SavedModel, so it is not replaced. Choose another folder."
        )


def write_labels(file: Path, labels: list[str]) -> None:
    """Write labels, one a line, in class order; a label stays on its line."""
    file.write_text("".join(" ".join(label.splitlines()) + "\n" for label in labels), encoding="utf-8")


def _write_contract(folder: Path, backbone: Backbone, head: Head, final_tensor_name: str) -> None:
    """Write contract.json, and the reference images, for what else is in the folder."""

    def chances(pixels: np.ndarray) -> np.ndarray:  # what is expected comes from the head, not from what is exported
        return softmax(head.logits(backbone.bottlenecks(pixels)))

    contract = {
        "labels": head.labels,
        "image_size": list(backbone.image_size),
        "input_range": [0, 1],
        "channels": "RGB",
        "resize": "bilinear, antialiased, aspect not kept, rounded to whole numbers of 0 to 255",
        "input": INPUT,
        "output": final_tensor_name,
        "backbone": backbone.handle,
        "backbone_digest": backbone.digest,
        "settings": asdict(head.settings),
        "reference": reference.write(folder, backbone.image_size, head.labels, chances),
        "files": digests(folder),  # of all files above
        "exported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    (folder / "contract.json").write_text(json.dumps(contract, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# --------------------------------------------------------------------------------------------- the head alone


def _save_head(file: Path, head: Head) -> None:
    hidden = {} if head.hidden is None else {"hidden_kernel": head.hidden[0], "hidden_bias": head.hidden[1]}
    arrays = {"kernel": head.kernel, "bias": head.bias, "temperature": head.temperature} | hidden
    np.savez(file, **arrays)  # type: ignore[arg-type]


def load_head(folder: Path, backbone: Backbone) -> Head:
    """Read the head of an exported model, with the temperature that it was exported with.

    Raises:
        RetrainLabError: no export there, or it stands on another backbone.
    """
    try:
        contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
        with np.load(folder / "head.npz") as arrays:
            values = dict(arrays)
    except (OSError, ValueError, BadZipFile) as error:
        raise RetrainLabError(
            f"'{folder}' holds no head to start from ({error}). Expected the model folder of a run, such as "
            "reports/demo/model."
        ) from error
    if contract["backbone_digest"] != backbone.digest:
        raise RetrainLabError(
            f"The head in '{folder}' was trained on bottlenecks of {contract['backbone']}, which are not those of "
            f"{backbone.handle}. Start from a head of the same backbone, or from none."
        )
    hidden = (values["hidden_kernel"], values["hidden_bias"]) if "hidden_kernel" in values else None
    settings = HeadSettings(**contract["settings"])
    temperature = float(values.get("temperature", 1.0))  # exports of earlier versions do not tell
    return Head(contract["labels"], settings, values["kernel"], values["bias"], hidden, temperature)


# --------------------------------------------------------------------------------------------- TensorFlow


def freeze(backbone: Backbone, module: tuple[Any, Any] | None = None) -> Any:
    """Freeze a backbone into a GraphDef, from `Placeholder` to its bottlenecks; see `with_head`.

    Args:
        module: what `backbones.load_module` returned, if it is loaded already.
    """
    tf = tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    features, loaded = module or load_module(backbone.module)
    spec = tf.TensorSpec([None, *backbone.image_size, 3], tf.float32, INPUT)
    function = tf.function(lambda images: tf.identity(features(images), _FEATURES), input_signature=[spec])
    with quiet():
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    del loaded  # the variables were needed until here
    return frozen.graph.as_graph_def()


def check_name(backbone_graph: Any, final_tensor_name: str) -> None:
    """Refuse a name that the output of a graph on this backbone cannot have.

    Raises:
        RetrainLabError: it is no name, or another node's; TensorFlow does not tell capitals from small letters here.
    """
    name = final_tensor_name.lower()
    taken = name in {node.name.lower() for node in backbone_graph.node} or f"{name}/".startswith(f"{_SCOPE}/")
    if taken or not re.fullmatch(r"[a-z0-9.][a-z0-9_.-]*(/[a-z0-9_.-]+)*", name):
        raise RetrainLabError(
            f"final_tensor_name is {final_tensor_name!r}, which the output of this graph cannot be called. Expected "
            f"letters, digits, '_', '-', '.' and '/', and not the name of another node, such as {INPUT}."
        )


def with_head(backbone_graph: Any, head: Head, final_tensor_name: str = "final_result") -> Any:
    """Put a head on a frozen backbone: a GraphDef from `Placeholder` to softmax probabilities `final_tensor_name`.

    Raises:
        RetrainLabError: the name cannot be used; see `check_name`.
    """
    check_name(backbone_graph, final_tensor_name)
    tf = tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        (x,) = tf.import_graph_def(backbone_graph, name="", return_elements=[f"{_FEATURES}:0"])
        tf.nn.softmax(_logits(head, x), name=final_tensor_name)
    return graph.as_graph_def()


def _logits(head: Head, x: Any) -> Any:
    tf = tensorflow()
    with tf.name_scope(_SCOPE):
        if head.hidden is not None:
            x = tf.nn.relu(x @ tf.constant(head.hidden[0]) + tf.constant(head.hidden[1]))
        return tf.add(x @ tf.constant(head.kernel), tf.constant(head.bias), name="Wx_plus_b/pre_activations")


def _save(folder: Path, backbone: Backbone, head: Head, module: tuple[Any, Any]) -> None:
    tf = tensorflow()
    height, width = backbone.image_size
    features, loaded = module
    owner = tf.Module()
    owner.backbone = loaded  # owns the variables that the signatures use
    owner.head = [tf.Variable(array) for array in (*(head.hidden or ()), head.kernel, head.bias)]

    def predict(images: Any) -> Any:
        x = features(images)
        *inner, kernel, bias = owner.head
        if inner:
            x = tf.nn.relu(x @ inner[0] + inner[1])
        return {"prediction": tf.nn.softmax(x @ kernel + bias)}

    def decode(data: Any) -> Any:
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        resized = tf.image.resize(tf.cast(image, tf.float32), [height, width], antialias=True)
        return tf.round(resized) / 255.0  # to whole numbers, as the training images were: networks see the difference

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, "image")])
    def serve(image: Any) -> Any:
        return predict(image)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def serve_bytes(image_bytes: Any) -> Any:
        return predict(tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32))

    with quiet():
        tf.saved_model.save(owner, str(folder), {"serving_default": serve, "image_bytes": serve_bytes})


def _lite(backbone: Backbone, head: Head | None, module: tuple[Any, Any], images: np.ndarray | None = None) -> bytes:
    """Convert to LiteRT: to probabilities, or without a head to bottlenecks; float32, or 8 bits by example `images`.

    Input, output and the head stay float32: a head's weights differ by factors of thousands between features, which 8
    bits cannot hold.
    """
    tf = tensorflow()
    features, loaded = module

    def run(image: Any) -> Any:
        return features(image) if head is None else tf.nn.softmax(_logits(head, features(image)))

    spec = tf.TensorSpec([1, *backbone.image_size, 3], tf.float32, "image")
    concrete = tf.function(run, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], loaded)
    with quiet():
        if images is None:
            return converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None].astype(np.float32) / 255] for image in images)
        # the one way to leave some operations in float32; it has nothing to do with debugging here
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["FULLY_CONNECTED"])
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
        )
        return debugger.get_nondebug_quantized_model()


def _int8(backbone: Backbone, head: Head, module: tuple[Any, Any], images: np.ndarray) -> bytes:
    """Quantise a classifier, with a head that makes up for what 8 bits do to the bottlenecks."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        file = Path(folder, "int8.tflite")
        file.write_bytes(_lite(backbone, None, module, images[:_RANGES]))
        run = litert(file)
        found = np.concatenate(list(pool.map(lambda image: run(image[None].astype(np.float32) / 255), images)))
        wanted = np.concatenate(list(pool.map(lambda image: backbone.bottlenecks(image[None]), images)))
    if head.hidden is None:
        kernel, bias = _corrected(head.kernel, head.bias, found, wanted)
        return _lite(backbone, replace(head, kernel=kernel, bias=bias), module, images[:_RANGES])
    hidden = _corrected(*head.hidden, found, wanted)
    return _lite(backbone, replace(head, hidden=hidden), module, images[:_RANGES])


def _corrected(
    kernel: np.ndarray, bias: np.ndarray, found: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a layer on the features `found` that gives what `kernel` and `bias` give on those `wanted`, both [n, dim].

    8 bits shift and shrink every feature a little: a line a feature takes that back (bias correction, Nagel et al.
    2019, arxiv.org/abs/1906.04721, with a slope). What remains is fitted by ridge regression of the outputs.
    """
    centre, target = found.mean(axis=0), wanted.mean(axis=0)
    # the small constant: a feature that hardly varies says nothing of its slope, and is set to its mean
    slope = ((found - centre) * (wanted - target)).mean(axis=0) / (found.var(axis=0) + 1e-4)
    scale = found.std(axis=0) + 0.02  # likewise
    scaled = (found - centre) / scale
    rest = (wanted - target - (found - centre) * slope) @ kernel
    gram = scaled @ scaled.T
    penalty = np.trace(gram) / len(gram) * np.eye(len(gram))
    new = slope[:, None] * kernel + (scaled.T @ np.linalg.solve(gram + penalty, rest)) / scale[:, None]
    return new.astype(np.float32), (bias + target @ kernel - centre @ new).astype(np.float32)
