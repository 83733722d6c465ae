"""What an exported classifier carries to know when not to be believed: a few megabytes, and no image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import sealing
from ..errors import RetrainLabError
from ..evaluation.calibration import softmax
from ..evaluation.thresholds import Threshold
from . import batches, conformal, foreign, likeness
from .likeness import Likeness

if TYPE_CHECKING:
    import pandas as pd

    from ..training.classifier import Classifier

Near = list[tuple[str, str, float]]  # (path, label, distance) of images learnt from, the most alike first

FILE = "guard.npz"
NEAREST = 3
_MOST = 5000  # images learnt from that are kept to compare with, drawn label by label in turn


@dataclass(frozen=True)
class Opinion:
    """What is to be said of one answer.

    Attributes:
        said: "heron", "heron or egret", or "unsure"; see `conformal.say`.
        held: the labels of the set that holds the right one in nine of ten cases, the most probable first.
        unlike: whether the image is unlike those that were learnt from.
        strangeness: its score, 1 at the threshold and in units of it: above 1 it is unlike.
        nearest: three images learnt from that are most alike.
        place: float32 [p + 1], where its bottleneck lies; for `Guard.differs`.
        taken_for: the most probable label, its place in class order.
    """

    said: str
    held: list[str]
    unlike: bool
    strangeness: float
    nearest: Near
    place: np.ndarray
    taken_for: int


@dataclass(frozen=True)
class Guard:
    """The places of images that were learnt from, and thresholds that were set on others.

    Attributes:
        labels: in class order.
        likeness: of training images.
        classes, paths: int and str [m], of the same.
        least: float [labels], see `conformal.thresholds`.
        detector: one of `foreign.DETECTORS`.
        tried: by detector, the mean area under the ROC curve over labels that were left out; NaN where there is none.
        strange: the score that 5% of validation images exceed; infinite where they were too few to tell.
        held, taken_for: float32 [v, p + 1] and int [v], places of validation images and what they were taken for.
        threshold: from which probability on one of two labels is said, whatever else is likely; None for none.
    """

    labels: list[str]
    likeness: Likeness
    classes: np.ndarray
    paths: np.ndarray
    least: np.ndarray
    detector: str
    tried: dict[str, float]
    strange: float
    held: np.ndarray
    taken_for: np.ndarray
    threshold: Threshold | None = None

    @cached_property
    def scores(self) -> foreign.Score:
        """Tells how unlike what was learnt from images are by their places: beyond `strange`, they are unlike."""
        return foreign.DETECTORS[self.detector](self.likeness.places, self.classes)

    def opinions(self, bottlenecks: np.ndarray, probabilities: np.ndarray) -> list[Opinion]:
        """Say of each answer how far it goes: float32 [n, dim] and [n, labels]."""
        places = self.likeness.place(bottlenecks)
        held = conformal.sets(probabilities, self.least)
        scores = np.zeros(len(places))
        if np.isfinite(self.strange):  # a threshold below 0 is one, too, and so is 0 where all images are alike
            scores = 1 + (self.scores(places) - self.strange) / (abs(self.strange) or 1)
        near = self._near(places)
        return [self._opinion(*each) for each in zip(probabilities, held, scores, near, places, strict=True)]

    def nearest(self, bottlenecks: np.ndarray) -> list[Near]:
        """Find the three images learnt from that are most alike: float32 [n, dim] -> [n]."""
        return self._near(self.likeness.place(bottlenecks))

    def _near(self, places: np.ndarray) -> list[Near]:
        rows, far = self.likeness.nearest(places, NEAREST)
        return [
            [
                (str(self.paths[row]), self.labels[self.classes[row]], float(away))
                for row, away in zip(*each, strict=True)
            ]
            for each in zip(rows, far, strict=True)
        ]

    def _opinion(self, chances: np.ndarray, held: np.ndarray, score: float, alike: Near, at: np.ndarray) -> Opinion:
        names = [self.labels[place] for place in np.argsort(-chances, kind="stable") if held[place]]
        said, taken_for = conformal.say(self.labels, chances, held), int(chances.argmax())
        if self.threshold is not None:
            said = self.threshold.answer(self.labels, chances)
        return Opinion(said, names, bool(score > 1), float(score), alike, at, taken_for)

    def differs(self, opinions: Sequence[Opinion]) -> float:
        """How often usual images would differ from the usual as much as these do; see `batches.differs`."""
        if not opinions:
            return 1.0
        places = np.stack([each.place for each in opinions])
        return batches.differs(places, _taken_for(opinions), self.held, self.taken_for)

    def warnings(self, opinions: Sequence[Opinion]) -> str:
        """Say what is odd about a batch of images as a whole, a line each; nothing where nothing is."""
        said, unlike = [], sum(each.unlike for each in opinions)
        if unlike > max(1, 2 * foreign.FALSE_ALARMS * len(opinions)):
            said.append(f"{unlike:,} of {len(opinions):,} images are unlike those that it was trained on.")
        if (chance := self.differs(opinions)) < batches.CHANCE:
            said.append(
                f"As a whole, these {len(opinions):,} images differ from those that it was judged by (by chance, "
                f"{chance:.1%} of such batches would as much): its accuracy may be another here. {self._mix(opinions)}"
            )
        return "\n".join(said)

    def _mix(self, opinions: Sequence[Opinion]) -> str:
        """Say whether labels come in another mix, which may be all that is odd about a batch."""
        mine = _taken_for(opinions)
        if batches.mixed(mine, self.taken_for) >= batches.CHANCE:
            return "Not so their mix of labels: it may be the images: their light or camera, or what they show."
        own, usual = (np.bincount(some, minlength=len(self.labels)) / len(some) for some in (mine, self.taken_for))
        most = int((own - usual).argmax())
        return (
            f"So does their mix of labels: {own[most]:.0%} are taken for '{self.labels[most]}', and {usual[most]:.0%} "
            "of those. If they are meant to be a part only, such as one label or one object, that may be all."
        )

    def save(self, folder: Path) -> int:
        """Write it to a folder, without its threshold, which a contract states for everybody; returns bytes."""
        like = self.likeness
        arrays = {
            "mean": like.mean,
            "deviation": like.deviation,
            "directions": like.directions,
            "places": like.places,
            "classes": self.classes.astype(np.int32),
            "paths": self.paths.astype(str),
            "labels": np.array(self.labels),
            "least": self.least,
            "strange": np.array(self.strange),
            "detectors": np.array([self.detector, *self.tried]),
            "tried": np.array(list(self.tried.values())),
            "held": self.held,
            "taken_for": self.taken_for.astype(np.int32),
        }
        np.savez_compressed(folder / FILE, **arrays)  # type: ignore[arg-type]
        return (folder / FILE).stat().st_size


def _taken_for(opinions: Sequence[Opinion]) -> np.ndarray:
    return np.array([each.taken_for for each in opinions], np.int64)


def load(folder: Path) -> Guard:
    """Read what `save` wrote.

    Raises:
        RetrainLabError: it is missing or damaged.
    """
    try:
        values = sealing.read_arrays(folder / FILE)
        like = Likeness(*(values[name] for name in ("mean", "deviation", "directions", "places")))
        detector, *names = values["detectors"].tolist()
        return Guard(
            values["labels"].tolist(),
            like,
            values["classes"],
            values["paths"],
            values["least"],
            detector,
            dict(zip(names, values["tried"].tolist(), strict=True)),
            float(values["strange"]),
            values["held"],
            values["taken_for"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RetrainLabError(f"'{folder / FILE}' is damaged or missing ({error}). Export the model again.") from error


def learn(features: np.ndarray, table: "pd.DataFrame", predicted: "pd.DataFrame", labels: Sequence[str]) -> Guard:
    """Learn from a trained run what its classifier may be asked.

    What is alike comes from training images; thresholds come from validation images, which no head has learnt from
    that says something of them in `predicted`. Test images take no part.

    Args:
        features: float32 [n, dim], of all images.
        table: [n], their path, label and split.
        predicted: the predictions table of the same rows.
        labels: in class order.

    Raises:
        RetrainLabError: no training image.
    """
    split, names = table["split"].to_numpy(), {label: place for place, label in enumerate(labels)}
    classes = np.array([names.get(label, -1) for label in table["label"]])
    train, held = _in_turn(np.flatnonzero((split == "train") & (classes >= 0)), classes), split == "validation"
    if not len(train):
        raise RetrainLabError("There is no training image, so nothing tells what is usual.")
    like = likeness.learn(features[train])
    chances = softmax(np.stack(list(predicted["logits"]))[held]) if held.any() else np.zeros((0, len(labels)))
    least = conformal.thresholds(chances, classes[held])
    places = like.place(features[held])
    together = np.concatenate([like.places, places]), np.concatenate([classes[train], classes[held]])
    tried = foreign.leave_labels_out(*together, np.arange(len(together[0])) >= len(train))
    detector = foreign.choose(tried)
    scores = foreign.DETECTORS[detector](like.places, classes[train])(places)
    means = {name: float(np.mean(areas)) if areas else float("nan") for name, areas in tried.items()}
    return Guard(
        list(labels),
        like,
        classes[train],
        table["path"].to_numpy(str)[train],
        least,
        detector,
        means,
        foreign.threshold(scores),
        places,
        chances.argmax(axis=1) if len(chances) else np.zeros(0, np.int64),
    )


def of(classifier: "Classifier", threshold: Threshold | None = None) -> Guard:
    """Learn, likewise, from what a trained classifier says of its images: what its export is to carry.

    Args:
        threshold: from which on one of two labels is said, as of `thresholds.another_threshold`.
    """
    features = classifier.features
    learnt = learn(features.matrix, features.table, classifier.predicted, classifier.head.labels)
    return replace(learnt, threshold=threshold)


def _in_turn(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Keep at most 5,000 rows, of each label in turn, drawn at random by a fixed seed; in their order."""
    if len(rows) <= _MOST:
        return rows
    drawn = np.random.default_rng(0).permutation(rows)
    turn = np.empty(len(drawn), np.int64)
    for label in np.unique(classes[drawn]):
        mine = classes[drawn] == label
        turn[mine] = np.arange(mine.sum())
    return np.sort(drawn[np.argsort(turn, kind="stable")[:_MOST]])
