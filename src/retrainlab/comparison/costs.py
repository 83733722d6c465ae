"""Which backbone is worth its time? Accuracy against milliseconds an image, and the cheapest one that is not worse.

On validation images only.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from .. import plots
from ..evaluation.finding import Finding
from ..evaluation.intervals import paired_difference, points
from ..runs.results import Result, shown
from .pairwise import judged

MARGIN = 0.02  # a cheaper backbone may lose less than this and still count as not worse


def milliseconds(results: Mapping[str, Result]) -> dict[str, float]:
    """Read what an image costs in milliseconds on one core: by run, without those where it was not measured.

    Of several measurements of one backbone the lowest counts: the others had to share the machine.
    """
    lowest: dict[str, float] = {}
    for result in results.values():
        if measured := result.info.get("backbone", {}).get("milliseconds"):
            lowest[result.backbone] = min(measured, lowest.get(result.backbone, np.inf))
    return {name: lowest[result.backbone] for name, result in results.items() if result.backbone in lowest}


def cheapest(results: Mapping[str, Result], margin: float = MARGIN) -> tuple[pd.DataFrame, str | None]:
    """Find the cheapest backbone that is not worse than the most accurate one, beyond `margin`.

    All is measured on the validation images that all runs share under the same label (`Answers.shared`). Each
    backbone is judged by its best run there; runs without predictions, validation images or a measured time are left
    out. Not worse has to be shown (non-inferiority): the lower end of the 95% interval of the paired difference must
    lie above minus the margin. Each one that is worse by just the margin gets through in about 2.5% of cases.

    Returns:
        (table, run): index run, the cheapest first; backbone, milliseconds, n (images), accuracy, difference (to the
        most accurate run), low, high, not worse (bool). The run is None if nothing is left.
    """
    cost = milliseconds(results)
    answers = judged({name: results[name] for name in cost})
    losses = answers.losses[:, answers.shared].sum(axis=1)
    right = dict(zip(answers.runs, answers.right[:, answers.shared], strict=True))
    of_each = {}  # backbone -> its best run, which comes last
    for row in np.argsort(losses, kind="stable")[::-1] if answers.shared.any() else []:
        of_each[results[answers.runs[row]].backbone] = answers.runs[row]
    table = pd.DataFrame(index=pd.Index(of_each.values(), name="run"))
    table["backbone"] = [shown(results[name].metrics["backbone"]) for name in table.index]
    table["milliseconds"] = [cost[name] for name in table.index]
    table["n"] = int(answers.shared.sum())
    table["accuracy"] = [right[name].mean() for name in table.index]
    table = table.sort_values(["milliseconds", "accuracy"], ascending=[True, False])
    top = str(table["accuracy"].idxmax()) if len(table) else ""
    changes = [paired_difference(right[name], right[top]) for name in table.index]
    table["difference"] = [change["accuracy"] for change in changes]
    table[["low", "high"]] = np.array([change["interval"] for change in changes]).reshape(-1, 2)
    table.loc[table.index == top, ["low", "high"]] = 0.0
    table["not worse"] = table["low"] > -margin
    return table, next(iter(table.index[table["not worse"]]), None)


def weigh(results: Mapping[str, Result], margin: float = MARGIN) -> Finding:
    """Say in a sentence which backbone is worth its time; there is a figure where there are two to weigh."""
    question, (table, run) = "Which backbone is worth its time", cheapest(results, margin)
    if len(table) < 2:
        needed = "with measured milliseconds and validation images that all share, to weigh accuracy against time"
        return Finding(question, f"It takes runs of two backbones, {needed}.")
    top, loss = str(table["accuracy"].idxmax()), f"{100 * margin:g} points"
    named = table["backbone"] + " ('" + table.index + "', " + table["milliseconds"].map("{:.1f} ms an image)".format)
    said = f"On the {table['n'].iloc[0]:,} validation images that all share, the"
    if table.index[0] == top:
        said += f" most accurate backbone, {named[top]}, is also the cheapest."
    elif run == top:
        said += f" most accurate backbone is {named[top]}; no cheaper one is shown to lose less than {loss}."
    else:
        row = table.loc[run]
        change = points({"accuracy": row["difference"], "interval": (row["low"], row["high"])})
        said += f" cheapest backbone that is not worse by {loss} is {named[run]}: {change}"
        said += f" against the most accurate one, {named[top]}."
    return Finding(question, said, draw=partial(plots.accuracy_against_time, table, run, margin))
