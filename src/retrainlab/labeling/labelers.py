"""Load what `export` wrote and label images with it."""

import os
import timeit
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..backbones.runtimes import litert, tensorflow, without_wildcards
from ..errors import RetrainLabError
from ..export import contracts
from ..images.decoding import read_pixels
from . import graphs
from .checking import check, same_size

_Size = tuple[int | None, int | None]
_Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Labeler:
    """A classifier, ready to use.

    Attributes:
        labels: in class order.
        image_size: (height, width) of the pixels that it takes; None where it takes images as they are.
        probabilities: uint8 [height, width, 3], RGB -> float32 [labels]. Raises RetrainLabError where it fails.
        note: what was found out or assumed about a graph that nobody described; else empty.
    """

    labels: list[str]
    image_size: tuple[int, int] | None
    probabilities: Callable[[np.ndarray], np.ndarray]
    note: str = ""


# --------------------------------------------------------------------------------------------- exports


def load(model: Path | str) -> Labeler:
    """Open an exported model and hold it to its contract.

    Args:
        model: the exported folder, which opens the fastest format in it (LiteRT, without TensorFlow), or one file in
            it: saved_model.pb, output_graph.pb or a .tflite file.

    Raises:
        RetrainLabError: nothing there, not an export of Retrain Lab, damaged, or not what its contract states.
    """
    path = Path(model).expanduser()
    if not path.exists():
        raise RetrainLabError(f"No model at '{path}'. Expected the model folder of a run, such as reports/demo/model.")
    folder, file = (path, None) if path.is_dir() else (path.parent, path)
    contract = contracts.read(folder)
    if file is None:
        file = folder / ("model.tflite" if (folder / "model.tflite").exists() else "saved_model.pb")
    if not file.exists():
        raise RetrainLabError(f"'{folder}' holds no model: neither model.tflite nor saved_model.pb.")
    size, run = _network(file, contract)
    same_size(file, size, contract.image_size, "contract.json states")
    _same_labels(folder / "output_labels.txt", contract)
    check(file, contract, contract.preprocessing, run)
    return Labeler(contract.labels, contract.image_size, lambda pixels: run(contract.preprocessing(pixels)))


def _network(file: Path, contract: contracts.Contract) -> tuple[_Size, _Run]:
    """Open a model file: (height, width) that it takes, and float32 [1, height, width, 3] -> float32 [labels]."""
    if file.name == "saved_model.pb":
        return _saved_model(file)
    if file.suffix == ".pb":
        graph = graphs.read(file, contract.input, contract.output)
        return graph.size, graph.run
    if file.suffix == ".tflite":
        return _litert(file)
    raise RetrainLabError(f"'{file}' is no model. Expected saved_model.pb, output_graph.pb or model.tflite.")


def _litert(file: Path) -> tuple[_Size, _Run]:
    try:
        network = litert(file)
        from ai_edge_litert.interpreter import Interpreter

        shape = Interpreter(model_path=str(file)).get_input_details()[0]["shape"]
    except (ValueError, RuntimeError) as error:
        raise RetrainLabError(f"'{file}' is no whole LiteRT model ({error}). Export it again.") from error

    def run(images: np.ndarray) -> np.ndarray:
        try:
            return network(images)[0]
        except (ValueError, RuntimeError) as error:
            raise RetrainLabError(f"'{file}' cannot be run on an image: {error}") from error

    return (int(shape[1]), int(shape[2])) if len(shape) == 4 else (0, 0), run


def _saved_model(file: Path) -> tuple[_Size, _Run]:
    tf = tensorflow()
    try:
        with without_wildcards(file.parent) as folder:
            loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
        shape = signature.structured_input_signature[1]["image"].shape
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise RetrainLabError(f"'{file.parent}' holds no whole SavedModel ({error}). Export it again.") from error

    def run(images: np.ndarray) -> np.ndarray:
        return signature(image=tf.constant(images))["prediction"].numpy()[0]

    run.owner = loaded  # type: ignore[attr-defined]  # the variables live as long as the function
    return (shape[1], shape[2]), run


