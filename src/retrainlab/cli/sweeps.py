"""A grid of settings, trained as stacks: a light run for each, with train and validation figures.

Settings are chosen on validation, so the test images take no part here, and nothing is exported. The chosen settings
are then run in full, by `Swept.command`, and tested once.
"""

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import project
from ..backbones import registry
from ..bottlenecks import caching, extracting, loading
from ..datasets import catalogue
from ..errors import RetrainLabError
from ..evaluation import calibration, scores
from ..export import exporting
from ..images import overview, relabeling, scanning, splitting
from ..runs import run_folder, summaries
from ..training import heads, trainer
from . import grids
from .grids import Point
from .swept import Swept

_PERCENTAGES = ["testing_percentage", "validation_percentage"]
_HEADS_A_STACK = 64  # bounds the memory, with many features and labels
_EVALUATIONS = 20  # of a training, at most: the history of a light run is for a glance
_LIGHT = {"run.json", "metrics.json", "images.parquet", "history.parquet", "predictions.parquet", "logs"}


@dataclass(frozen=True)
class _Data:
    """What heads are trained on, and what they are judged on: with and without distorted rows, each with its table."""

    backbone: registry.Backbone
    milliseconds: float
    features: np.ndarray
    known: pd.DataFrame
    learn_features: np.ndarray
    learn: pd.DataFrame
    start: heads.Head | None


@dataclass(frozen=True)
class _Trained:
    """The best head of a combination, how it learnt, and the values of weight_decay that did not diverge."""

    head: heads.Head
    history: pd.DataFrame
    seconds: float
    decays: list[float]


def sweep(
    run: str,
    given: Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
    defaults: Mapping[str, Any],
    say: Callable[[str], None] = print,
) -> Swept:
    """Train every combination of a grid, and write a light run for each: `<run>-01`, `<run>-02`, ...

    Combinations that can share a stack are trained together. Where weight_decay is a list and is not varied, validation
    chooses one for each combination, as in 03_retrain. Combinations that diverge are left out, and said. Light runs of
    an earlier sweep of this name are replaced, once there are others.

    Args:
        run: beginning of the runs' names; a folder of that name holds what they share.
        given: notebook parameters that are the same for all.
        grid: notebook parameters to vary, of `grids.SWEPT`: name -> values.
        defaults: of all parameters of the notebooks.
        say: told a line at each step.

    Raises:
        RetrainLabError: a value is impossible, the grid has one combination or far too many, or a name is that of a run
            that is more than a light one, all before anything is trained; or nothing could be trained.
    """
    values = {**defaults, **given}
    points = grids.points(run, grid, values)
    earlier = _keep_others(values["reports_dir"], run, points)
    out = run_folder.open_run(values["reports_dir"], run)
    folder, root = catalogue.locate(values["image_dir"]), project.place(values["bottleneck_dir"])
    by_features = grids.grouped(points, grids.FEATURES)
    for first, *_ in by_features:  # what is wrong with a backbone is said before the first one has worked for an hour
        _start(first, registry.resolve(first.parameters["tfhub_module"], root, first.parameters["image_size"]), out)
    table = _images(folder, out, values)
    if values.get("start_from"):
        splitting.check_unseen(table, out.other(values["start_from"]).learnt(), values["start_from"])
    tried = {name: list(several) for name, several in grid.items()}
    out.record(dataset={"image_dir": str(folder), "digest": overview.digest(table)},
               sweep={"grid": tried, "runs": [], "chosen": None})  # fmt: skip
    out.replace(parameters=dict(given))
    say(f"{run}: {len(points):,} settings, {sum(len(point.candidates) for point in points):,} heads to train")
    rows: dict[str, dict[str, Any]] = {}
    problems = []
    for group in by_features:
        data = _load(group[0], folder, table, root, out, say)
        for stack in grids.grouped(group, grids.STACK):
            for point, found in zip(stack, _train(stack, data, values["eval_step_interval"]), strict=True):
                if isinstance(found, _Trained):
                    rows[point.name] = _write(point, found, data, out, table, given)
                problems += _problems(point, found)
            say(f"{run}: {len(rows):,} of {len(points):,} settings trained")
    if not rows:
        raise RetrainLabError(f"None of these {len(points):,} settings could be trained. {problems[0]}")
    for name in earlier - set(rows):
        shutil.rmtree(out.folder.parent / name, ignore_errors=True)
    listed = pd.DataFrame.from_dict({p.name: rows[p.name] for p in points if p.name in rows}, orient="index")
    scored = listed["cross_entropy"].astype(float).dropna()
    chosen = str(scored.idxmin()) if len(scored) else None
    out.record(sweep={"runs": list(listed.index), "chosen": chosen})
    command = _command(run_folder.Run(out.folder.parent / chosen)) if chosen else ""
    return Swept(listed.rename_axis("run"), chosen, command, problems)


