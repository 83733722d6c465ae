"""May one answer of a trained run be believed? A Finding answers each question; what to watch out for is at the top.

Whatever is set, is set on training and validation images; whatever is claimed, is measured on images that had no part
in setting it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
import pandas as pd

from .. import plots
from ..analysis import resampling
from ..bottlenecks.features import Features
from ..errors import RetrainLabError
from ..evaluation.calibration import softmax
from ..evaluation.finding import Finding, finding
from ..evaluation.intervals import accuracy, percent
from ..images import grouping
from ..pixels.conditions import CONDITIONS, MASKS, Condition
from ..training.heads import Head, HeadSettings
from . import batches, doubts, opinions, querying, robustness, shortcuts, slices
from .guard import Guard, Opinion

_SHOWN = 3  # right answers, and wrong ones
_CORES = 2  # that a budget is told for
_LABELLED = 800  # images that what to label next is simulated on
_LABELS = 100  # that masked images are told apart by: the time goes with their number


class Explainer(Protocol):
    """What `labeling.explaining` gives."""

    def maps(self, pixels: np.ndarray, labels: list[int]) -> np.ndarray:
        """Where labels come from, [n, height, width]."""

    def of_chance(self, pixels: np.ndarray, labels: list[int], seed: int = 0) -> np.ndarray:
        """The same of a layer with random weights."""


@dataclass(frozen=True, eq=False)
class Trust:
    """The questions about single answers of one run, in the order of 07_trust.

    Attributes:
        features: of all images, as the exported head reads them.
        settings: of the head.
        head: as it was exported.
        predicted: the predictions table of the same images.
        guard: what the export carries.
        explain: opens what says where a label comes from; RetrainLabError where nothing can.
        milliseconds: what an image costs on one core, as the run knows it.
        budget_minutes: what computing images under masks and conditions may take on two cores, about.
        seed: the same seed gives the same numbers.
    """

    features: Features
    settings: HeadSettings
    head: Head
    predicted: pd.DataFrame
    guard: Guard
    explain: Callable[[], Explainer]
    milliseconds: float = 10.0
    budget_minutes: float = 3.0
    seed: int = 0

    @property
    def table(self) -> pd.DataFrame:
        return self.features.table

    def _rows(self, *splits: str) -> np.ndarray:
        return np.flatnonzero(self.table["split"].isin(splits))

    @cached_property
    def judged(self) -> np.ndarray:
        """Rows of the test images: what is claimed is measured on them.

        Raises:
            RetrainLabError: there are none.
        """
        rows = self._rows("test")
        if not len(rows):
            said = "There are no test images to measure it on"
            raise RetrainLabError(
                f"{said}: it takes testing_percentage above 0, and three different images of a label."
            )
        return rows

    @cached_property
    def opinions(self) -> list[Opinion]:
        """What the guard says of the test images."""
        logits = self.head.logits(self.features.matrix[self.judged])
        return self.guard.opinions(self.features.matrix[self.judged], softmax(logits))

    @cached_property
    def chosen(self) -> Head:
        """The head that validation images judge: the exported one may have learnt from them."""
        split = self.table["split"].to_numpy(object)[None]
        return resampling.trained(self.features.matrix, self.table["label"].to_numpy(), split, self.settings)[0]

    @cached_property
    def groups(self) -> np.ndarray:
        return grouping.groups(self.table).to_numpy()

    def _images(self, variants: int, share: float) -> int:
        """How many images a share of the minutes allows to be computed in so many variants: at least 20."""
        computed = 60_000 * self.budget_minutes * share * _CORES / self.milliseconds
        return max(20, int(computed / variants) // 20 * 20)

    def _drawn(self, rows: np.ndarray, count: int) -> np.ndarray:
        # the first of one order, so that what was computed for fewer serves for more
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[:count])

    # ------------------------------------------------------------------------------------- single answers

    @cached_property
    @finding("When it is unsure")
    def unsure(self) -> Finding:
        """Sets of labels that hold the right one in nine of ten cases, measured on test images."""
        return opinions.unsure(self.guard, self.opinions, self.predicted.iloc[self.judged])

    @cached_property
    @finding("What is unlike everything it knows")
    def strangers(self) -> Finding:
        """The detector that was chosen by leaving labels out, what it came to, and its false alarms on test images."""
        return opinions.strangers(self.guard, self.opinions)

    @cached_property
    @finding("What an answer is like")
    def alike(self) -> Finding:
        """Whether the nearest training images agree with an answer, what that tells, and what mistakes look like."""
        given = self.guard, self.opinions, self.predicted.iloc[self.judged]
        return opinions.alike(*given, self.features.photos)

    @cached_property
    @finding("Where it looks")
    def looks(self) -> Finding:
        """Maps of the surest right and wrong answers among the test images, and those of a layer of chance."""
        rows = self.predicted.iloc[self.judged]
        right = rows["label"] == rows["predicted"]
        some = pd.concat([rows[right].nlargest(_SHOWN, "probability"), rows[~right].nlargest(_SHOWN, "probability")])
        explainer, size = self.explain(), self.features.backbone.image_size
        pixels = self.features.photos.read_many(some["path"], size)
        labels = [self.head.labels.index(label) for label in some["predicted"]]
        maps = {"what it answers": explainer.maps(pixels, labels)}
        maps["a layer of chance"] = explainer.of_chance(pixels, labels, self.seed)
        titles = [
            f"{own}\n→ {name}\n{sure:.0%}"
            for own, name, sure in zip(some["label"], some["predicted"], some["probability"], strict=True)
        ]
        pairs = [each for each in zip(*maps.values(), strict=True) if np.ptp(each[0]) and np.ptp(each[1])]
        if not pairs:
            raise RetrainLabError("No place in these images adds more to the answer than another.")
        same = float(np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs]))
        said = f"The maps and those of a layer of chance correlate by {same:.2f}: 1 would mean that they say nothing."
        return Finding(
            "", said, numbers={"maps_correlate_with_chance": same}, draw=partial(plots.explained, pixels, maps, titles)
        )

    # ------------------------------------------------------------------------------------- what it goes by

    def _pictured(self, made: Mapping[str, Condition], title: str) -> Finding:
        image = self.table.iloc[self._drawn(self._rows("train"), 1)].iloc[0]
        (pixels,) = self.features.photos.read_many([image["path"]], self.features.backbone.image_size)
        pictures = np.stack([pixels, *(each.apply(pixels, image["sha256"]) for each in made.values())])
        return Finding("", draw=partial(plots.gallery, pictures, ["as it is", *made], title, columns=5))

    @cached_property
    @finding("What masks hide")
    def masks(self) -> Finding:
        """A training image under every mask."""
        return self._pictured(MASKS, "One image, masked")

    @cached_property
    @finding("What hard conditions look like")
    def damage(self) -> Finding:
        """A training image under the usual step of every condition."""
        usual = {name: steps[robustness.USUAL - 1] for name, steps in CONDITIONS.items()}
        return self._pictured(usual, f"One image under hard conditions, step {robustness.USUAL} of 5")

    @cached_property
    @finding("What it goes by")
    def goes_by(self) -> Finding:
        """What is left when a part of the image is hidden; see `shortcuts.compare`."""
        rows, known = self._rows("train", "validation"), self.head.labels
        some = np.random.default_rng(self.seed).permutation(known)[:_LABELS]
        rows = self._drawn(rows[self.table["label"].iloc[rows].isin(some)], self._images(len(MASKS), 0.25))
        labels, split = self.table["label"].to_numpy()[rows], np.full(len(rows), "train", dtype=object)
        folds = resampling.repeated_folds(labels, self.groups[rows], split, 5, self.seed)
        masked = {name: self.features.under(mask, rows) for name, mask in MASKS.items()}
        whole = self.features.matrix[rows]
        found = shortcuts.compare(whole, masked, labels, folds, self.settings, self.groups[rows])
        left = f"\nThat is for {len(some)} of {len(known):,} labels, drawn at random." * (len(some) < len(known))
        return replace(found, sentence=found.sentence + left)

    @cached_property
    @finding("What hard conditions cost")
    def conditions(self) -> Finding:
        """Accuracy of validation images under conditions; see `robustness.measure`."""
        rows = self._held
        under = {name: [self.features.under(one, rows) for one in steps] for name, steps in CONDITIONS.items()}
        plain, labels = self.features.matrix[rows], self.table["label"].iloc[rows]
        return robustness.measure(self.chosen, plain, under, labels, self.groups[rows])

    @property
    def _held(self) -> np.ndarray:
        """Rows of the validation images that are shown under all conditions, as many as there is time for."""
        rows = self._rows("validation")
        if not len(rows):
            said = "There are no validation images"
            raise RetrainLabError(
                f"{said}: it takes validation_percentage above 0, and three different images of a label."
            )
        return self._drawn(rows, self._images(sum(map(len, CONDITIONS.values())), 0.25))

    @cached_property
    @finding("Whether learning from it helps")
    def mended(self) -> Finding:
        """Train on the weakest condition as well, and judge by validation images; see `robustness.mending`."""
        if not self.conditions:
            raise RetrainLabError("It is not known what hard conditions cost.")
        weakest = self.conditions.numbers["weakest_condition"]
        if not robustness.lost_beyond_chance(self.conditions.numbers["weakest_condition_changes"]):
            return Finding("", "No condition is shown to cost anything, so nothing is learnt from one.")
        hard = Condition(weakest, robustness.USUAL)
        train = self._drawn(self._rows("train"), self._images(1, 0.1))
        held = self._held
        more = self.features.under(hard, train)
        both = np.concatenate([self.features.matrix, more])
        labels = np.concatenate([self.table["label"].to_numpy(), self.table["label"].to_numpy()[train]])
        split = np.concatenate([self.table["split"].to_numpy(object), np.full(len(train), "train", dtype=object)])
        (after,) = resampling.trained(both, labels, split[None], self.settings)
        given = self.features.under(hard, held), self.features.matrix[held], self.table["label"].iloc[held]
        return robustness.mending(weakest, self.chosen, after, *given, self.groups[held])

    @cached_property
    @finding("Where it fails")
    def fails(self) -> Finding:
        """Groups of test and validation images with more mistakes than chance; see `slices.where_it_fails`."""
        rows = self._rows("validation", "test")
        if not len(rows):
            raise RetrainLabError("There are neither validation nor test images.")
        images, predicted = self.table.iloc[rows], self.predicted.iloc[rows]
        properties = slices.describe(images, self.features.photos, self.features.matrix[rows], self.seed)
        if [PurePosixPath(path).parent.name for path in images["path"]] == images["given"].tolist():
            properties = properties.drop(columns="folder", errors="ignore")  # that is the label itself
        return slices.where_it_fails(predicted, properties, self.groups[rows])

    # ------------------------------------------------------------------------------------- many images

    @cached_property
    @finding("Whether a new batch is noticed")
    def batches(self) -> Finding:
        """False alarms on random batches of test images."""
        size, draws = min(100, len(self.judged) // 2), 100
        if size < batches.LEAST:
            raise RetrainLabError(f"It takes {2 * batches.LEAST} test images, and there are {len(self.judged)}.")
        random = np.random.default_rng(self.seed)
        drawn = [random.choice(len(self.judged), size, replace=False) for _ in range(draws)]
        alarms = [self.guard.differs([self.opinions[n] for n in some]) < batches.CHANCE for some in drawn]
        usual = accuracy(np.array(alarms))
        said = f"Of {draws} batches of {size} test images, it takes {percent(usual)} for different (5% are meant)."
        return Finding("", said, numbers={"usual_batches_taken_for_different": usual})

    @cached_property
    @finding("What to label next would save")
    def next_labels(self) -> Finding:
        """Simulated on the labelled images; see `querying.saving`."""
        rows = self._drawn(self._rows("train", "validation"), _LABELLED)
        labels = self.table["label"].to_numpy()[rows]
        return querying.saving(
            self.features.matrix[rows], labels, self.settings, self.groups[rows], self.seed, repeats=3, rounds=4
        )

    # ------------------------------------------------------------------------------------- what was found

    @cached_property
    def found(self) -> Mapping[str, Finding]:
        """All findings, by name."""
        answers = ("unsure", "strangers", "alike", "looks")
        images = ("goes_by", "conditions", "mended", "fails", "batches", "next_labels")
        names = (*answers, *images)
        return {name: getattr(self, name) for name in names}

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """What metrics.json keeps."""
        return {name: value for each in self.found.values() for name, value in each.numbers.items()}

    def summary(self) -> str:
        """What to watch out for with this classifier, in Markdown, for the top of the page."""
        untold = [each.question for each in self.found.values() if not each]
        return doubts.markdown(doubts.watch_out(self.numbers), untold, len(self.found))
