"""A grid of settings, trained as stacks: a light run for each, with train and validation figures.

Settings are chosen on validation, so the test images take no part here, and nothing is exported. The chosen settings
are then run in full, by `Swept.command`, and tested once.
"""

import json
import math
import re
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import backbones, bottlenecks, datasets, evaluation, export, heads, images, runs, summaries, suspects
from .comparison import shown
from .distortions import Distortion
from .errors import RetrainLabError

_HEAD = [field.name for field in fields(heads.HeadSettings)]
_DISTORTION = [field.name for field in fields(Distortion)]
_FEATURES = ["tfhub_module", "image_size", *_DISTORTION, "distortion_variants"]
_PERCENTAGES = ["testing_percentage", "validation_percentage"]
SWEPT = frozenset(_HEAD + _FEATURES)  # what may be varied: all else decides about images, places and names
_STACKED = {"learning_rate", "weight_decay", "label_smoothing"}  # what heads of one stack may differ in
_HEADS_A_STACK = 64  # bounds the memory, with many features and labels
_MOST_HEADS = 2000  # a grid beyond is a slip, or hours
_EVALUATIONS = 20  # of a training, at most: the history of a light run is for a glance
_LIGHT = {"run.json", "metrics.json", "images.parquet", "history.parquet", "predictions.parquet", "logs"}
_LINES, _PROBLEMS, _COMPARED = 40, 5, 200  # that are printed, or compared, at most


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        table: index run; the settings that were varied, weight_decay, then n, validation (accuracy), low, high and
            cross_entropy of the validation images, and train (accuracy).
        chosen: the run with the lowest validation cross-entropy; None without validation images.
        command: how to run the chosen settings in full; "" if none was chosen.
        problems: sentences on settings that could not be trained.
    """

    table: pd.DataFrame
    chosen: str | None
    command: str
    problems: list[str]

    @property
    def compared(self) -> list[str]:
        """The runs to set side by side: all, or of a large grid the best, since pairs grow with the square."""
        best = set(self.table.sort_values("cross_entropy", kind="stable").index[:_COMPARED])
        return [name for name in self.table.index if name in best]


@dataclass(frozen=True)
class _Point:
    """One combination: its run's name, the varied parameters, in words, all parameters, heads that differ in decay."""

    name: str
    varied: dict[str, Any]
    said: str
    parameters: dict[str, Any]
    candidates: list[heads.HeadSettings]

    @property
    def distortion(self) -> Distortion:
        return Distortion(**{name: self.parameters[name] for name in _DISTORTION})


@dataclass(frozen=True)
class _Data:
    """What heads are trained on, and what they are judged on: with and without distorted rows, each with its table."""

    backbone: backbones.Backbone
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


