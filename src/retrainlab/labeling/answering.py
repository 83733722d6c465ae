"""What a classifier answers to images: their labels, shown beside them; and what its 8-bit export costs and wins."""

import os
import timeit
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RetrainLabError
from ..evaluation import intervals
from ..evaluation.finding import Finding, finding
from ..images.decoding import read_many, read_pixels
from . import labelers
from .labelers import Labeler

_EXPORTS = ["model.tflite", "model_int8.tflite"]
_MOST = 1000  # images that are labelled by both


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
    sources = _sources(images)
    rows: list[tuple[str, int, str, float]] = []
    problems: dict[str, str] = {}
    for path, found in zip(sources, _answers(labeler, sources.values()), strict=True):
        if isinstance(found, RetrainLabError):
            problems[path] = str(found).rstrip(".")
            continue
        best = np.argsort(-found, kind="stable")[:top]
        rows += [(path, rank, labeler.labels[at], float(found[at])) for rank, at in enumerate(best, start=1)]
    return pd.DataFrame(rows, columns=["path", "rank", "label", "probability"]), problems


def answer(labeler: Labeler, images: Sequence[Path | str] | Mapping[str, bytes], top: int = 5) -> Finding:
    """Label images, and show each beside its most probable labels; `label` says what comes in.

    Returns:
        A Finding whose sentence says, a line each, which images could not be labelled, and why. Its details are the
        table of `label`.
    """
    table, problems = label(labeler, images, top)

    def draw() -> Any:
        from .. import plots

        sources, labelled = _sources(images), table["path"].unique()
        pictures = read_many([sources[path] for path in labelled], (160, 160))
        return plots.label_bars(table, dict(zip(labelled, pictures, strict=True)))

    said = "\n".join(f"{path}: {problem}." for path, problem in problems.items())
    return Finding("What these images are", said, draw=draw if len(table) else None, details=table)


def _sources(images: Sequence[Path | str] | Mapping[str, bytes]) -> dict[str, Any]:
    """Lay out what there is to read, paths or content, by path as `shown`."""
    pairs = images.items() if isinstance(images, Mapping) else zip(images, images, strict=True)
    return {shown(path): source for path, source in pairs}


def shown(path: Path | str) -> str:
    r"""Return a path as text that can be printed and stored: bytes that are not UTF-8 become \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _answers(labeler: Labeler, sources: Iterable[Path | str | bytes]) -> list[np.ndarray | RetrainLabError]:
    """Label images by threads: the probabilities of each, float32 [labels], or why there are none."""

    def one(source: Path | str | bytes) -> np.ndarray | RetrainLabError:
        try:
            return labeler.probabilities(read_pixels(source, labeler.image_size, labeler.levels))
        except RetrainLabError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, sources))


# --------------------------------------------------------------------------------------------- 8 bits


@finding("What 8 bits cost and win")
def compare_int8(model: Path, rows: pd.DataFrame, image_dir: Path, int8: bool, seed: int = 0) -> Finding:
    """Measure the float and the 8-bit export: size, time an image and accuracy, paired on at most 1,000 images.

    Args:
        rows: of the predictions table: path, which counts from `image_dir`, and label.
        int8: whether there is an 8-bit export.
    """
    question = "What 8 bits cost and win"
    if not int8:
        return Finding(question, "int8 is off.")
    if rows.empty:
        raise RetrainLabError("There are neither test nor validation images.")
    some = rows.sample(min(len(rows), _MOST), random_state=seed)
    paths = [image_dir / path for path in some["path"]]
    facts, right = zip(*(measure(model / file, paths, some["label"]) for file in _EXPORTS), strict=True)
    cost = intervals.paired_difference(right[1], right[0], seed)
    said = f"8 bits change accuracy by {intervals.points(cost)}, n = {len(some):,}."
    table = pd.DataFrame(facts, index=_EXPORTS).style.format(precision=3)
    return Finding(question, said, numbers={"accuracy": cost}, table=table)


def measure(model: Path, paths: Sequence[Path], own: Sequence[str]) -> tuple[dict[str, Any], np.ndarray]:
    """Measure how good, how large and how fast a model file is.

    Args:
        paths: images; those that cannot be read count as wrong.
        own: the label of each.

    Returns:
        (facts, correct): facts are MB, ms an image (on one core, the network alone, median of 30) and accuracy;
        correct is bool [n].
    """
    labeler = labelers.load(model)
    answers = _answers(labeler, paths)
    found = [None if isinstance(a, RetrainLabError) else labeler.labels[a.argmax()] for a in answers]
    correct = np.array([mine == label for mine, label in zip(found, own, strict=True)], bool)
    grey = np.full((*(labeler.image_size or (224, 224)), 3), 128, np.uint8)
    seconds = timeit.repeat(lambda: labeler.probabilities(grey), number=1, repeat=30)
    facts = {"MB": model.stat().st_size / 1e6, "ms an image": 1000 * np.median(seconds), "accuracy": correct.mean()}
    return facts, correct
