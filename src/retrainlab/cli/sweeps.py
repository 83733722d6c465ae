"""A grid of settings, trained as stacks: a light run for each, with train and validation figures.

Settings are chosen on validation, so the test images take no part here, and nothing is exported. The chosen settings
are then run in full, by `Swept.command`, and tested once.
"""

import re
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from .. import project
from ..bottlenecks.features import Features
from ..errors import RetrainLabError
from ..lab import Lab
from ..pages.repeating import in_force
from ..runs import result_logs
from ..runs.run_folder import Run, named, open_run
from ..runs.summaries import ResultLogs
from ..training import trainer
from ..training.classifier import Classifier
from ..training.heads import Head, HeadSettings
from . import grids
from .grids import Point
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
_USED = [*_IMAGES, "start_from", "bottleneck_dir", *grids.FEATURES, *grids.HEAD, "eval_step_interval"]
_EVALUATIONS = 20  # of a training, at most: the history of a light run is for a glance
_LIGHT = {"run.json", "metrics.json", "images.parquet", "history.parquet", "predictions.parquet", "logs"}


@dataclass(frozen=True)
class _Trained:
    """The best head of a combination, how it learnt, and the values of weight_decay that did not diverge."""

    head: Head
    history: pd.DataFrame
    seconds: float
    decays: list[float]


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
    chooses one for each combination, as in 03_retrain. Combinations that diverge are left out, and said. Light runs of
    an earlier sweep of this name are replaced, once there are others.

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
    earlier = _keep_others(values["reports_dir"], run, points)
    lab = Lab.open(run, **{name: values[name] for name in _IMAGES}).starting_from(values["start_from"])
    by_features = grids.grouped(points, grids.FEATURES)
    for first, *_ in by_features:  # what is wrong with a backbone is said before the first one has worked for an hour
        lab.start(lab.backbone(first.backbone, values["bottleneck_dir"]))
    lab.begin()
    tried = {name: list(several) for name, several in grid.items()}
    lab.run.record(sweep={"grid": tried, "runs": [], "chosen": None})
    values = {name: value for name, value in values.items() if name not in grid}
    lab.run.replace(parameters=values)
    for line in said:
        say(line)
    say(f"{run}: {len(points):,} settings, {sum(len(point.candidates) for point in points):,} heads to train")
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


def _keep_others(reports_dir: str, run: str, points: list[Point]) -> set[str]:
    """Refuse to write over what is no light run of a sweep of this name; returns the names of those that are."""
    reports = project.place(reports_dir)
    there = {path.name for path in reports.glob("*") if re.fullmatch(rf"{re.escape(run)}-\d+", path.name)}
    light = {name for name in there if _is_light(reports / name, run)}
    taken = [point.name for point in points if point.name in there - light]
    if (reports / run / "metrics.json").exists():
        taken.insert(0, run)
    if taken:
        raise RetrainLabError(
            f"There is a run '{taken[0]}' already, which this sweep would replace. Give the sweep another --run."
        )
    return light


def _is_light(folder: Path, sweep: str) -> bool:
    """Tell whether it is a light run of this sweep, as the sweep left it: not tested, nothing added."""
    if not folder.is_dir() or {path.name for path in folder.glob("[!.]*")} - _LIGHT:
        return False
    run = Run(folder)
    return run.info().get("sweep", {}).get("name") == sweep and not run.metrics().get("test", {}).get("n")


# --------------------------------------------------------------------------------------------- training


def _features(point: Point, lab: Lab, say: Callable[[str], None]) -> Features:
    """Compute and load the bottlenecks of a combination, without those of the test images."""
    place, count = point.parameters["bottleneck_dir"], point.parameters["distortion_variants"]
    features = lab.features(point.backbone, place, point.distortion, count)
    for done in features.extractions:
        say(f"{features.backbone.handle}: {done}")
    return features.rows(lambda table: table["split"] != "test")


