"""What the guard of an export comes to on images that had no part in it."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..evaluation.intervals import accuracy, percent
from ..pixels.decoding import ImageFolder
from . import conformal, doubts, lookalikes
from .guard import NEAREST, Guard, Opinion


def unsure(guard: Guard, opinions: Sequence[Opinion], rows: pd.DataFrame) -> Finding:
    """How often sets of labels hold the right one, and what is gained by not answering.

    Args:
        opinions: [n], of the guard.
        rows: [n], of the predictions table, of the same images.

    Returns:
        Numbers: right_label_among_likely and several_labels_likely, {"n", "accuracy", "interval"}: the shares of sets
        that hold the right label, and of sets of more than one; where there is a threshold, asked_to_say: it, and how
        often such answers are "right".

    Raises:
        RetrainLabError: the guard promises nothing.
    """
    if not (guard.least > 0).any():
        raise RetrainLabError("There are too few validation images to promise anything: it takes nine, better 100.")
    own = rows["label"].tolist()
    covered = accuracy(np.array([label in each.held for label, each in zip(own, opinions, strict=True)]))
    several = accuracy(np.array([len(each.held) > 1 for each in opinions]))
    alone = [label == each.held[0] for label, each in zip(own, opinions, strict=True) if len(each.held) == 1]
    said = (
        f"Sets that are meant to hold the right label in {conformal.COVERAGE:.0%} of cases do so for "
        f"{percent(covered)}, test images. {several['accuracy']:.1%} of the answers name more than one label, or say "
        f"that it is unsure; where one label is named, it is right for {percent(accuracy(np.array(alone, bool)))}."
    )
    numbers = {"right_label_among_likely": covered, "several_labels_likely": several}
    if (chosen := guard.threshold) is not None:
        mine = [
            label == each.said for label, each in zip(own, opinions, strict=True) if each.said == chosen.positive_label
        ]
        right = accuracy(np.array(mine, bool))
        numbers["asked_to_say"] = asdict(chosen) | {"right": right}
        said += (
            f"\nBut it was asked in training to say '{chosen.positive_label}' from a probability of "
            f"{chosen.threshold:.1%} on, whatever else is likely, and never to be unsure: such answers are right for "
            f"{percent(right)}."
        )
    return Finding("When it is unsure", said, numbers=numbers, draw=partial(plots.coverage, _coverage(rows)))


def strangers(guard: Guard, opinions: Sequence[Opinion]) -> Finding:
    """Which detector was chosen for images that are unlike what was learnt from, and its false alarms.

    Returns:
        Numbers: unknown_label_area_under_roc, the mean for labels that were left out, None where none could be;
        taken_for_unlike, the share of test images that are, {"n", "accuracy", "interval"}.

    Raises:
        RetrainLabError: the guard has no threshold.
    """
    if not np.isfinite(guard.strange):
        raise RetrainLabError("There are too few validation images to set a threshold on: it takes twenty.")
    alarms, best = accuracy(np.array([each.unlike for each in opinions])), guard.tried[guard.detector]
    how = "the first of those there are: with one label, none can be left out"
    if tried := bool(np.isfinite(best)):
        how = f"which tells images of a label that it does not know from others with an area under ROC of {best:.2f}"
    said = [f"Detector: {guard.detector}, {how}.", f"False alarms among test images: {percent(alarms)} (5% are meant)."]
    if tried and best < doubts.HARDLY:
        said.append("So an image of a label that it has never seen may well pass for one that it knows.")
    if tried and len(guard.labels) == 2:
        said.append("With two labels it was tried on one apart from the other, which says little of what is neither.")
    table = pd.Series(guard.tried, name="area under ROC, a label left out").to_frame().style.format(precision=3)
    scores = np.array([each.strangeness for each in opinions])
    draw = partial(plots.strangeness, scores)
    numbers = {"unknown_label_area_under_roc": best if tried else None, "taken_for_unlike": alarms}
    return Finding("What is unlike", "\n".join(said), numbers=numbers, table=table, draw=draw)


def alike(guard: Guard, opinions: Sequence[Opinion], rows: pd.DataFrame, photos: ImageFolder) -> Finding:
    """Whether the nearest training images have the label of the answer, and how much more such answers are worth.

    Args: as of `unsure`; photos: where these images and those learnt from lie.

    Returns:
        Numbers: answers_whose_nearest, by agree and differ the accuracy of such answers, {"n", "accuracy",
        "interval"}; answers with a label of fewer than three training images, which cannot agree, are left out. And
        those of `lookalikes.mistakes`, whose figure it has.

    Raises:
        RetrainLabError: no answer is left.
    """
    counts = dict(zip(guard.labels, np.bincount(guard.classes, minlength=len(guard.labels)), strict=True))
    able = np.array([counts[name] >= NEAREST for name in rows["predicted"]])
    if not able.any():
        raise RetrainLabError(f"It takes {NEAREST} training images of a label, and no label that is answered has them.")
    rows, opinions = rows[able], [each for each, can in zip(opinions, able, strict=True) if can]
    right = (rows["label"] == rows["predicted"]).to_numpy()
    told = zip(rows["predicted"], opinions, strict=True)
    agree = np.array([all(label == name for _, label, _ in each.nearest) for name, each in told])
    both = {"agree": accuracy(right[agree]), "differ": accuracy(right[~agree])}
    wrong = lookalikes.mistakes(rows, [each.nearest for each in opinions], photos)
    said = (
        f"For {agree.mean():.1%} of {len(agree):,} test images, the three nearest training images have the label of "
        f"the answer; such answers are right for {percent(both['agree'])}, the others for {percent(both['differ'])}."
    )
    if left := int((~able).sum()):
        said += f" {left:,} answers have a label with fewer training images than that, and are left out."
    numbers = {"answers_whose_nearest": both, **wrong.numbers}
    return Finding("What an answer is like", f"{said}\n{wrong}", numbers=numbers, draw=wrong.draw)


def _coverage(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the surest answers by the share that they are of all: share, accuracy, low, high."""
    ordered = rows.sort_values("probability", ascending=False, kind="stable")
    right = (ordered["label"] == ordered["predicted"]).to_numpy()
    counts = np.unique(np.linspace(min(20, len(right)), len(right), 60).astype(int))
    found = [accuracy(right[:count]) for count in counts]
    low, high = np.array([each["interval"] for each in found]).T
    values = [each["accuracy"] for each in found]
    return pd.DataFrame({"share": counts / len(right), "accuracy": values, "low": low, "high": high})