def divide(
    pairs: Sequence[tuple[str, str]], known: Collection[str]
) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
    """Divide pairs of parameter and text into those with one value and those with several, such as `0.001,0.01`.

    The last pair of a name wins. Commas inside of brackets divide nothing: `[0,0.1]` is one value, a list. Nor do those
    in the name of a file that is there.

    Args:
        known: all parameters; pairs of other names are left as they are, for whoever checks names.

    Raises:
        RetrainLabError: nothing stands between two commas, or a parameter with several values may not be varied.
    """
    single, several = [], {}
    for name, text in dict(pairs).items():
        one = "," not in text or text.lstrip().startswith("[") or _is_there(text)
        if one or name not in known:
            single.append((name, text))
            continue
        _check_varied(name)
        several[name] = [part.strip() for part in text.split(",")]
        if "" in several[name]:
            raise RetrainLabError(f"{name} is '{text}'. Expected values with one comma between two, such as 1,2.")
    return single, several


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
        grid: notebook parameters to vary, of `SWEPT`: name -> values.
        defaults: of all parameters of the notebooks.
        say: told a line at each step.

    Raises:
        RetrainLabError: a value is impossible, the grid has one combination or far too many, or a name is that of a run
            that is more than a light one, all before anything is trained; or nothing could be trained.
    """
    values = {**defaults, **given}
    points = _points(run, grid, values)
    earlier = _keep_others(values["reports_dir"], run, points)
    out = runs.open_run(values["reports_dir"], run)
    folder, root = datasets.locate(values["image_dir"]), runs.project_path(values["bottleneck_dir"])
    by_features = _grouped(points, _FEATURES)
    for first, *_ in by_features:  # what is wrong with a backbone is said before the first one has worked for an hour
        _start(first, backbones.resolve(first.parameters["tfhub_module"], root, first.parameters["image_size"]))
    testing, validation = (values[name] for name in _PERCENTAGES)
    decisions = suspects.read_decisions(out.other(values["labels_from"]).folder)
    table = suspects.apply(images.load(folder, testing, validation, known=out.known_images(folder)), decisions)
    out.write_table("images", table)
    tried = {name: list(several) for name, several in grid.items()}
    out.record(dataset={"image_dir": str(folder), "digest": images.digest(table)},
               sweep={"grid": tried, "runs": [], "chosen": None})  # fmt: skip
    say(f"{run}: {len(points):,} settings, {sum(len(point.candidates) for point in points):,} heads to train")
    rows: dict[str, dict[str, Any]] = {}
    problems = []
    for group in by_features:
        data = _load(group[0], folder, table, root, say)
        for stack in _grouped(group, [name for name in _HEAD if name not in _STACKED]):
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
    command = _command(runs.Run(out.folder.parent / chosen)) if chosen else ""
    return Swept(listed.rename_axis("run"), chosen, command, problems)


def describe(swept: Swept) -> list[str]:
    """Say what a sweep found in lines for a terminal: a table, the best first, and what was chosen and why."""
    table = swept.table.sort_values("cross_entropy", kind="stable")
    names = [name for name in table if name in SWEPT]
    cells = {"run": list(table.index)}
    for name in names:
        brief = dict(zip(table[name].unique(), _texts(table[name].unique()), strict=True))
        cells[name] = [brief[value] for value in table[name]]
    rows = table.to_dict("records")
    cells["train"] = [_percent(row["train"]) for row in rows]
    cells["validation [95% interval]"] = [_percent(row["validation"], row["low"], row["high"]) for row in rows]
    cells["cross-entropy"] = [_nats(row["cross_entropy"]) for row in rows]
    lines = _columns(cells)
    if len(lines) > _LINES + 1:
        lines[_LINES + 1 :] = [f"... and {len(lines) - _LINES - 1:,} more."]
    lines += ["", *(f"Left out: {problem}" for problem in swept.problems[:_PROBLEMS])]
    if len(swept.problems) > _PROBLEMS:
        lines.append(f"Left out as well: {len(swept.problems) - _PROBLEMS:,} more.")
    if swept.chosen is None:
        return [*lines, "There are no validation images, so none of these can be chosen. Raise validation_percentage."]
    settings = ", ".join(f"{name} {cells[name][0]}" for name in names)
    return [
        *lines,
        f"Chosen: {swept.chosen} ({settings}), for the lowest cross-entropy on {rows[0]['n']:,.0f} validation images.",
        *([f"As the best of {len(table):,}, it owes something to luck."] if len(table) > 1 else []),
        "Test images took no part. To see what they say of it, run it in full:",
        f"  {swept.command}",
    ]


# --------------------------------------------------------------------------------------------- before


def _is_there(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # too long for a path, or somebody's home folder who is unknown
        return False


def _check_varied(name: str) -> None:
    if name not in SWEPT:
        raise RetrainLabError(f"{name} cannot be varied. Expected one of {', '.join(sorted(SWEPT))}.")


def _points(run: str, grid: Mapping[str, Sequence[Any]], values: Mapping[str, Any]) -> list[_Point]:
    """Make every combination, and with it check all values."""
    choices = _choices(grid)
    decays = choices.get("weight_decay") or [_numbers(values["weight_decay"])]
    others = math.prod(len(several) for name, several in choices.items() if name != "weight_decay")
    settings, count = others * len(decays), others * sum(map(len, decays))
    if settings < 2:
        raise RetrainLabError(
            "There is nothing to try. Give a parameter several values, such as -p learning_rate 0.001,0.01,0.1. It may "
            f"be one of {', '.join(sorted(SWEPT))}."
        )
    if count > _MOST_HEADS:
        each = f", each with {len(decays[0])} values of weight_decay to choose from" if count > settings else ""
        raise RetrainLabError(
            f"This grid has {settings:,} settings{each}: {count:,} heads to train. Expected at most {_MOST_HEADS:,}; "
            "give fewer values, or vary fewer parameters."
        )
    texts = {name: _texts(several) for name, several in choices.items()}
    digits = max(2, len(str(settings)))
    points = []
    for number, places in enumerate(product(*(range(len(several)) for several in choices.values())), start=1):
        varied = {name: several[place] for (name, several), place in zip(choices.items(), places, strict=True)}
        said = ", ".join(f"{name} {texts[name][place]}" for name, place in zip(choices, places, strict=True))
        mine = {**values, **varied}
        head = heads.HeadSettings(**{name: mine[name] for name in _HEAD if name != "weight_decay"})
        candidates = head.vary(weight_decay=_numbers(mine["weight_decay"]))
        point = _Point(f"{run}-{number:0{digits}}", varied, said, mine, candidates)
        if point.distortion.active:
            point.distortion.variant(mine["distortion_variants"])  # raises, if that is impossible
        points.append(point)
    return points


def _choices(grid: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Check the names of a grid, and take each value once; a weight_decay is a list of what validation chooses from."""
    choices = {}
    for name, several in grid.items():
        _check_varied(name)
        if name == "weight_decay":
            several = [_numbers(value) for value in several]
        choices[name] = list({json.dumps(value): value for value in several}.values())
        if not choices[name]:
            raise RetrainLabError(f"{name} has no values to try. Expected at least one.")
    return choices


