"""Write a backbone with a trained head in every format that people use it in; read the head back."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import sealing
from ..backbones import derived, freezing
from ..backbones.backbone import Backbone, network_in
from ..backbones.modules import load_module
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..files import check_mounts, replacing_folder
from ..images import overview
from ..pixels.levels import OWN, Levels
from ..sealing import DamagedFile
from ..training.classifier import Classifier
from ..training.heads import Head
from ..trust import guard as guard_files
from ..trust.guard import Guard
from . import contracts, formats, metadata

TRUST = "trust"  # the folder of the guard, and of the network that it needs
_HEAD = "head.npz"
_LEARNT = "learnt.txt"
_EXAMPLES = 500


def export(
    folder: Path,
    backbone: Backbone,
    head: Head,
    final_tensor_name: str = "final_result",
    representative: np.ndarray | None = None,
    learnt: Collection[str] = (),
    levels: Levels = OWN,
    guard: Guard | None = None,
    maps: Sequence[str] = (),
) -> dict[str, int]:
    """Export a classifier; the folder is replaced as a whole, once everything is written.

    - `saved_model.pb`, `variables/`: see `write_saved_model`.
    - `output_graph.pb`: frozen graph, from `Placeholder` to `final_tensor_name`, for TF1-style clients.
    - `model.tflite`: float32 LiteRT model, [1, height, width, 3] in [0, 1] to [1, labels]; see `metadata.described`;
      not where LiteRT cannot run the backbone.
    - `model_int8.tflite`: the same with an 8-bit backbone; only with `representative`, likewise.
    - `output_labels.txt`: the labels in class order, one a line.
    - `head.npz`: the trained layer alone, for a later training to start from.
    - `learnt.txt`: sha256 of the images that it has learnt from, lest a later training is judged by them.
    - `trust/`: with `guard`, what it takes to tell when an answer should not be believed: the guard, and the network
      that gives bottlenecks.
    - `contract.json`: image size, input range, `levels`, names, labels, the threshold of `guard`; digests of the files;
      and, for three images in `reference/`, the probabilities to expect.

    Args:
        representative: uint8 [n, height, width, 3], some hundreds of training images; see `formats.quantized`.
        learnt: what goes to `learnt.txt`; those that the head it started from had learnt from belong to them.
        levels: the scale that it has learnt images on which are not of 8 bits.
        guard: as of `guard.learn`; maps, which go to the contract: as of `derived.maps`.

    Returns:
        Size in bytes of each format.
    """
    module = load_module(backbone.module)
    with replacing_folder(folder) as aside:
        formats.save(aside, backbone, head, module)
        graph = formats.with_head(freezing.freeze(backbone, module), head, final_tensor_name)
        (aside / "output_graph.pb").write_bytes(graph.SerializeToString())
        if not backbone.no_litert:
            _write_lite(aside, backbone, head, module, representative)
        hidden = {} if head.hidden is None else {"hidden_kernel": head.hidden[0], "hidden_bias": head.hidden[1]}
        arrays = {"kernel": head.kernel, "bias": head.bias, "temperature": head.temperature} | hidden
        np.savez(aside / _HEAD, **arrays)  # type: ignore[arg-type]
        (aside / _LEARNT).write_text("".join(f"{sha256}\n" for sha256 in sorted(learnt)), encoding="utf-8")
        if guard is not None:
            _write_trust(aside / TRUST, guard, network_in(backbone.folder))
        write_labels(aside / "output_labels.txt", head.labels)
        threshold = None if guard is None else guard.threshold
        contracts.write(aside, backbone, head, final_tensor_name, levels, maps, threshold)  # once all else is there
    files = {
        "SavedModel": [folder / "saved_model.pb", *(folder / "variables").iterdir()],
        "frozen graph": [folder / "output_graph.pb"],
        "LiteRT": list(folder.glob("model.tflite")),
        "LiteRT, int8": list(folder.glob("model_int8.tflite")),
        "trust": list(folder.glob(f"{TRUST}/*")),
    }
    return {name: sum(file.stat().st_size for file in parts) for name, parts in files.items() if parts}


def _write_trust(folder: Path, guard: Guard, network: Path) -> None:
    folder.mkdir()
    guard.save(folder)
    shutil.copyfile(network, folder / network.name)


def _write_lite(
    folder: Path, backbone: Backbone, head: Head, module: tuple[Any, Any], representative: np.ndarray | None
) -> None:
    lite = {"model.tflite": formats.lite(backbone, head, module)}
    if representative is not None:
        lite["model_int8.tflite"] = formats.quantized(backbone, head, module, representative)
    for name, model in lite.items():
        (folder / name).write_bytes(metadata.described(model, head.labels))


def export_classifier(
    folder: Path,
    classifier: Classifier,
    guard: Guard,
    final_tensor_name: str,
    int8: bool = False,
    before: Collection[str] = (),
    seed: int = 0,
) -> Finding:
    """Export a trained classifier with all that is known of it; the Finding tells how large each format is.

    Args:
        guard: as of `guard.of` the classifier.
        int8: also in 8 bits, with 500 training images as examples, drawn by `seed`.
        before: sha256 of what the head that it started from had learnt from.
    """
    import pandas as pd

    features, learnt = classifier.features, classifier.learnt
    pixels, reason = None, features.backbone.no_litert
    if int8 and not reason:
        paths = learnt["path"].iloc[overview.sample(learnt["label"], _EXAMPLES, seed)]
        pixels = features.photos.read_many(paths, features.backbone.image_size)
    known, levels = {*before, *learnt["sha256"]}, features.photos.levels
    maps = derived.maps(features.plain, features.backbone.settings.depth)
    made_of = features.backbone, classifier.head, final_tensor_name
    sizes = export(folder, *made_of, pixels, known, levels, guard, maps)
    table = pd.Series({name: f"{size / 1e6:.1f} MB" for name, size in sizes.items()}, name="size").to_frame()
    left_out = " and ".join(["model.tflite", *["model_int8.tflite"] * int8])
    said = f"{reason}, so {left_out} cannot be written; `label` asks TensorFlow." if reason else ""
    return Finding("What was exported", said, numbers=sizes, table=table)


def write_saved_model(
    folder: Path,
    backbone: Backbone,
    head: Head,
    final_tensor_name: str = "final_result",
    levels: Levels = OWN,
) -> None:
    """Write a SavedModel for serving into a new folder; with its labels and contract, for `labeling`.

    Signature `serving_default` is retrain.py's: `image`, float32 [n, height, width, 3] in [0, 1], to `prediction`,
    float32 [n, labels]. Signature `image_bytes` takes `image_bytes`, string [n], JPEG, PNG, GIF or BMP files, to
    `prediction`; photos must be upright as they are, for TensorFlow does not turn them by their EXIF orientation.
    `levels` as in `export`.
    """
    formats.save(folder, backbone, head, load_module(backbone.module))
    write_labels(folder / "output_labels.txt", head.labels)
    contracts.write(folder, backbone, head, final_tensor_name, levels)


def check_replaceable(folder: Path) -> None:
    """Say whether a SavedModel may take the place of this folder: it goes with all that is in it.

    Raises:
        RetrainLabError: it is no export of this project, holds more than that, or see `files.check_mounts`.
    """
    check_mounts(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    instead = "so it is not replaced. Choose another folder, or remove it yourself."
    if not (folder / contracts.FILE).is_file():
        raise RetrainLabError(f"'{folder}' is there already and is no export with a contract.json, {instead}")
    ours = {contracts.FILE, *contracts.read(folder).files}
    for file in sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()):
        if file.relative_to(folder).as_posix() not in ours:
            raise RetrainLabError(f"'{folder}' holds '{file.name}', which no export has written, {instead}")


def write_labels(file: Path, labels: list[str]) -> None:
    """Write labels, one a line, in class order; a label stays on its line."""
    file.write_text(metadata.lines(labels), encoding="utf-8")


def read_head(folder: Path) -> tuple[Head, str, str]:
    """Read the head of an exported model: (head, the backbone's handle, its digest).

    Raises:
        RetrainLabError: no export there, or it is not what was exported.
    """
    contract = _contract_of_a_head(folder, _HEAD)
    labels = contract.labels
    try:
        values = sealing.read_arrays(folder / _HEAD)
        hidden = (values["hidden_kernel"], values["hidden_bias"]) if "hidden_kernel" in values else None
        head = Head(labels, contract.settings, values["kernel"], values["bias"], hidden, float(values["temperature"]))
        if head.kernel.shape[1:] != (len(labels),) or head.bias.shape != (len(labels),):
            raise DamagedFile(f"it is not of the {len(labels)} labels that {contracts.FILE} lists")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RetrainLabError(f"'{folder / _HEAD}' holds no head ({error}). Export the model again.") from error
    return head, contract.backbone, contract.backbone_digest


def read_learnt(folder: Path) -> set[str]:
    """Read the sha256 of the images that the head of an exported model has learnt from.

    Raises:
        RetrainLabError: no export there, or it is not what was exported.
    """
    _contract_of_a_head(folder, _LEARNT)
    return set((folder / _LEARNT).read_text(encoding="utf-8").split())


def _contract_of_a_head(folder: Path, name: str) -> contracts.Contract:
    """Read the contract of a folder, and hold the file to it that a later training starts from."""
    if not (folder / name).exists() or not (folder / contracts.FILE).exists():
        raise RetrainLabError(
            f"'{folder}' holds no head to start from. Expected the model folder of a run that 03_retrain has "
            "exported, such as reports/demo/model."
        )
    contract = contracts.read(folder)
    if name not in contract.files:
        raise RetrainLabError(f"'{folder / contracts.FILE}' does not list {name}. Export the model again.")
    contracts.verify(folder, contract, [name])
    return contract


def load_head(folder: Path, backbone: Backbone) -> Head:
    """Read the head of an exported model to train on, with the temperature that it was exported with.

    Raises:
        RetrainLabError: no export there, or it stands on another backbone.
    """
    head, handle, digest = read_head(folder)
    if digest != backbone.digest and handle == backbone.handle:
        depth = "depth (last, where a fine-tuned network is read)" if backbone.settings.tuned else "depth"
        raise RetrainLabError(
            f"The head in '{folder}' stands on {handle}, but on other numbers of it than depth "
            f"'{backbone.settings.depth}' and average_views {str(backbone.settings.average_views).lower()} give. "
            f"Set {depth}, average_views and image_size as that run had them, or start from none."
        )
    if digest != backbone.digest:
        raise RetrainLabError(
            f"The head in '{folder}' was trained on bottlenecks of {handle}, which are not those of "
            f"{backbone.handle}. Start from a head of the same backbone, or from none."
        )
    return head


def load_guard(folder: Path) -> Guard:
    """Read the guard of an exported folder, with the threshold that its contract states.

    Raises:
        RetrainLabError: either is missing or damaged.
    """
    contract = contracts.read(folder)
    contracts.verify(folder, contract, [f"{TRUST}/{guard_files.FILE}"])
    return replace(guard_files.load(folder / TRUST), threshold=contract.threshold)
