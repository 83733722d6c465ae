"""How do runs do where every label counts alike, however rare, and how well do they rank images?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation import curves
from ..evaluation.finding import Finding, finding
from ..evaluation.intervals import points
from ..runs.listing import say_threshold
from ..runs.results import Result
from .pairwise import ALPHA, holm, listed, naming

_DRAWN = 8  # curves that can be told apart in one figure
_FIGURES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "F1",
    "matthews": "Matthews",
    "area_under_roc": "area under ROC",
    "average_precision": "average precision",
}
_COMPARED = ("balanced_accuracy", "average_precision")


@dataclass(frozen=True)
class _Judged:
    """A run by the images that it is judged by: rows of predictions, in an order that runs share."""

    rows: pd.DataFrame
    labels: list[str]
    figures: dict[str, dict[str, Any]]  # as of `curves.rank_figures`

    def like(self, other: "_Judged") -> bool:
        """Whether both are judged by the same images, under the same labels."""
        return self.labels == other.labels and self.rows["label"].equals(other.rows["label"])


@finding("How the runs do with rare labels")
def counted_alike(results: Mapping[str, Result], best: str | None, run: str = "") -> Finding:
    """Lay out the figures of `curves.rank_figures` run by run; of two labels, draw the curves of runs side by side.

    On test images if all runs have some, else on validation images, each run on its own. A difference to the best is
    told of runs with the same images and labels only, as of `curves.rank_differences`.

    Args:
        results: runs with predictions.
        best: which of them the others are compared with; None for none.
        run: the one whose page this is; its curve is among those drawn.
    """
    (split, judged), best = _judge(results), best or ""
    if len(judged) < 2:
        raise RetrainLabError("It takes two runs with validation or test images of two labels at least.")
    alike = {name: one for name, one in judged.items() if best in judged and one.like(judged[best])}
    changes = _differences(alike, best, len(judged))
    rows = {
        name: {"n": f"{len(one.rows):,}"}
        | {title: _say(one.figures[key]) for key, title in _FIGURES.items()}
        | {f"{_FIGURES[key]} − best (points)": _change(each) for key, each in changes.get(name, {}).items()}
        for name, one in sorted(judged.items(), key=lambda pair: -pair[1].figures["balanced_accuracy"]["value"])
    }
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("–").style.format(escape="html")
    said = [f"On {split} images, each run on its own.", *_conclude(changes, best)]
    chosen = {name: say_threshold(results[name].metrics.get("threshold", {})) for name in rows}
    said += [f"Here '{name}' gives its most probable label; in use, {each}" for name, each in chosen.items() if each]
    if best in judged and (others := [name for name in judged if name not in alike]):
        said.append(f"Not told apart from '{best}', for having other images or labels: {listed(others)}.")
    draw = None
    if len(alike) > 1 and len(judged[best].labels) == 2:
        named = results[best].metrics.get("threshold", {}).get("positive_label")
        first = [name for name in (best, run) if name in alike]
        draw = _drawing({name: alike[name] for name in [*dict.fromkeys([*first, *alike])][:_DRAWN]}, named)
    return Finding("", "\n".join(said), table=table, draw=draw)


def _judge(results: Mapping[str, Result]) -> tuple[str, dict[str, _Judged]]:
    """Tell the split that runs are judged by, and what it comes to for those whose images are of two labels or more."""
    tables = {name: result.predictions for name, result in results.items() if result.predictions is not None}
    split = "test" if all("test" in set(table["split"]) for table in tables.values()) else "validation"
    image, judged = naming(tables.values()), {}
    for name, table in tables.items():
        rows, labels = table[table["split"] == split], results[name].metrics["labels"]
        if len(set(rows["label"])) > 1:
            rows = rows.set_index(image(rows)).sort_index()
            judged[name] = _Judged(rows, labels, curves.rank_figures(rows, labels))
    return split, judged


def _differences(alike: Mapping[str, _Judged], best: str, count: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Differences to the best by run and figure, with "p corrected" for all pairs of `count` runs and both figures."""
    found = {
        name: curves.rank_differences(one.rows, alike[best].rows, one.labels)
        for name, one in alike.items()
        if name != best
    }
    changes = [change for each in found.values() for change in each.values()]
    # pairs without the best are not worked out: taking their p for the largest is the careful assumption
    others = np.ones(count * (count - 1) * len(_COMPARED) // 2 - len(changes))
    corrected = holm(np.append([change["p"] for change in changes], others))
    for change, p in zip(changes, corrected, strict=False):
        change["p corrected"] = float(p)
    return found


def _conclude(changes: Mapping[str, Mapping[str, Mapping[str, Any]]], best: str) -> list[str]:
    """Say which runs differ from the best."""
    said = []
    for key in _COMPARED if changes else ():
        found = [(name, each[key]) for name, each in changes.items() if each[key]["p corrected"] < ALPHA]
        largest = sorted(found, key=lambda pair: -abs(pair[1]["accuracy"]))
        title, told = _FIGURES[key].capitalize(), "; ".join(f"'{name}' {points(each)}" for name, each in largest)
        if told:
            said.append(f"{title} differs from that of '{best}' beyond chance: {told}.")
        else:
            said.append(f"{title}: no difference to '{best}' can be shown.")
    return said


def _drawing(shown: Mapping[str, _Judged], named: str | None) -> Callable[[], Any]:
    """Draw the curves of runs of the same images, for the label that was named of two, else the rarer one."""
    first = next(iter(shown.values()))
    label = named or first.rows["label"].value_counts().idxmin()
    share = float((first.rows["label"] == label).mean())

    def draw() -> Any:
        curve = {name: curves.operating_points(one.rows, one.labels, label) for name, one in shown.items()}
        return plots.rank_curves(curve, dict.fromkeys(curve, share), label)

    return draw


def _say(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} [{low:.2f},\u00a0{high:.2f}]"  # the space that keeps it on one line


def _change(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{100 * figure['accuracy']:+.1f} [{100 * low:.1f},\u00a0{100 * high:.1f}]"