def _numbers(decay: Any) -> list[float]:
    try:
        numbers = [float(value) for value in (decay if isinstance(decay, list) else [decay])]
    except (TypeError, ValueError):
        numbers = []
    if not numbers:
        raise RetrainLabError(f"weight_decay is {decay!r}. Expected a number from 0 up, or a list of some.")
    return numbers


def _keep_others(reports_dir: str, run: str, points: list[_Point]) -> set[str]:
    """Refuse to write over what is no light run of a sweep of this name; returns the names of those that are."""
    reports = runs.project_path(reports_dir)
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
    run = runs.Run(folder)
    return run.info().get("sweep", {}).get("name") == sweep and not run.metrics().get("test", {}).get("n")


def _grouped(points: list[_Point], names: Sequence[str]) -> list[list[_Point]]:
    """Group combinations that agree in these parameters."""
    groups: dict[str, list[_Point]] = {}
    for point in points:
        groups.setdefault(json.dumps([point.parameters[name] for name in names]), []).append(point)
    return list(groups.values())


# --------------------------------------------------------------------------------------------- training


def _start(point: _Point, backbone: backbones.Backbone) -> heads.Head | None:
    """The trained head that all start from, if there is one."""
    name = point.parameters.get("start_from")
    folder = runs.project_path(point.parameters["reports_dir"]) / str(name)
    return export.load_head(runs.Run(folder).model, backbone) if name else None


def _load(point: _Point, folder: Path, table: pd.DataFrame, root: Path, say: Callable[[str], None]) -> _Data:
    """Compute and load bottlenecks, as 03_retrain does."""
    values, distortion = point.parameters, point.distortion
    backbone = backbones.resolve(values["tfhub_module"], root, values["image_size"])
    cache = bottlenecks.open_cache(backbone)
    say(f"{backbone.handle}: {bottlenecks.extract(backbone, cache, folder, table)}")
    learn = features, known = bottlenecks.load(cache, table)
    if distortion.active:
        count, train = values["distortion_variants"], table[table["split"] == "train"]
        say(f"{backbone.handle}: {bottlenecks.extract(backbone, cache, folder, train, distortion, count)}")
        learn = bottlenecks.with_variants(cache, features, known, distortion, count)
    return _Data(backbone, backbone.milliseconds(), features, known, *learn, _start(point, backbone))


