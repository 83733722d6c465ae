"""Which backbone is worth its time? Accuracy against milliseconds an image, and the cheapest one that is not worse.

On validation images only, as in `comparison`.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ..evaluation.intervals import points
from .pairwise import Result, best, compare, shared, shown

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

    All is measured on the validation images that all runs share under the same label (`comparison.shared`). Each
    backbone is judged by its best run there; runs without predictions, validation images or a measured time are left
    out. Not worse has to be shown (non-inferiority): the lower end of the 95% interval of the paired difference must
    lie above minus the margin. Each one that is worse by just the margin gets through in about 2.5% of cases.

    Returns:
        (table, run): index run, the cheapest first; backbone, milliseconds, n (images), accuracy, difference (to the
        most accurate run), low, high, not worse (bool). The run is None if nothing is left.
    """
    cost = milliseconds(results)
    held = shared({name: result.predictions for name, result in results.items()
                   if name in cost and result.predictions is not None})  # fmt: skip
    of_each: dict[str, dict[str, Result]] = {}
    for name, rows in held.items():
        of_each.setdefault(results[name].backbone, {})[name] = replace(results[name], predictions=rows)
    chosen = [best(mine)[0] for mine in of_each.values()]
    held = {name: held[name] for name in chosen if name is not None}
    table = pd.DataFrame({"backbone": [shown(results[name].metrics["backbone"]) for name in held],
                          "milliseconds": [cost[name] for name in held], "n": [len(rows) for rows in held.values()],
                          "accuracy": [(rows["label"] == rows["predicted"]).mean() for rows in held.values()]},
                         index=pd.Index(held, name="run"))  # fmt: skip
    table = table.sort_values(["milliseconds", "accuracy"], ascending=[True, False])
    top = table["accuracy"].idxmax() if len(table) else None
    pairs = compare(held, reference=top).set_index("run")
    table = table.join(pairs[["difference", "low", "high"]])
    table.loc[table.index == top, ["difference", "low", "high"]] = 0.0
    table["not worse"] = table["low"] > -margin
    return table, (str(table.index[table["not worse"]][0]) if len(table) else None)


def weigh(table: pd.DataFrame, run: str | None, margin: float = MARGIN) -> list[str]:
    """Say in a sentence which backbone is worth its time. `table`, `run`: what `cheapest` returned."""
    if run is None or len(table) < 2:
        return ["It takes runs of two backbones, with measured milliseconds and validation images that all share, to "
                "weigh accuracy against time."]  # fmt: skip
    top = str(table["accuracy"].idxmax())
    named = {name: f"{row['backbone']} ('{name}', {row['milliseconds']:.1f} ms an image)"
             for name, row in table.iterrows()}  # fmt: skip
    judged = f"On the {table['n'].iloc[0]:,} validation images that all share, the"
    if table.index[0] == top:
        return [f"{judged} most accurate backbone, {named[top]}, is also the cheapest."]
    if run == top:
        return [f"{judged} most accurate backbone is {named[top]}; no cheaper one is shown to lose less than "
                f"{100 * margin:g} points."]  # fmt: skip
    low, high = table.loc[run, ["low", "high"]]
    change = points({"accuracy": table.loc[run, "difference"], "interval": (low, high)})
    return [f"{judged} cheapest backbone that is not worse by {100 * margin:g} points is {named[run]}: {change} "
            f"against the most accurate one, {named[top]}."]  # fmt: skip
