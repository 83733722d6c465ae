"""Does a trained run know its images, or does it remember them? A Finding answers each question; see `trainings`."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation import calibration, intervals, scores
from ..evaluation.finding import Finding, finding
from . import advice as advising
from . import gap as gaps
from . import judging, leaks, learning_curve, levers, power_law, regularisation, suspects, tuning
from . import verdict as judgement
from .trainings import Trainings

_PAIRS, _SUSPECTS = (9, 160), (12, 240)  # how many pictures are shown, and their size in pixels
_answer = partial(Finding, "")  # `finding` fills in the question


def _asked(question: str) -> Callable[[Callable[[Any], Finding]], cached_property[Finding]]:
    """Make a method that answers a question an attribute that is answered once; see `finding`."""

    def decorate(method: Callable[[Any], Finding]) -> cached_property[Finding]:
        return cached_property(finding(question)(method))

    return decorate


class Overfitting(Trainings):
    """The questions about one run, in the order of 04_overfitting; what was found is at the end.

    An attribute is answered when it is first asked for: `gap`, `early_stopping`, `more_images` and
    `price_of_near_duplicates` train layers for it, the others go on from those.
    """

    @_asked("The gap")
    def gap(self) -> Finding:
        """Training and validation accuracy of the run, over re-splits, and with shuffled labels."""
        run = gaps.of_run(self.metrics, self.predictions.details)
        rows, numbers = {"this run": run} if run else {}, {"gap": self.metrics.get("gap")}
        said, what = [str(self.predictions)], "What other splits would give"
        try:
            said.append(self.resplits[2])
            what = "The gap over re-splits"
            many = rows[f"{len(self.splits)} re-splits"] = gaps.of_resplits(self.crossed, self.groups)
            numbers["gap"] = many["gap"]
            if self.tuned_from:  # of those, re-splits of layers know nothing
                numbers["gap"] = self.metrics.get("gap")
                if (of_tuned := self.fine_tuned.result) is not None and len(of_tuned.splits) > 1:
                    tuned = gaps.of_resplits(of_tuned, self.groups)
                    rows[f"{len(of_tuned.splits)} re-splits, fine-tuned"], numbers["gap"] = tuned, tuned["gap"]
            numbers["learnt"] = gaps.learnt(self.crossed, self.labels, self.groups)
            what = "What can be memorised"
            mixed = gaps.of_resplits(self.shuffled, self.groups)
            rows[f"{len(self.shuffled.splits)} with shuffled labels"] = mixed
        except RetrainLabError as error:
            said.append(f"{what} cannot be told. {error}")
        baseline = float(self.rows["label"].value_counts(normalize=True).max())
        draw = partial(plots.gaps, rows, baseline) if rows else None
        return _answer("\n".join(filter(None, said)), True, numbers, gaps.written(rows) if rows else None, draw)

    @_asked("How accuracy came about")
    def accuracy_by_step(self) -> Finding:
        return _answer(draw=partial(plots.bands, self.paths.history, "accuracy"))

    @_asked("How cross-entropy came about")
    def cross_entropy_by_step(self) -> Finding:
        lowest = self.early_stopping.numbers.get("stopping_step")
        return _answer(draw=partial(plots.bands, self.paths.history, "cross_entropy", lowest))

    @_asked("What stopping earlier would win")
    def early_stopping(self) -> Finding:
        return regularisation.early_stopping(self.paths)

    @_asked("What other settings would give")
    def other_settings(self) -> Finding:
        return regularisation.settings_path(self.paths, self.settings, self.groups)

    @_asked("What reading more of the network would win")
    def other_readings(self) -> Finding:
        """What is not read yet of the network, measured where the minutes allow computing it."""
        if self.source is None:
            return _answer()
        kept, read = self.judging, self.source.backbone.settings
        wanted = levers.worth_reading(read.depth, read.average_views)
        of_images = len(self.labels), self.source.milliseconds, os.cpu_count() or 1
        now = levers.in_time(list(wanted), *of_images, self.budget_minutes)
        others = {name: kept.reading(**wanted[name]).matrix for name in now}
        found = levers.compare(self.features, others, self.labels, self.splits, self.settings, self.groups)
        said = [
            f"{name}: not tried, since it takes over a tenth of budget_minutes." for name in wanted if name not in now
        ]
        return replace(found, sentence="\n".join([*filter(None, [found.sentence]), *said]))

    @_asked("What fine-tuning would win")
    def fine_tuning(self) -> Finding:
        """What it wins over a layer on the network as it is, on as many folds as there is time for."""
        if self.source is None:
            return _answer()
        given = self.fine_tuned, self.judging, self.settings, self.groups
        return tuning.compare(*given, tuned=bool(self.tuned_from))

    @_asked("What more images would bring")
    def more_images(self) -> Finding:
        """The learning curve, and what a power law makes of it."""
        fit, train = power_law.fit(self.curve), np.nanmean(self.curve.train_accuracy, axis=1)
        measured = pd.DataFrame({"images": fit.sizes, "train": train, "validation": 1 - fit.errors})
        sizes = np.geomspace(fit.sizes[0], 2 * fit.sizes[-1], 60)
        law = None if fit.why else pd.DataFrame({"images": sizes, "accuracy": 1 - fit.error(sizes)})
        low, high = (1 - fit.now + gain for gain in fit.interval)
        numbers = {"more_images": fit.change} if fit.tells else {}
        return _answer(str(fit), numbers=numbers, draw=partial(plots.learning_curve, measured, law, (low, high)))

    @_asked("What more images would bring to the weakest labels")
    def weakest_labels(self) -> Finding:
        fits = {label: power_law.fit(self.curve, self.labels == label) for label in learning_curve.weakest(self.curve)}
        rows = {
            label: {
                "images judged": f"{fit.n:,}",
                "error now": f"{fit.now:.1%}",
                "error with twice the images": f"{fit.twice:.1%}",
                "gain": intervals.points(fit.change),
            }
            for label, fit in fits.items()
            if not fit.why
        }
        return _answer(table=pd.DataFrame.from_dict(rows, orient="index") if rows else None)

    @_asked("Whether it leaks")
    def near_duplicates(self) -> Finding:
        """Images that stand in different splits and are nearly the same."""
        across, (most, side) = leaks.crossing(self.duplicates.pairs, self.table), _PAIRS

        def draw() -> Any:
            pictures = self._pictures(across[["path", "other"]].head(most).to_numpy().ravel(), side)
            return plots.near_duplicates(across, pictures.reshape(-1, 2, side, side, 3))

        said, numbers = leaks.describe(self.duplicates, self.table), {"leaking": leaks.share(across, self.table)}
        return _answer(said, numbers=numbers, draw=draw if len(across) else None)

    @_asked("What near-duplicates are worth")
    def price_of_near_duplicates(self) -> Finding:
        """By how much near-duplicates across splits flatter accuracy; nothing is said where there are none."""
        if not self.near_duplicates.numbers["leaking"]:
            return _answer()
        if not self.apart:
            raise RetrainLabError("It takes re-splits that keep them together, and others that do not.")
        mingled = self.cross_validate(self.split(self.copies, self.plan.grouped))
        price = intervals.clustered_mean(mingled.hits - self.crossed.hits, self.groups)
        if price["interval"] is None:
            return _answer()
        chance = f"{'more' if price['interval'][0] > 0 else 'no more'} than chance"
        said = f"Near-duplicates across splits change accuracy by {intervals.points(price)}: {chance}."
        return _answer(said, numbers={"price": price})

    @_asked("Which labels are in doubt")
    def labels_in_doubt(self) -> Finding:
        table, (most, side) = suspects.find(self.crossed.probabilities, self.rows, self.crossed.labels), _SUSPECTS
        doubt = f"At most {len(table):,} of {len(self.rows):,} labels are in doubt"
        said = f"{doubt}; suspects.csv in the run's folder has them."

        def draw() -> Any:
            return plots.suspects(table, self._pictures(table["path"].head(most), side))

        return _answer(said, numbers={"in_doubt": len(table)}, draw=draw if len(table) else None, details=table)

    @property
    def suspects(self) -> pd.DataFrame:
        """The images whose label is in doubt, as of `suspects.find`; none where that cannot be told."""
        found = self.labels_in_doubt.details
        return self.rows.iloc[:0] if found is None else found

    @_asked("Trust")
    def out_of_fold_accuracy(self) -> Finding:
        labels, judged = self.crossed.labels, self.judged
        right = intervals.accuracy((judged["label"] == judged["predicted"]).to_numpy())
        baseline = scores.baseline(judged, labels)
        said = f"Out-of-fold accuracy {intervals.percent(right)}. {baseline}"
        if len(labels) > 5:
            said += f"\nAmong the first five labels: {scores.top_k_accuracy(judged, labels):.1%}."
        draw = judging.per_label(judged, labels).draw
        return _answer(said, numbers={"out_of_fold": right}, draw=draw, details=baseline)

    @_asked("What is confused with what")
    def out_of_fold_confusion(self) -> Finding:
        return judging.confusion(self.judged, self.crossed.labels)

    @_asked("How honest its probabilities are")
    def out_of_fold_reliability(self) -> Finding:
        error = calibration.expected_calibration_error(self.judged)
        said = f"On average, stated probability and accuracy differ by {100 * error:.1f} points."
        draw = partial(plots.reliability, calibration.reliability(self.judged))
        return _answer(said, numbers={"expected_calibration_error": error}, draw=draw)

    @_asked("How sure it is")
    def temperature(self) -> Finding:
        value = self.metrics.get("temperature", 1)
        return _answer(f"Temperature of the exported layer, fitted on validation: {value:.2f}.")

    @_asked("What is memorised")
    def memorised_images(self) -> Finding:
        """Which labels have images that are right when learnt from and wrong when not."""
        table = scores.memorised(self.crossed.train_hits, self.crossed.hits, self.labels)
        return _answer(draw=partial(plots.memorised, table) if table["n"].any() else None)

    # ------------------------------------------------------------------------------------- what was found

    @cached_property
    def evidence(self) -> dict[str, Any]:
        """The numbers that the verdict is made from, by name; what could not be measured is missing."""
        asked = self.gap, self.near_duplicates, self.price_of_near_duplicates
        layers = () if self.tuned_from else (self.other_settings,)  # they stand on the network as it was
        return _numbers(*asked, *layers)

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """The same of all questions."""
        layers = () if self.tuned_from else (self.early_stopping, self.other_readings)
        asked = (
            *layers,
            self.fine_tuning,
            self.more_images,
            self.labels_in_doubt,
            self.out_of_fold_accuracy,
            self.out_of_fold_reliability,
        )
        return self.evidence | _numbers(*asked)

    @cached_property
    def verdict(self) -> judgement.Verdict:
        return judgement.judge(self.evidence)

    @cached_property
    def advice(self) -> list[dict[str, Any]]:
        """What could be done, the surest gain first."""
        return advising.rank(advising.candidates(self.numbers))

    def summary(self) -> str:
        """The verdict and what would help, in Markdown, for the top of the page."""
        baseline, doubtful = self.out_of_fold_accuracy.details or "", len(self.suspects)
        return advising.markdown(self.verdict.sentence, self.advice, baseline, doubtful)

    def rules(self) -> str:
        """The rules of the verdict, and what they were applied to, in Markdown."""
        return f"{judgement.RULES}\n\n{judgement.applied(self.evidence, self.verdict)}"

    def for_metrics(self) -> dict[str, Any]:
        """What metrics.json keeps: the verdict, the advice that is worth a try, and the numbers of all findings."""
        found = {"verdict": self.verdict.name, "sentence": self.verdict.sentence}
        return found | {"advice": advising.to_try(self.advice), "findings": self.numbers}

    @property
    def figures(self) -> dict[str, Finding]:
        """The figures for TensorBoard, by tag."""
        found = {"gap": self.gap, "accuracy": self.accuracy_by_step, "cross_entropy": self.cross_entropy_by_step}
        found |= {"settings": self.other_settings, "images": self.more_images, "memorised": self.memorised_images}
        found |= {"near-duplicates": self.near_duplicates, "labels in doubt": self.labels_in_doubt}
        return {f"overfitting/{tag}": each for tag, each in found.items()}

    def _pictures(self, paths: Any, side: int) -> np.ndarray:
        return self.photos.read_many(paths, (side, side))


def _numbers(*found: Finding) -> dict[str, Any]:
    return {name: value for each in found for name, value in each.numbers.items()}
