"""Which of many unlabelled images a person should label next."""

from collections.abc import Collection
from functools import partial
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .. import project
from ..errors import RetrainLabError
from ..evaluation.finding import Finding, finding
from ..sealing import digest
from ..trust import querying
from . import labelled, streaming
from .labelers import Labeler

_ASKED, _SHOWN, _SIDE = 200, 24, 160  # images that are ordered, that are shown, and how large
_SAME = 0.02  # distance to a training image below which it is that image


@finding("What to label next")
def to_label(labeler: Labeler, folder: str | Path, file: Path, had: Collection[str] = (), seed: int = 0) -> Finding:
    """Order the images of a folder by what their labels would teach, and write the first 200 to a table.

    Args:
        labeler: with a guard.
        folder: of images; "" for none, then nothing is said.
        file: the table, see `labelled`; labels that a person gave in it stay.
        had: sha256 of images that have a label, such as all of a run.

    Returns:
        Details: that table but for the labels.

    Raises:
        RetrainLabError: there is no image, or none that can be read, or the model has no guard.
    """
    if not folder:
        return Finding("")
    if labeler.guarded is None:
        raise RetrainLabError("The exported model carries no guard. Run 03_retrain again.")
    found = streaming.sources([project.place(folder)])
    told = streaming.answers(labeler, found, len(labeler.labels))
    given = list(tqdm(told, "label", len(found), unit=" images", leave=False, delay=1, disable=None))
    known = [(each, each.opinion) for each in given if each.opinion is not None]
    if not known:
        why = next((each.problem for each in given if each.problem), "there is no image")
        raise RetrainLabError(f"'{folder}' has nothing to label: {why}. Name a folder of images in `unlabelled_dir`.")
    had, new = {*had}, []
    for each, opinion in known:
        if opinion.nearest[0][2] >= _SAME and digest(Path(str(found[each.path]))) not in had:
            new.append((each, opinion))
    if not new:
        raise RetrainLabError(f"All {len(known):,} images in '{folder}' are among those of this run with a label.")
    names = {label: place for place, label in enumerate(labeler.labels)}
    chances = np.zeros((len(new), len(names)), np.float32)
    for row, (each, _) in enumerate(new):
        for label, probability in each.labels:
            chances[row, names[label]] = probability
    places = np.stack([opinion.place for _, opinion in new])
    learnt = labeler.guarded.guard.likeness.places
    order = querying.order(places, chances, learnt, min(_ASKED, len(new)), seed)
    rows = [
        (each.path, *each.labels[0], opinion.unlike, opinion.nearest[0][2])
        for each, opinion in (new[number] for number in order)
    ]
    table = pd.DataFrame(rows, columns=[name for name in labelled.COLUMNS if name != "label"])
    done = labelled.write(file, table)
    said = [f"Of {len(new):,} images, {file.name} in the run's folder has the {len(table):,} to label first."]
    said += [f"{len(known) - len(new):,} more are among those of this run and have a label."] * (len(new) < len(known))
    said += [f"{len(given) - len(known):,} could not be read."] * (len(known) < len(given))
    said += [f"{done:,} of those to label have a label by now."] * bool(done)
    foreign = sorted({*labelled.read(file)["label"]} - {"", *labeler.labels})
    if foreign:
        said.append(f"Labels that it does not know: {', '.join(map(repr, foreign[:5]))}. See that none is a slip.")
    draw = partial(_gallery, table.head(_SHOWN), found, labeler)
    return Finding("What to label next", " ".join(said), draw=draw, details=table)


def _gallery(table: pd.DataFrame, found: dict[str, streaming.Source], labeler: Labeler) -> np.ndarray:
    from .. import plots
    from ..pixels.decoding import read_whole

    pictures = read_whole([found[path] for path in table["path"]], _SIDE, labeler.levels)
    captions = [
        f"{PurePath(path).name[:20]}\n{label[:14]}? {probability:.0%}"
        for path, label, probability in table[["path", "predicted", "probability"]].itertuples(index=False)
    ]
    return plots.gallery(pictures, captions, "To label next, the most telling first")
