"""The combinations of a sweep, trained as stacks and fine-tuned: one by one, or by the workers of a cluster."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from ..bottlenecks import cluster
from ..bottlenecks.features import Features
from ..errors import RetrainLabError
from ..lab import Lab
from ..training import trainer, tuned
from ..training.heads import Head, HeadSettings
from . import grids, light_runs
from .grids import Point
from .light_runs import Trained

_HEADS_A_STACK = 64  # bounds the memory, with many features and labels
_EVALUATIONS = 20  # of a training, at most: the history of a light run is for a glance


def train_all(
    by_features: list[list[Point]], lab: Lab, values: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Train combinations, grouped by their features, and write a light run for each: (rows, what could not be trained).

    On a cluster all stacks are trained side by side, and then all combinations fine-tuned and written. Here, one stack
    is after the other, so that the features of one are enough.

    values: the parameters in force that are not varied.
    """
    points = [point for group in by_features for point in group]
    rows: dict[str, dict[str, Any]] = {}
    problems: dict[str, list[str]] = {}
    told, work = _Told([point for point in points if point.tuning]), _Work(replace(lab, given=lab.images), values)
    jobs = _jobs(by_features, lab, say)
    for batch in ([job] for job in jobs) if cluster.current() is None else [list(jobs)]:
        made = [
            (point, found, features)
            for (stack, features), several in cluster.spread(work.train, batch, "stacks")
            for point, found in zip(stack, several, strict=True)
        ]
        for (point, found, _), row in cluster.spread(work.write, made, "settings"):
            if isinstance(row, RetrainLabError):
                found = row
            else:
                rows[point.name] = row
                told.add(point, lab, say)
            problems[point.name] = _problems(point, found)
        say(f"{lab.run.name}: {len(rows):,} of {len(points):,} settings trained")
    return rows, [problem for point in points for problem in problems[point.name]]


def side_by_side(tunings: int) -> str:
    client = cluster.current()
    return "one after the other" if client is None else f"{min(tunings, cluster.threads(client)):,} at a time"


def _features(point: Point, lab: Lab, say: Callable[[str], None]) -> Features:
    """Compute and load the bottlenecks of a combination, without those of the test images."""
    place, count = point.parameters["bottleneck_dir"], point.parameters["distortion_variants"]
    features = lab.features(point.backbone, place, point.distortion, count)
    for said in filter(None, [*map(str, features.extractions), features.note]):
        say(f"{features.backbone.handle}: {said}")
    return features.rows(lambda table: table["split"] != "test")


def _jobs(
    by_features: list[list[Point]], lab: Lab, say: Callable[[str], None]
) -> Iterator[tuple[list[Point], Features]]:
    """Give the stacks of combinations, grouped by their features, with these."""
    for group in by_features:
        features = _features(group[0], lab, say)
        if cluster.current() is not None:
            for cut in {str(point.parameters["fine_tune_from"]) for point in group if point.tuning}:
                with suppress(RetrainLabError):  # each that it concerns will say so
                    tuned.prepare(features, cut)
            features = replace(features, matrix=features.matrix[:0])  # workers read their own
            features.milliseconds  # noqa: B018 (measured once, for all)
        yield from ((stack, features) for stack in grids.grouped(group, grids.STACK))


@dataclass(frozen=True)
class _Work:
    """What is done with combinations, here or on a worker that sees the same folders."""

    lab: Lab
    values: Mapping[str, Any]  # the parameters in force that are not varied

    def train(self, job: tuple[list[Point], Features]) -> list[Trained | RetrainLabError]:
        """Train combinations that share a stack: of each its best candidate, or why there is none."""
        (points, features), interval = job, self.values["eval_step_interval"]
        self._look()
        stack, start = (
            [settings for point in points for settings in point.candidates],
            self.lab.start(features.backbone),
        )
        found: list[Trained | RetrainLabError] = []
        for begin in range(0, len(stack), _HEADS_A_STACK):
            found += _train_stack(stack[begin : begin + _HEADS_A_STACK], features, start, interval)
        best: list[Trained | RetrainLabError] = []
        for point in points:
            mine, found = found[: len(point.candidates)], found[len(point.candidates) :]
            best.append(_best([one for one in mine if isinstance(one, Trained)]) or mine[0])
        return best

    def write(self, made: tuple[Point, Trained | RetrainLabError, Features]) -> dict[str, Any] | RetrainLabError:
        """Write the light run of a combination, fine-tuned if that is asked for: its row, or why there is none."""
        point, found, features = made
        self._look()
        if isinstance(found, RetrainLabError):
            return found
        try:
            return light_runs.write(point, found, features, self.lab, self.values)
        except RetrainLabError as error:  # it could not be fine-tuned
            shutil.rmtree(self.lab.run.folder.parent / point.name, ignore_errors=True)
            return error

    def _look(self) -> None:
        cluster.see(image_dir=self.lab.image_dir, reports_dir=self.lab.run.folder)


@dataclass
class _Told:
    """The fine-tunings that are left, and how long the others took, together and side by side."""

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
        client = cluster.current()
        rate = 60 * (1 if client is None else max(1, min(len(self.done + self.left), cluster.threads(client))))
        epochs, ahead = (sum(each.parameters["fine_tune_epochs"] for each in some) for some in (self.done, self.left))
        rest = f", about {self.seconds / epochs * ahead / rate:,.1f} minutes left" * bool(self.left)
        took = f"{self.seconds / rate:,.1f} minutes"
        with tqdm.external_write_mode():  # of a bar that counts on
            say(f"{lab.run.name}: {len(self.done):,} of {len(self.done + self.left):,} fine-tunings in {took}{rest}")


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
