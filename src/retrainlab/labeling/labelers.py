"""Load what `export` wrote and label images with it."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..backbones.runtimes import litert, tensorflow, without_wildcards
from ..errors import RetrainLabError
from ..export import contracts as contracts
from ..export.contracts import Contract
from ..images.decoding import read_pixels
from . import graphs


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
    size: tuple[int | None, int | None]
    if file.name == "saved_model.pb":
        size, run = _saved_model(file)
    elif file.suffix == ".pb":
        graph = graphs.read(file, contract.input, contract.output)
        size, run = graph.size, graph.run
    elif file.suffix == ".tflite":
        size, run = _litert(file)
    else:
        raise RetrainLabError(f"'{file}' is no model. Expected saved_model.pb, output_graph.pb or model.tflite.")
    same_size(file, size, contract.image_size, "contract.json states")
    _same_labels(folder / "output_labels.txt", contract)
    contracts.check(file, contract, contract.preprocessing, run)
    return Labeler(contract.labels, contract.image_size, lambda pixels: run(contract.preprocessing(pixels)))


def _litert(file: Path) -> tuple[tuple[int, int], Callable[[np.ndarray], np.ndarray]]:
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


def _saved_model(file: Path) -> tuple[tuple[int | None, int | None], Callable[[np.ndarray], np.ndarray]]:
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


def same_size(file: Path, own: tuple[int | None, int | None], asked: tuple[int, int], who: str) -> None:
    """Refuse to feed a network images of another size than it takes; None stands for any."""
    if any(side is not None and side != other for side, other in zip(own, asked, strict=True)):
        raise RetrainLabError(
            f"'{file}' takes images of {own[0] or 'any'} x {own[1] or 'any'} pixels (height x width), but {who} "
            f"{asked[0]} x {asked[1]}."
        )


def _same_labels(file: Path, contract: Contract) -> None:
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
    rows: list[dict[str, Any]] = []
    problems: dict[str, str] = {}

    def pixels(name: Path | str) -> np.ndarray | RetrainLabError:
        try:
            return read_pixels(images[str(name)] if isinstance(images, Mapping) else name, labeler.image_size)
        except RetrainLabError as error:
            return error

    once = {shown(name): name for name in images}
    for path, image in zip(once, _ahead(pixels, once.values()), strict=True):
        try:
            if isinstance(image, RetrainLabError):
                raise image
            chances = labeler.probabilities(image)
        except RetrainLabError as error:
            problems[path] = str(error).rstrip(".")
            continue
        for rank, winner in enumerate(np.argsort(-chances, kind="stable")[:top], start=1):
            rows.append({"path": path, "rank": rank, "label": labeler.labels[winner],
                         "probability": float(chances[winner])})  # fmt: skip
    return pd.DataFrame(rows, columns=["path", "rank", "label", "probability"]), problems


def _ahead(function: Callable[[Any], Any], items: Iterable[Any], most: int = 16) -> Iterator[Any]:
    """Call a function on items by threads, while the caller works on what came out; not further ahead than `most`."""
    with ThreadPoolExecutor() as pool:
        waiting: deque[Future[Any]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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

    def right(path: Path, label: str) -> bool:
        try:
            return labeler.labels[labeler.probabilities(read_pixels(path, labeler.image_size)).argmax()] == label
        except RetrainLabError:
            return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        correct = np.fromiter(pool.map(right, paths, own), bool, len(paths))
    grey, seconds = np.full((*(labeler.image_size or (224, 224)), 3), 128, np.uint8), []
    for _ in range(30):
        started = time.perf_counter()
        labeler.probabilities(grey)
        seconds.append(time.perf_counter() - started)
    facts = {"MB": model.stat().st_size / 1e6, "ms an image": 1000 * np.median(seconds), "accuracy": correct.mean()}
    return facts, correct
