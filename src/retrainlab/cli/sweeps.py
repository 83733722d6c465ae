"""A grid of settings, trained as stacks: a light run for each, with train and validation figures.

Settings are chosen on validation, so the test images take no part here, and nothing is exported. The chosen settings
are then run in full, by `Swept.command`, and tested once.
"""

import shlex
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from ..backbones import cuts, cutting
from ..bottlenecks import cluster
from ..bottlenecks.features import Features
from ..errors import RetrainLabError
from ..lab import Lab
from ..pages.repeating import in_force
from ..runs.run_folder import Run, named
from ..training import trainer
from ..training.heads import Head, HeadSettings
from . import grids, light_runs
from .grids import Point
from .light_runs import Trained
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
_HEADS_A_STACK = 64  # bounds the memory, with many features and labels
_PLACES = ["bottleneck_dir", "dask_scheduler"]
_USED = [*_IMAGES, "start_from", *_PLACES, *grids.FEATURES, *grids.HEAD, *grids.TUNING, "eval_step_interval"]
_EVALUATIONS = 20  # of a training, at most: the history of a light run is for a glance


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
            trained; or nothing could be trained.
    """
    values, said = _in_force(run, given, grid, known, anew)
    points = grids.points(run, grid, values)
    cluster.join(values["dask_scheduler"])
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
    more = f" and {tunings:,} fine-tunings, one after the other" * (tunings > 0)
    say(f"{run}: {len(points):,} settings, {sum(len(point.candidates) for point in points):,} heads to train{more}")
    rows, problems = _train_all(by_features, lab, values, say)
    if not rows:
        raise RetrainLabError(f"None of these {len(points):,} settings could be trained. {problems[0]}")
    for name in earlier - set(rows):
        shutil.rmtree(lab.run.folder.parent / name, ignore_errors=True)
    chosen, table = _choose(lab.run, [point.name for point in points], rows)
    command = ["retrainlab", "report", "--run", chosen] if chosen else []
    if chosen and "reports_dir" in given:
        command += ["-p", "reports_dir", given["reports_dir"]]
    return Swept(table, chosen, shlex.join(command), problems)


def _choose(run: Run, names: list[str], rows: dict[str, dict[str, Any]]) -> tuple[str | None, pd.DataFrame]:
    """Choose the setting with the lowest validation cross-entropy, and record it: (its run, the sweep's table)."""
    listed = pd.DataFrame.from_dict({name: rows[name] for name in names if name in rows}, orient="index")
    scored = listed["cross_entropy"].astype(float).dropna()
    chosen = str(scored.idxmin()) if len(scored) else None
    run.record(sweep={"runs": list(listed.index), "chosen": chosen})
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


# --------------------------------------------------------------------------------------------- training


def _features(point: Point, lab: Lab, say: Callable[[str], None]) -> Features:
    """Compute and load the bottlenecks of a combination, without those of the test images."""
    place, count = point.parameters["bottleneck_dir"], point.parameters["distortion_variants"]
    features = lab.features(point.backbone, place, point.distortion, count)
    for said in filter(None, [*map(str, features.extractions), features.note]):
        say(f"{features.backbone.handle}: {said}")
    return features.rows(lambda table: table["split"] != "test")


def _train_all(
    by_features: list[list[Point]], lab: Lab, values: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Train combinations, grouped by their features, and write a light run for each: (rows, what could not be trained).

    values: the parameters in force that are not varied.
    """
    rows: dict[str, dict[str, Any]] = {}
    problems, tuned = [], _Tuned([point for group in by_features for point in group if point.tuning])
    for group in by_features:
        features = _features(group[0], lab, say)
        for stack in grids.grouped(group, grids.STACK):
            for point, found in zip(stack, _train(stack, features, lab, values["eval_step_interval"]), strict=True):
                if isinstance(found, Trained):
                    try:
                        rows[point.name] = light_runs.write(point, found, features, lab, values)
                        tuned.add(point, lab, say)
                    except RetrainLabError as error:  # it could not be fine-tuned
                        shutil.rmtree(lab.run.folder.parent / point.name, ignore_errors=True)
                        found = error
                problems += _problems(point, found)
            say(f"{lab.run.name}: {len(rows):,} of {sum(map(len, by_features)):,} settings trained")
    return rows, problems


@dataclass
class _Tuned:
    """The fine-tunings that are left, and what the others took."""

    left: list[Point]
    done: list[Point] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, point: Point, lab: Lab, say: Callable[[str], None]) -> None:
        """Count one as done, and say how long those that are left take, by their epochs."""
        if not point.tuning:
            return
        self.left.remove(point)
        self.done.append(point)
        self.seconds += lab.run.other(point.name).info()["seconds"]["fine_tune"]
        epochs, ahead = (sum(each.parameters["fine_tune_epochs"] for each in some) for some in (self.done, self.left))
        rest = f", about {self.seconds / epochs * ahead / 60:,.1f} minutes left" * bool(self.left)
        took = f"{self.seconds / 60:,.1f} minutes"
        say(f"{lab.run.name}: {len(self.done):,} of {len(self.done + self.left):,} fine-tunings in {took}{rest}")


def _train(points: list[Point], features: Features, lab: Lab, interval: int) -> list[Trained | RetrainLabError]:
    """Train combinations that share a stack: of each its best candidate, or why there is none."""
    stack, start = [settings for point in points for settings in point.candidates], lab.start(features.backbone)
    found: list[Trained | RetrainLabError] = []
    for begin in range(0, len(stack), _HEADS_A_STACK):
        found += _train_stack(stack[begin : begin + _HEADS_A_STACK], features, start, interval)
    best: list[Trained | RetrainLabError] = []
    for point in points:
        mine, found = found[: len(point.candidates)], found[len(point.candidates) :]
        best.append(_best([one for one in mine if isinstance(one, Trained)]) or mine[0])
    return best


def _train_stack(
    stack: list[HeadSettings], features: Features, start: Head | None, interval: int
) -> list[Trained | RetrainLabError]:
    """Train a stack; where one of its heads diverges, the halves of it, so that the others are not lost."""
    began, apart = time.perf_counter(), max(interval, -(-stack[0].how_many_training_steps // _EVALUATIONS))
    matrix, table = features.learning
    try:
        trained, history = trainer.train(matrix, table["label"], table["split"], stack, apart, start=start)
    except RetrainLabError as error:
        if len(stack) == 1:
            return [error]
        half = len(stack) // 2
        return [one for part in (stack[:half], stack[half:]) for one in _train_stack(part, features, start, interval)]
    seconds = (time.perf_counter() - began) / len(stack)
    of = {member: mine.drop(columns="member").reset_index(drop=True) for member, mine in history.groupby("member")}
    return [Trained(head, of[member], seconds, [_decay(head.settings)]) for member, head in enumerate(trained)]


def _best(trained: list[Trained]) -> Trained | None:
    """Choose one on validation."""
    if not trained:
        return None
    chosen = trained[trainer.select(pd.concat([one.history.assign(member=i) for i, one in enumerate(trained)]))]
    seconds = sum(one.seconds for one in trained)
    return Trained(chosen.head, chosen.history, seconds, [decay for one in trained for decay in one.decays])


def _problems(point: Point, found: Trained | RetrainLabError) -> list[str]:
    """Say what of a combination could not be trained."""
    if isinstance(found, RetrainLabError):
        return [f"{point.said}: {found}"]
    lost = [decay for decay in map(_decay, point.candidates) if decay not in found.decays]
    return [f"{point.said} with weight_decay {grids.brief(lost)}: diverged"] if lost else []


def _decay(settings: HeadSettings) -> float:
    return settings.weight_decay
