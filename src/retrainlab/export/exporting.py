"""Write a backbone with a trained head in every format that people use it in.

The folder holds a SavedModel; beside it output_graph.pb, output_labels.txt, model.tflite, head.npz and contract.json,
which says what a client must feed and may expect.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..backbones.backbone import Backbone
from ..backbones.modules import load_module
from ..errors import RetrainLabError
from ..training.heads import Head
from . import contracts, formats, head_files, quantization


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
        representative: uint8 [n, height, width, 3], some hundreds of training images; see `quantization.quantized`.
        learnt: what goes to `learnt.txt`; those that the head it started from had learnt from belong to them.

    Returns:
        Size in bytes of each format.
    """
    with _replacing(folder) as aside:
        module = load_module(backbone.module)
        formats.save(aside, backbone, head, module)
        graph = formats.with_head(formats.freeze(backbone, module), head, final_tensor_name)
        (aside / "output_graph.pb").write_bytes(graph.SerializeToString())
        (aside / "model.tflite").write_bytes(formats.lite(backbone, head, module))
        if representative is not None:
            quantized = quantization.quantized(backbone, head, module, representative)
            (aside / "model_int8.tflite").write_bytes(quantized)
        head_files.save(aside, head)
        (aside / "learnt.txt").write_text("".join(f"{sha256}\n" for sha256 in sorted(learnt)), encoding="utf-8")
        _describe(aside, backbone, head, final_tensor_name)
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
        formats.save(aside, backbone, head, load_module(backbone.module))
        _describe(aside, backbone, head, final_tensor_name)


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


def _describe(folder: Path, backbone: Backbone, head: Head, final_tensor_name: str) -> None:
    """Write the labels and, once everything else is there, the contract."""
    write_labels(folder / "output_labels.txt", head.labels)
    contracts.write(folder, backbone, head, final_tensor_name)