def _train_all(
    by_features: list[list[Point]], lab: Lab, values: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Train combinations, grouped by their features, and write a light run for each: (rows, what could not be trained).

    values: the parameters in force that are not varied.
    """
    rows: dict[str, dict[str, Any]] = {}
    problems = []
    for group in by_features:
        features = _features(group[0], lab, say)
        for stack in grids.grouped(group, grids.STACK):
            for point, found in zip(stack, _train(stack, features, lab, values["eval_step_interval"]), strict=True):
                if isinstance(found, _Trained):
                    rows[point.name] = _write(point, found, features, lab, values)
                problems += _problems(point, found)
            say(f"{lab.run.name}: {len(rows):,} of {sum(map(len, by_features)):,} settings trained")
    return rows, problems


def _train(points: list[Point], features: Features, lab: Lab, interval: int) -> list[_Trained | RetrainLabError]:
    """Train combinations that share a stack: of each its best candidate, or why there is none."""
    stack, start = [settings for point in points for settings in point.candidates], lab.start(features.backbone)
    found: list[_Trained | RetrainLabError] = []
    for begin in range(0, len(stack), _HEADS_A_STACK):
        found += _train_stack(stack[begin : begin + _HEADS_A_STACK], features, start, interval)
    best: list[_Trained | RetrainLabError] = []
    for point in points:
        mine, found = found[: len(point.candidates)], found[len(point.candidates) :]
        best.append(_best([one for one in mine if isinstance(one, _Trained)]) or mine[0])
    return best


def _train_stack(
    stack: list[HeadSettings], features: Features, start: Head | None, interval: int
) -> list[_Trained | RetrainLabError]:
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
    return [_Trained(head, of[member], seconds, [_decay(head.settings)]) for member, head in enumerate(trained)]


def _best(trained: list[_Trained]) -> _Trained | None:
    """Choose one on validation."""
    if not trained:
        return None
    chosen = trained[trainer.select(pd.concat([one.history.assign(member=i) for i, one in enumerate(trained)]))]
    seconds = sum(one.seconds for one in trained)
    return _Trained(chosen.head, chosen.history, seconds, [decay for one in trained for decay in one.decays])


def _problems(point: Point, found: _Trained | RetrainLabError) -> list[str]:
    """Say what of a combination could not be trained."""
    if isinstance(found, RetrainLabError):
        return [f"{point.said}: {found}"]
    lost = [decay for decay in map(_decay, point.candidates) if decay not in found.decays]
    return [f"{point.said} with weight_decay {grids.brief(lost)}: diverged"] if lost else []


def _decay(settings: HeadSettings) -> float:
    return settings.weight_decay


# --------------------------------------------------------------------------------------------- afterwards


def _write(point: Point, trained: _Trained, features: Features, lab: Lab, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write a light run, as 03_retrain writes a full one; returns its row of the sweep's table.

    values: the parameters in force that are not varied.

    The row's cross_entropy is that before temperature scaling, as `trainer.select` compares it: the temperature was
    fitted on the very images that choose.
    """
    classifier = Classifier.of(features, trained.head, trained.history, point.candidates)
    parameters = {**values, **point.varied, "run": point.name}
    if len(trained.decays) < len(point.candidates):  # those that diverged would end the full run
        parameters["weight_decay"] = trained.decays
    shutil.rmtree(lab.run.folder.parent / point.name, ignore_errors=True)  # a light one, see _keep_others
    light = replace(lab, run=open_run(lab.run.folder.parent, point.name))
    light.run.write_table("images", lab.images)
    dataset, seconds = lab.run.info()["dataset"], {"retrain": round(trained.seconds, 3)}
    light.run.record(sweep={"name": lab.run.name}, dataset=dataset, seconds=seconds)
    light.write_results(classifier)
    light.run.replace(parameters=parameters)
    with ResultLogs(light.run.logs / "results", trained.head.settings.how_many_training_steps) as logs:
        tried = result_logs.settings(classifier, light.image_dir.name, light.parameters)
        logs.settings(point.name, tried, classifier.metrics)
    figure = classifier.metrics["validation"]
    low, high = figure["interval"] or (None, None)
    last = trained.history.query("split == 'validation'")["cross_entropy"].tail(1)
    return point.varied | {
        "weight_decay": trained.head.settings.weight_decay,
        "n": figure["n"],
        "validation": figure["accuracy"],
        "low": low,
        "high": high,
        "cross_entropy": None if last.empty else float(last.item()),
        "train": classifier.metrics["train"]["accuracy"],
    }
