"""What a classifier answers to images: their labels, shown beside them; and what its 8-bit export costs and wins."""

import timeit
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..errors import RetrainLabError
from ..evaluation import intervals
from ..evaluation.finding import Finding, finding
from ..pixels.decoding import read_many
from . import explaining, labelers, streaming
from .labelers import Labeler
from .streaming import Answer, Source

_EXPORTS = ["model.tflite", "model_int8.tflite"]
_MOST = 1000  # images that are labelled by both
_PICTURES = 50  # of images that are shown beside their labels
_ROWS, _EXPLAINED = 100, 6  # of the table, and images whose answer is explained


def label(
    labeler: Labeler, images: Iterable[Path | str] | Mapping[str, Source], top: int = 5
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Label image files.

    Args:
        images: paths of image files or of folders of them, or what to read by name; see `streaming.sources`.
        top: how many labels to give for each, most probable first.

    Returns:
        (table, said): table has the columns path, rank (from 1), label, probability (0 to 1); said tells in a sentence,
        by path, why an image could not be read, or what to know of how it was. The others are labelled all the same.
        Paths are as `streaming.shown`.
    """
    given = _answers(labeler, streaming.sources(images), top)
    return _table(given), {each.path: each.problem or each.note for each in given if each.problem or each.note}


def _answers(labeler: Labeler, found: Mapping[str, Source], top: int) -> list[Answer]:
    told = streaming.answers(labeler, found, top)
    return list(tqdm(told, "label", len(found), unit=" images", leave=False, delay=1, disable=None))


def _table(answers: Iterable[Answer]) -> pd.DataFrame:
    rows = [(each.path, rank, *best) for each in answers for rank, best in enumerate(each.labels, start=1)]
    return pd.DataFrame(rows, columns=["path", "rank", "label", "probability"])


def _overview(answers: Sequence[Answer]) -> Any:
    """The answers for people: a row an image, with what the classifier's guard says of it."""
    rows = []
    for each in answers:
        label, probability = each.labels[0]
        row: dict[str, Any] = {"image": PurePath(each.path).name, "label": label, "probability": probability}
        if (opinion := each.opinion) is not None:
            near = [f"{path} ({own})" for path, own, _ in opinion.nearest[:1]]
            row |= {"says": opinion.said, "unlike": "unlike" if opinion.unlike else "", "most like": "".join(near)}
        rows.append(row)
    return pd.DataFrame(rows).style.format({"probability": "{:.1%}"}, escape="html").hide()


def answer(labeler: Labeler, images: Iterable[Path | str] | Mapping[str, Source], top: int = 5) -> Finding:
    """Label images, and show each beside its most probable labels, if there are many the first; `label` says what
    comes in.

    Returns:
        A Finding whose sentence says, a line each, which images could not be labelled, and why, and what else `label`
        says of them. Its details are its table.
    """
    found = streaming.sources(images)
    given = _answers(labeler, found, top)
    known, table = [each for each in given if each.labels], _table(given)
    labelled = table["path"].unique()
    first = labelled[:_PICTURES]

    def draw() -> Any:
        from .. import plots

        pictures = read_many([found[path] for path in first], (160, 160), labeler.levels)
        return plots.label_bars(table[table["path"].isin(first)], dict(zip(first, pictures, strict=True)))

    said = [f"{each.path}: {each.problem or each.note}." for each in given if each.problem or each.note]
    if len(first) < len(labelled):
        said.insert(0, f"{len(labelled):,} images are labelled; these are the first {len(first)}.")
    said += [labeler.note] if labeler.note else []
    if labeler.guarded is not None:
        odd = labeler.guarded.guard.warnings([each.opinion for each in known if each.opinion is not None])
        said += [odd] if odd else []
    shown = _overview(known[:_ROWS]) if known else None
    return Finding(
        "What these images are", "\n".join(said), table=shown, draw=draw if len(table) else None, details=table
    )


@finding("Where it looks")
def explain(model: Path, labeler: Labeler, images: Iterable[Path | str], table: pd.DataFrame) -> Finding:
    """Show where the answers to the first images come from; beside it, the same for a layer with random weights.

    Args:
        model: an exported folder.
        images: as of `answer`.
        table: of `label`, of the same images.
    """
    found, best = streaming.sources(images), table[table["rank"] == 1].head(_EXPLAINED)
    if best.empty:
        raise RetrainLabError("No image is labelled.")
    explainer = explaining.load(model)
    pixels = np.stack([labeler.read(found[path], path)[0] for path in best["path"]])
    names = [explaining.shown(labeler, *row) for row in best[["label", "probability"]].itertuples(index=False)]
    labels = [labeler.labels.index(name) for name in names]
    maps = {"what it answers": explainer.maps(pixels, labels), "a layer of chance": explainer.of_chance(pixels, labels)}
    titles = [f"{PurePath(path).name}\n→ {name}" for path, name in zip(best["path"], names, strict=True)]

    def draw() -> Any:
        from .. import plots

        return plots.explained(pixels, maps, titles)

    return Finding("Where it looks", draw=draw)


# --------------------------------------------------------------------------------------------- 8 bits


@finding("What 8 bits cost and win")
def compare_int8(model: Path, rows: pd.DataFrame, image_dir: Path, int8: bool, seed: int = 0) -> Finding:
    """Measure the float and the 8-bit export: size, time an image and accuracy, paired on at most 1,000 images.

    Args:
        rows: of the predictions table: path, which counts from `image_dir`, and label. Of images that the exports have
            learnt from, only the difference between the two says something.
        int8: whether there is an 8-bit export.
    """
    question = "What 8 bits cost and win"
    if not int8:
        return Finding(question)
    if not all((model / file).exists() for file in _EXPORTS):
        raise RetrainLabError("LiteRT cannot run this network, so it was not exported in 8 bits.")
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
    answers = streaming.probabilities(labeler, {str(path): path for path in paths})
    found = [None if isinstance(a, RetrainLabError) else labeler.labels[a.argmax()] for a, _ in answers]
    correct = np.array([mine == label for mine, label in zip(found, own, strict=True)], bool)
    grey = np.full((*(labeler.image_size or (224, 224)), 3), 128, np.uint8)
    seconds = timeit.repeat(lambda: labeler.probabilities(grey), number=1, repeat=30)
    facts = {"MB": model.stat().st_size / 1e6, "ms an image": 1000 * np.median(seconds), "accuracy": correct.mean()}
    return facts, correct