# --------------------------------------------------------------------------------------------- before


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
    run = run_folder.Run(folder)
    return run.info().get("sweep", {}).get("name") == sweep and not run.metrics().get("test", {}).get("n")


def _images(folder: Path, out: run_folder.Run, values: Mapping[str, Any]) -> pd.DataFrame:
    """Find, split and label the images, as 01_explore does."""
    testing, validation = (values[name] for name in _PERCENTAGES)
    decisions = out.decisions(values["labels_from"])
    table = relabeling.apply(scanning.load(folder, testing, validation, known=out.known_images(folder)), decisions)
    out.write_table("images", table)
    return table


# --------------------------------------------------------------------------------------------- training


def _start(point: Point, backbone: registry.Backbone, out: run_folder.Run) -> heads.Head | None:
    """The trained head that all start from, if there is one."""
    name = point.parameters.get("start_from")
    return exporting.load_head(out.other(name).model, backbone) if name else None


def _load(
    point: Point, folder: Path, table: pd.DataFrame, root: Path, out: run_folder.Run, say: Callable[[str], None]
) -> _Data:
    """Compute and load bottlenecks, as 03_retrain does."""
    values, distortion = point.parameters, point.distortion
    backbone = registry.resolve(values["tfhub_module"], root, values["image_size"])
    cache = caching.open_cache(backbone)
    say(f"{backbone.handle}: {extracting.extract(backbone, cache, folder, table)}")
    learn = features, known = loading.load(cache, table)
    if distortion.active:
        count, train = values["distortion_variants"], table[table["split"] == "train"]
        say(f"{backbone.handle}: {extracting.extract(backbone, cache, folder, train, distortion, count)}")
        learn = loading.with_variants(cache, features, known, distortion, count)
    return _Data(backbone, backbone.milliseconds(), features, known, *learn, _start(point, backbone, out))


def _train(points: list[Point], data: _Data, interval: int) -> list[_Trained | RetrainLabError]:
    """Train combinations that share a stack: of each its best candidate, or why there is none."""
    stack = [settings for point in points for settings in point.candidates]
    found: list[_Trained | RetrainLabError] = []
    for begin in range(0, len(stack), _HEADS_A_STACK):
        found += _train_stack(stack[begin : begin + _HEADS_A_STACK], data, interval)
    best: list[_Trained | RetrainLabError] = []
    for point in points:
        mine, found = found[: len(point.candidates)], found[len(point.candidates) :]
        best.append(_best([one for one in mine if isinstance(one, _Trained)]) or mine[0])
    return best