def _same_labels(file: Path, contract: contracts.Contract) -> None:
    """Clients read the labels from output_labels.txt: it must list those of the contract, in their order."""
    if not file.exists():
        return
    found, expected = read_labels(file), [" ".join(label.splitlines()).rstrip() for label in contract.labels]
    if found != expected:
        how = "in another order" if sorted(found) == sorted(expected) else f"otherwise ({len(found)} of them)"
        raise RetrainLabError(
            f"'{file}' lists the labels {how} than contract.json ({len(expected)} labels), so one of the two was "
            "changed. Put back the one that was exported, or export again."
        )


def read_labels(file: Path) -> list[str]:
    """Read a file of labels, one a line, in class order; empty lines at its end do not count.

    Raises:
        RetrainLabError: it cannot be read.
    """
    try:
        lines = file.read_bytes().decode("utf-8-sig", "replace").split("\n")
    except OSError as error:
        raise RetrainLabError(f"The labels file '{file}' cannot be read: {error.strerror}.") from error
    names = [line.rstrip() for line in lines]
    while names and not names[-1]:
        names.pop()
    return names


# --------------------------------------------------------------------------------------------- labelling


def label(
    labeler: Labeler, images: Sequence[Path | str] | Mapping[str, bytes], top: int = 5
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Label image files.

    Args:
        images: paths, or the content of image files by name. A path that is given twice is labelled once.
        top: how many labels to give for each, most probable first.

    Returns:
        (table, problems): table has the columns path, rank (from 1), label, probability (0 to 1); problems says in a
        sentence, by path, why an image could not be read. The others are labelled all the same. Paths are as `shown`.
    """
    once = {shown(name): name for name in images}
    rows: list[tuple[str, int, str, float]] = []
    problems: dict[str, str] = {}
    sources = [images[str(name)] if isinstance(images, Mapping) else name for name in once.values()]
    for path, answer in zip(once, _answers(labeler, sources), strict=True):
        if isinstance(answer, RetrainLabError):
            problems[path] = str(answer).rstrip(".")
            continue
        for rank, winner in enumerate(np.argsort(-answer, kind="stable")[:top], start=1):
            rows.append((path, rank, labeler.labels[winner], float(answer[winner])))
    return pd.DataFrame(rows, columns=["path", "rank", "label", "probability"]), problems


def _answers(labeler: Labeler, sources: Iterable[Path | str | bytes]) -> list[np.ndarray | RetrainLabError]:
    """Label images by threads: the probabilities of each, float32 [labels], or why there are none."""

    def answer(source: Path | str | bytes) -> np.ndarray | RetrainLabError:
        try:
            return labeler.probabilities(read_pixels(source, labeler.image_size))
        except RetrainLabError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(answer, sources))


def shown(path: Path | str) -> str:
    r"""Return a path as text that can be printed and stored: bytes that are not UTF-8 become \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def measure(model: Path, paths: Sequence[Path], own: Sequence[str]) -> tuple[dict[str, Any], np.ndarray]:
    """Measure how good, how large and how fast a model file is.

    Args:
        paths: images; those that cannot be read count as wrong.
        own: the label of each.

    Returns:
        (facts, correct): facts are MB, ms an image (on one core, the network alone, median of 30) and accuracy;
        correct is bool [n].
    """
    labeler = load(model)
    answers = _answers(labeler, paths)
    found = [None if isinstance(a, RetrainLabError) else labeler.labels[a.argmax()] for a in answers]
    correct = np.array([mine == label for mine, label in zip(found, own, strict=True)], bool)
    grey = np.full((*(labeler.image_size or (224, 224)), 3), 128, np.uint8)
    seconds = timeit.repeat(lambda: labeler.probabilities(grey), number=1, repeat=30)
    facts = {"MB": model.stat().st_size / 1e6, "ms an image": 1000 * np.median(seconds), "accuracy": correct.mean()}
    return facts, correct
