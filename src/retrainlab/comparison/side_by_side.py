"""Runs side by side: what 06_compare holds, one method a question."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from .. import plots
from ..evaluation.finding import Finding
from ..evaluation.intervals import percent
from ..runs import listing
from ..runs.results import Result, shown
from . import causes, costs, origins, pairwise
from .counted_alike import counted_alike

_RUN = ["backbone", "images", "labels", "n", "train", "validation", "cross-entropy", "test", "gap"]
_PAIR = ["run", "n", "accuracy", "difference", "low", "high", "p", "p corrected", "verdict"]
_FORMATS = dict.fromkeys(["train", "validation", "test", "accuracy"], "{:.1%}")
_FORMATS |= dict.fromkeys(["gap", "difference"], "{:+.1f}") | dict.fromkeys(["p", "p corrected"], "{:.2g}")
_FORMATS |= {"cross-entropy": "{:.3f}", "low": "[{:.1f},", "high": "{:.1f}]"}
_MOST = 60  # rows of a table of pairs, the best first


class Comparison:
    """Some runs, compared on the images that they share. What several questions need is worked out once.

    Attributes:
        results: the runs, by name.
        run: the one whose page this is; it need not be among them.
        rivals: those that can be compared with it.
        best: the rival that validation chooses; None where it cannot.
        pairs: every other rival against the best, on validation images: see `pairwise.compare`.
        alike: the rivals that share images, split and labels.
        effects: of the settings of those: see `causes.which_settings`.
    """

    def __init__(self, results: Mapping[str, Result], run: str = "") -> None:
        self.results, self.run = results, run
        self.rivals, self._left_out = pairwise.comparable(results, run)
        self.best, chosen = pairwise.best(self.rivals)
        self.pairs = self._compared("validation")
        self.alike = causes.alike(self.rivals)
        self.effects = causes.which_settings(self.alike)
        self._ranking = pairwise.conclude(self.best, chosen, self.pairs)
        self._settings = causes.conclude(self.effects) if len(self.alike) > 1 else []
        first = [name for name in (run, self.best or run) if name in results]
        self._pair = [results[name] for name in dict.fromkeys([*first, *results])][:2]
        self._change = origins.explain(*self._pair) if len(self._pair) == 2 else None
        self._backbones = costs.weigh(self.rivals)

    def all_runs(self, every: pd.DataFrame, folder: Path) -> Finding:
        """Show what the runs came to. `every`: what `listing.list_runs` returned of the `folder`."""
        table = every.loc[list(self.results)]
        losses = [result.metrics["validation"]["cross_entropy"] for result in self.results.values()]
        images = [Path(str(place)).name for place in table["images"]]
        gap = 100 * table["gap"].astype(float)
        shown = table.assign(images=images, n=table["validation n"], gap=gap, **{"cross-entropy": losses})
        said = [f"{len(every)} run{'s' * (len(every) != 1)} under {folder}; {len(table)} compared here."]
        said += [f"'{run}' cannot be read: {why}" for run, why in listing.read_runs(folder)[1].items()]
        said += [why for result in self.results.values() for why in result.damaged]
        draw = partial(plots.compare_runs, table) if len(table) else None
        return Finding(
            "What the runs came to", "\n".join(said), table=_styled(shown[_RUN].rename_axis(None)), draw=draw
        )

    def difference(self) -> Finding:
        """Tell which run validation chooses, and whether the others differ from it beyond chance."""
        draw = self._drawn(self.pairs, "validation")
        return Finding("Whether the difference is real", "\n".join([*self._left_out, *self._ranking]), draw=draw)

    def difference_in_numbers(self) -> Finding:
        """Lay out what the figure of `difference` shows."""
        points = {name: 100 * self.pairs[name] for name in ("difference", "low", "high")}
        table = _styled(self.pairs.assign(**points).head(_MOST)[_PAIR]).hide()
        return Finding("How large the differences are", table=table if self.pairs["n"].any() else None)

    def tested(self) -> Finding:
        """Show the same on test images: to look at, not to choose by."""
        pairs, question = self._compared("test"), "What the test images say"
        if draw := self._drawn(pairs, "test"):
            return Finding(question, draw=draw)
        return Finding(question, "No other run has test images in common with the best one: nothing to look at.")

    def rare_labels(self) -> Finding:
        """Compare the runs by what does not let a common label hide a rare one."""
        return counted_alike(self.rivals, self.best, self.run)

    def settings(self) -> Finding:
        """Tell which settings matter, among runs that are alike otherwise."""
        said = [f"{len(self.alike)} of {len(self.results)} runs have the same images, split and labels."]
        said += self._settings or ["It takes two runs with the same images and split."]
        draw = partial(plots.setting_effects, self.effects) if self.effects["p"].notna().any() else None
        return Finding("Which settings matter", "\n".join(said), draw=draw)

    def set_to(self) -> Finding:
        """Lay out what each run was set to, where they differ."""
        table = causes.varying(self.results).map(shown)
        return Finding("What each run was set to", table=_styled(table) if table.size else None)

    def change(self) -> Finding:
        """Tell where the change from the best run to the page's came from; of the best itself, from another to it."""
        return self._change or Finding("Where a change came from", "It takes two runs to tell.")

    def backbones(self) -> Finding:
        """Tell which backbone is worth its time."""
        return self._backbones

    def summary(self) -> Finding:
        """Say in sentences what was found."""
        said = list(self._ranking)
        if self.best is not None and (test := self.results[self.best].metrics["test"])["n"]:
            said.append(f"Test accuracy of '{self.best}', which validation chose: {percent(test)}.")
        said += [f"Settings: {sentence}" for sentence in self._settings]
        if self._change and self.run in self.results:
            pair = " and ".join(f"'{result.name}'" for result in self._pair)
            said.append(f"{pair}, looked at alone: {self._change.sentence.splitlines()[-1]}")
        said += [self._backbones.sentence] if self._backbones.draw else []
        return Finding("What was found", "\n".join(said))

    def _compared(self, split: str) -> pd.DataFrame:
        """Compare the rivals with the best of them; an empty table where there is none."""
        tables = {name: result.predictions for name, result in self.rivals.items()} if self.best else {}
        return pairwise.compare(tables, split, self.best)

    def _drawn(self, pairs: pd.DataFrame, split: str) -> Callable[[], Any] | None:
        names = causes.describe(self.rivals, self.best) if self.best else {}
        return partial(plots.paired_differences, pairs, names, split) if pairs["n"].any() else None


def _styled(table: pd.DataFrame) -> Styler:
    return table.style.format(_FORMATS, na_rep="–", escape="html")