def _train_stack(stack: list[heads.HeadSettings], data: _Data, interval: int) -> list[_Trained | RetrainLabError]:
    """Train a stack; where one of its heads diverges, the halves of it, so that the others are not lost."""
    began, apart = time.perf_counter(), max(interval, -(-stack[0].how_many_training_steps // _EVALUATIONS))
    try:
        trained, history = trainer.train(
            data.learn_features, data.learn["label"], data.learn["split"], stack, apart, start=data.start
        )
    except RetrainLabError as error:
        if len(stack) == 1:
            return [error]
        half = len(stack) // 2
        return [one for part in (stack[:half], stack[half:]) for one in _train_stack(part, data, interval)]
    seconds = (time.perf_counter() - began) / len(stack)
    of = {member: mine.drop(columns="member").reset_index(drop=True) for member, mine in history.groupby("member")}
    return [_Trained(head, of[member], seconds, [_decay(head.settings)]) for member, head in enumerate(trained)]


def _best(trained: list[_Trained]) -> _Trained | None:
    """Choose one on validation."""
    if not trained:
        return None
    chosen = trained[trainer.choose(pd.concat([one.history.assign(member=i) for i, one in enumerate(trained)]))]
    seconds = sum(one.seconds for one in trained)
    return _Trained(chosen.head, chosen.history, seconds, [decay for one in trained for decay in one.decays])


def _problems(point: Point, found: _Trained | RetrainLabError) -> list[str]:
    """Say what of a combination could not be trained."""
    if isinstance(found, RetrainLabError):
        return [f"{point.said}: {found}"]
    lost = [decay for decay in map(_decay, point.candidates) if decay not in found.decays]
    return [f"{point.said} with weight_decay {grids.brief(lost)}: diverged"] if lost else []


def _decay(settings: heads.HeadSettings) -> float:
    return settings.weight_decay


# --------------------------------------------------------------------------------------------- afterwards


def _write(
    point: Point, trained: _Trained, data: _Data, sweep: run_folder.Run, table: pd.DataFrame, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a light run, as 03_retrain writes a full one; returns its row of the sweep's table.

    The row's cross_entropy is that before temperature scaling, as `training.choose` compares it: the temperature was
    fitted on the very images that choose.
    """
    head, steps = trained.head, trained.head.settings.how_many_training_steps
    predicted, temperature = _predict(head, data)
    metrics = scores.summarise(predicted, head.labels)
    parameters = {**given, **point.varied, "run": point.name}
    if len(trained.decays) < len(point.candidates):  # those that diverged would end the full run
        parameters["weight_decay"] = trained.decays
    shutil.rmtree(sweep.folder.parent / point.name, ignore_errors=True)  # a light one, see _keep_others
    out = run_folder.open_run(sweep.folder.parent, point.name)
    dataset, backbone = sweep.info()["dataset"], data.backbone
    learnt_from = {name: point.parameters[name] for name in (*grids.FEATURES[1:], "start_from")}
    out.record(sweep={"name": sweep.name}, parameters=parameters,
               learnt_from=learnt_from | {"weight_decay": [one.weight_decay for one in point.candidates]},
               dataset=dataset,
               backbone={"handle": backbone.handle, "digest": backbone.digest, "milliseconds": data.milliseconds,
                         "image_size": point.parameters["image_size"]},
               settings=asdict(head.settings), seconds={"retrain": round(trained.seconds, 3)})  # fmt: skip
    out.write_table("images", table)
    out.write_table("history", trained.history)
    out.write_table("predictions", predicted)
    out.write_metrics(
        {"labels": head.labels, "backbone": backbone.handle, "steps": steps}
        | metrics
        | {"temperature": temperature, "seconds": out.info()["seconds"]}
    )
    tried_with = {name: point.parameters[name] for name in ("tfhub_module", *_PERCENTAGES)}
    tried_with |= {"images": Path(dataset["image_dir"]).name} | asdict(point.distortion) | asdict(head.settings)
    with summaries.ResultLogs(out.logs, steps) as logs:
        logs.settings(point.name, tried_with, metrics)
    figure = metrics["validation"]
    low, high = figure["interval"] or (None, None)
    last = trained.history.query("split == 'validation'")["cross_entropy"].tail(1)
    return point.varied | {"weight_decay": _decay(head.settings), "n": figure["n"], "validation": figure["accuracy"],
                           "low": low, "high": high, "cross_entropy": None if last.empty else float(last.item()),
                           "train": metrics["train"]["accuracy"]}  # fmt: skip


def _predict(head: heads.Head, data: _Data) -> tuple[pd.DataFrame, float]:
    """Predict all images but those of the test, tempered; the second value is the temperature, fitted on validation."""
    rows = (data.known["split"] != "test").to_numpy()
    known, raw = data.known[rows], head.logits(data.features[rows])
    held = (known["split"] == "validation").to_numpy()
    classes = pd.Index(head.labels).get_indexer(known["label"])
    temperature = calibration.temperature(raw[held], classes[held])
    return scores.predictions(known, raw / temperature, head.labels), temperature


def _command(run: run_folder.Run) -> str:
    """How to make a full run of a light one, under its name."""
    words = ["retrainlab", "report", "--run", run.name]
    for name, value in run.info()["parameters"].items():
        if name == "weight_decay" and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if name != "run":
            words += ["-p", name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    return shlex.join(words)
