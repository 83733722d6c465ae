"""Load whatever `export` wrote and label images with it."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .backend import litert_runner, tensorflow
from .errors import RetrainLabError
from .images import read_pixels


@dataclass(frozen=True)
class Labeler:
    """An exported classifier.

    Attributes:
        labels: in class order.
        image_size: (height, width) of the pixels that it takes.
        probabilities: float32 [1, height, width, 3] in [0, 1] -> float32 [1, labels].
    """

    labels: list[str]
    image_size: tuple[int, int]
    probabilities: Callable[[np.ndarray], np.ndarray]


def load(model: Path | str) -> Labeler:
    """Open an exported model.

    Args:
        model: the exported folder, which opens the fastest format in it (LiteRT, without TensorFlow), or one file in
            it: saved_model.pb, output_graph.pb or model.tflite.

    Raises:
        RetrainLabError: nothing there, or not an export of Retrain Lab.
    """
    path = Path(model).expanduser()
    if not path.exists():
        raise RetrainLabError(f"No model at '{path}'. Expected the model folder of a run, such as reports/demo/model.")
    folder, file = (path, None) if path.is_dir() else (path.parent, path)
    try:
        contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetrainLabError(
            f"'{folder}' holds no readable contract.json, so what the model expects is unknown. Expected the model "
            "folder of a run, such as reports/demo/model."
        ) from error
    if file is None:
        file = folder / ("model.tflite" if (folder / "model.tflite").exists() else "saved_model.pb")
    if not file.exists():
        raise RetrainLabError(f"'{folder}' holds no model: neither model.tflite nor saved_model.pb.")
    if file.name == "saved_model.pb":
        run = _saved_model(file)
    elif file.suffix == ".pb":
        run = _frozen_graph(file, contract)
    elif file.suffix == ".tflite":
        try:
            run = litert_runner(file)
        except ValueError as error:
            raise RetrainLabError(f"'{file}' is no whole LiteRT model ({error}). Export it again.") from error
    else:
        raise RetrainLabError(f"'{file}' is no model. Expected saved_model.pb, output_graph.pb or model.tflite.")
    return Labeler(contract["labels"], tuple(contract["image_size"]), run)


def _saved_model(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    tf = tensorflow()
    loaded = tf.saved_model.load(str(file.parent))
    signature = loaded.signatures["serving_default"]

    def run(images: np.ndarray) -> np.ndarray:
        return signature(image=tf.constant(images))["prediction"].numpy()

    run.owner = loaded  # type: ignore[attr-defined]  # the variables live as long as the function
    return run


def _frozen_graph(file: Path, contract: dict) -> Callable[[np.ndarray], np.ndarray]:
    tf = tensorflow()
    definition = tf.compat.v1.GraphDef.FromString(file.read_bytes())
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    run = wrapped.prune(f"{contract['input']}:0", f"{contract['output']}:0")
    return lambda images: run(tf.constant(images)).numpy()


def label(
    labeler: Labeler, images: Sequence[Path | str] | Mapping[str, bytes], top: int = 5
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Label image files.

    Args:
        images: paths, or the content of image files by name.
        top: how many labels to give for each, most probable first.

    Returns:
        (table, problems): table has the columns path, rank (from 1), label, probability (0 to 1); problems says in a
        sentence, by path, why an image could not be read. The others are labelled all the same.
    """
    rows: list[dict] = []
    problems: dict[str, str] = {}

    def pixels(name: Path | str) -> np.ndarray | RetrainLabError:
        try:
            return read_pixels(images[str(name)] if isinstance(images, Mapping) else name, labeler.image_size)
        except RetrainLabError as error:
            return error

    with ThreadPoolExecutor() as pool:  # the next images are decoded while one is labelled
        for path, image in zip(images, pool.map(pixels, images), strict=True):
            if isinstance(image, RetrainLabError):
                problems[str(path)] = str(image)
                continue
            chances = labeler.probabilities(image[None].astype(np.float32) / 255.0)[0]
            for rank, winner in enumerate(np.argsort(-chances, kind="stable")[:top], start=1):
                rows.append({"path": str(path), "rank": rank, "label": labeler.labels[winner],
                             "probability": float(chances[winner])})  # fmt: skip
    return pd.DataFrame(rows, columns=["path", "rank", "label", "probability"]), problems