def _train(points: list[_Point], data: _Data, interval: int) -> list[_Trained | RetrainLabError]:
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
        trained, history = heads.train(
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
    chosen = trained[heads.choose(pd.concat([one.history.assign(member=i) for i, one in enumerate(trained)]))]
    seconds = sum(one.seconds for one in trained)
    return _Trained(chosen.head, chosen.history, seconds, [decay for one in trained for decay in one.decays])


def _problems(point: _Point, found: _Trained | RetrainLabError) -> list[str]:
    """Say what of a combination could not be trained."""
    if isinstance(found, RetrainLabError):
        return [f"{point.said}: {found}"]
    lost = [decay for decay in map(_decay, point.candidates) if decay not in found.decays]
    return [f"{point.said} with weight_decay {_brief(lost)}: diverged"] if lost else []


def _decay(settings: heads.HeadSettings) -> float:
    return settings.weight_decay


# --------------------------------------------------------------------------------------------- afterwards


def _write(
    point: _Point, trained: _Trained, data: _Data, sweep: runs.Run, table: pd.DataFrame, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a light run, as 03_retrain writes a full one; returns its row of the sweep's table."""
    head, steps = trained.head, trained.head.settings.how_many_training_steps
    rows = (data.known["split"] != "test").to_numpy()
    known, raw = data.known[rows], head.logits(data.features[rows])
    held = (known["split"] == "validation").to_numpy()
    classes = pd.Index(head.labels).get_indexer(known["label"])
    temperature = evaluation.temperature(raw[held], classes[held])
    predicted = evaluation.predictions(known, raw / temperature, head.labels)
    metrics = evaluation.summarise(predicted, head.labels)
    parameters = {**given, **point.varied, "run": point.name}
    if len(trained.decays) < len(point.candidates):  # those that diverged would end the full run
        parameters["weight_decay"] = trained.decays
    shutil.rmtree(sweep.folder.parent / point.name, ignore_errors=True)  # a light one, see _keep_others
    out = runs.open_run(sweep.folder.parent, point.name)
    dataset, backbone = sweep.info()["dataset"], data.backbone
    learnt_from = {name: point.parameters[name] for name in (*_FEATURES[1:], "start_from")}
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
    return point.varied | {"weight_decay": _decay(head.settings), "n": figure["n"], "validation": figure["accuracy"],
                           "low": low, "high": high, "cross_entropy": figure["cross_entropy"],
                           "train": metrics["train"]["accuracy"]}  # fmt: skip


def _command(run: runs.Run) -> str:
    """How to make a full run of a light one, under its name."""
    words = ["retrainlab", "report", "--run", run.name]
    for name, value in run.info()["parameters"].items():
        if name == "weight_decay" and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if name != "run":
            words += ["-p", name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    return shlex.join(words)


# --------------------------------------------------------------------------------------------- words


def _brief(value: Any) -> str:
    return ", ".join(map(shown, value)) if isinstance(value, list) else shown(value)


def _texts(values: Sequence[Any]) -> list[str]:
    """Write a parameter's values briefly; of addresses and paths the parts in which they differ."""
    if not all(isinstance(value, str) for value in values):
        return [_brief(value) for value in values]
    parts = [value.strip("/").split("/") for value in values]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({part[end] for part in parts}) == 1:
            for part in parts:
                del part[end]
    return ["/".join(part) for part in parts]


def _percent(accuracy: float | None, low: float | None = None, high: float | None = None) -> str:
    if accuracy is None or pd.isna(accuracy):
        return "–"
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{accuracy:.1%}{interval}"


def _nats(cross_entropy: float | None) -> str:
    if cross_entropy is None or pd.isna(cross_entropy):
        return "–"
    return f"{cross_entropy:.3f}" if cross_entropy < 1000 else f"{cross_entropy:.3g}"


def _columns(cells: Mapping[str, list[str]]) -> list[str]:
    """Line cells up under their names: the first column from the left, the others from the right."""
    columns: list[list[str]] = []
    for name, column in cells.items():
        width = max(map(len, [name, *column]))
        columns.append([f"{cell:{'<' if not columns else '>'}{width}}" for cell in [name, *column]])
    return ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
