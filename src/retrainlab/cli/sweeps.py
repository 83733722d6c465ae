"""A grid of settings, trained as stacks: a light run for each, with train and validation figures.

Settings are chosen on validation, so the test images take no part here, and nothing is exported. The chosen settings
are then run in full, by `Swept.command`, and tested once.
"""

import shlex
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from .. import project
from ..backbones import cuts, cutting
from ..bottlenecks import cluster
from ..errors import RetrainLabError
from ..lab import Lab
from ..pages.repeating import in_force
from ..runs.run_folder import Run, named
from . import combinations, grids, light_runs
from .swept import Swept

_IMAGES = [  # parameters of `Lab.open`
    "image_dir",
    "testing_percentage",
    "validation_percentage",
    "labels_csv",
    "groups",
    "labels_from",
    "reports_dir",
]
_PLACES = ["bottleneck_dir", "dask_scheduler"]
_USED = [*_IMAGES, "start_from", *_PLACES, *grids.FEATURES, *grids.HEAD, *grids.TUNING, "eval_step_interval"]


def sweep(
    run: str,
    given: Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
    known: Mapping[str, dict[str, Any]],
    anew: bool = False,
    say: Callable[[str], None] = print,
) -> Swept:
    """Train every combination of a grid, and write a light run for each: `<run>-01`, `<run>-02`, ...

    Combinations that can share a stack are trained together. Where weight_decay is a list and is not varied, validation
    chooses one for each combination, as in 03_retrain. With fine_tune_from, each combination is then fine-tuned, from
    the head that was chosen. Combinations that diverge are left out, and said. Light runs of an earlier sweep of this
    name are replaced, once there are others.

    Args:
        run: beginning of the runs' names; a folder of that name holds what they share.
        given: notebook parameters that are the same for all; what is not given stays as an earlier sweep of this name
            was given it, see `repeating.in_force`.
        grid: notebook parameters to vary, of `grids.SWEPT`: name -> values.
        known: the parameters of the notebooks.
        anew: forget what an earlier sweep was given; this one may be of other images.
        say: told a line at each step.

    Raises:
        RetrainLabError: a value is impossible, the grid has one combination or far too many, the images are not those
            of the earlier sweep, or a name is that of a run that is more than a light one, all before anything is
            trained; or nothing could be trained; see also `cluster.run`.
    """
    values, said = _in_force(run, given, grid, known, anew)
    points = grids.points(run, grid, values)
    cluster.join(values["dask_scheduler"], say)
    earlier = light_runs.keep_others(values["reports_dir"], run, points)
    lab = Lab.open(run, **{name: values[name] for name in _IMAGES}).starting_from(values["start_from"])
    by_features = grids.grouped(points, grids.FEATURES)
    for first, *_ in by_features:  # what is wrong with a backbone is said before the first one has worked for an hour
        lab.start(lab.backbone(first.backbone, values["bottleneck_dir"]))
    for first, *_ in grids.grouped([point for point in points if point.tuning], [*grids.FEATURES, "fine_tune_from"]):
        plain = lab.backbone(replace(first.backbone, depth="last", average_views=False), values["bottleneck_dir"])
        cutting.choose(cuts.of(plain), first.parameters["fine_tune_from"])
    lab.begin()
    tried = {name: list(several) for name, several in grid.items()}
    lab.run.record(sweep={"grid": tried, "runs": [], "chosen": None})
    values = {name: value for name, value in values.items() if name not in grid}
    lab.run.replace(parameters=values)
    for line in said:
        say(line)
    tunings = sum(point.tuning is not None for point in points)
    more = f" and {tunings:,} fine-tunings, {combinations.side_by_side(tunings)}" * (tunings > 0)
    say(f"{run}: {len(points):,} settings, {sum(len(point.candidates) for point in points):,} heads to train{more}")
    rows, problems = combinations.train_all(by_features, lab, values, say)
    if not rows:
        raise RetrainLabError(f"None of these {len(points):,} settings could be trained. {problems[0]}")
    for name in earlier - set(rows):
        shutil.rmtree(lab.run.folder.parent / name, ignore_errors=True)
    chosen, table = _choose(lab.run, [point.name for point in points], rows)
    command = ["report", "--run", chosen] if chosen else []
    if chosen and "reports_dir" in given:
        command += ["-p", "reports_dir", given["reports_dir"]]
    return Swept(table, chosen, f"{project.command()} {shlex.join(command)}" if chosen else "", problems)


def _choose(run: Run, names: list[str], rows: dict[str, dict[str, Any]]) -> tuple[str | None, pd.DataFrame]:
    """Choose the setting with the lowest validation cross-entropy, and record it: (its run, the sweep's table)."""
    listed = pd.DataFrame.from_dict({name: rows[name] for name in names if name in rows}, orient="index")
    scored = listed["cross_entropy"].astype(float).dropna()
    chosen = str(scored.idxmin()) if len(scored) else None
    run.record(sweep={"runs": list(listed.index), "chosen": chosen})
    if chosen:
        light_runs.look_closer(run.other(chosen))
    return chosen, listed.rename_axis("run")


# --------------------------------------------------------------------------------------------- before


def _in_force(
    run: str, given: Mapping[str, Any], grid: Collection[str], known: Mapping[str, dict[str, Any]], anew: bool
) -> tuple[dict[str, Any], list[str]]:
    """Tell every parameter in force, and what is to be said of it; of those that are varied the default."""
    defaults = {name: known[name]["default"] for name in _USED}
    there = named(given.get("reports_dir", defaults["reports_dir"]), run)
    constant = {name: value for name, value in defaults.items() if name not in grid}
    values, said = in_force(there, given, known, constant, anew)
    values.pop("compare", None)  # of the page that compares an earlier sweep's runs
    return defaults | values, said
