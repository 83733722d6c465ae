"""A grid of settings: which may be varied, what people wrote, and every combination of it, checked."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from ..backbones.backbone import BackboneSettings
from ..errors import RetrainLabError
from ..pixels.distortions import Distortion
from ..runs.results import shown
from ..training.finetuning import TuningSettings
from ..training.heads import HeadSettings

DISTORTION = [field.name for field in fields(Distortion)]
_READ = ["tfhub_module", "image_size", "depth", "average_views"]  # in the order of BackboneSettings
FEATURES = [*_READ, *DISTORTION, "distortion_variants"]  # what bottlenecks are made with
HEAD = [field.name for field in fields(HeadSettings)]
STACK = [name for name in HEAD if name not in ("learning_rate", "weight_decay", "label_smoothing")]  # alike in a stack
TUNING = ["fine_tune_from", "fine_tune_epochs", "fine_tune_learning_rate"]  # how the network itself learns
_ORDER = HEAD + FEATURES + TUNING
SWEPT = frozenset(_ORDER)  # what may be varied: all else decides about images, places and names
_MOST_HEADS = 2000  # a grid beyond is a slip, or hours


@dataclass(frozen=True)
class Point:
    """One combination: its run's name, the varied parameters, in words, all parameters, heads that differ in decay."""

    name: str
    varied: dict[str, Any]
    said: str
    parameters: dict[str, Any]
    candidates: list[HeadSettings]

    @property
    def backbone(self) -> BackboneSettings:
        return BackboneSettings(*(self.parameters[name] for name in _READ))

    @property
    def distortion(self) -> Distortion:
        return Distortion(**{name: self.parameters[name] for name in DISTORTION})

    @property
    def tuning(self) -> TuningSettings | None:
        """How the network is fine-tuned; None where it is not."""
        cut, epochs, rate = (self.parameters[name] for name in TUNING)
        return TuningSettings(epochs, rate, seed=self.parameters["seed"]) if cut else None


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


def points(run: str, grid: Mapping[str, Sequence[Any]], values: Mapping[str, Any]) -> list[Point]:
    """Make every combination, and with it check all values.

    Args:
        run: beginning of the runs' names: `<run>-01`, `<run>-02`, ...
        grid: the parameters to vary, of `SWEPT`: name -> values.
        values: of all parameters; where weight_decay is a list and is not varied, each combination has them all.

    Raises:
        RetrainLabError: a value is impossible, or the grid has one combination or far too many.
    """
    # one order, so that the names of runs mean the same however the grid is given again
    choices = dict(sorted(_choices(grid).items(), key=lambda item: _ORDER.index(item[0])))
    digits = max(2, len(str(_count(choices, values["weight_decay"]))))
    words = {name: texts(several) for name, several in choices.items()}
    made = []
    for number, places in enumerate(product(*(range(len(several)) for several in choices.values())), start=1):
        varied = {name: several[place] for (name, several), place in zip(choices.items(), places, strict=True)}
        said = ", ".join(f"{name} {words[name][place]}" for name, place in zip(choices, places, strict=True))
        mine = {**values, **varied}
        head = HeadSettings(**{name: mine[name] for name in HEAD if name != "weight_decay"})
        candidates = head.vary(weight_decay=_numbers(mine["weight_decay"]))
        point = Point(f"{run}-{number:0{digits}}", varied, said, mine, candidates)
        if point.distortion.active:
            point.distortion.variant(mine["distortion_variants"])  # raises, if that is impossible
        if point.tuning and head.hidden_units:
            raise RetrainLabError(f"{said}: fine-tuning starts from a layer without hidden units. Leave one of both.")
        made.append(point)
    if idle := [name for name in choices if name in TUNING and not any(point.tuning for point in made)]:
        raise RetrainLabError(
            f"{idle[0]} is to be tried, but nothing is fine-tuned. Set fine_tune_from as well, such as to auto."
        )
    return made


def grouped(points: list[Point], names: Sequence[str]) -> list[list[Point]]:
    """Group combinations that agree in these parameters."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(json.dumps([point.parameters[name] for name in names]), []).append(point)
    return list(groups.values())


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


def _count(choices: Mapping[str, list[Any]], decay: Any) -> int:
    """Count combinations, and refuse too few and too many; `decay` is tried in each where it is not varied."""
    decays = choices.get("weight_decay") or [_numbers(decay)]
    others = math.prod(len(several) for name, several in choices.items() if name != "weight_decay")
    settings, heads = others * len(decays), others * sum(map(len, decays))
    if settings < 2:
        raise RetrainLabError(
            "There is nothing to try. Give a parameter several values, such as -p learning_rate 0.001,0.01,0.1. It may "
            f"be one of {', '.join(sorted(SWEPT))}."
        )
    if heads > _MOST_HEADS:
        each = f", each with {len(decays[0])} values of weight_decay to choose from" if heads > settings else ""
        raise RetrainLabError(
            f"This grid has {settings:,} settings{each}: {heads:,} heads to train. Expected at most {_MOST_HEADS:,}; "
            "give fewer values, or vary fewer parameters."
        )
    return settings


def _numbers(decay: Any) -> list[float]:
    try:
        numbers = [float(value) for value in (decay if isinstance(decay, list) else [decay])]
    except (TypeError, ValueError):
        numbers = []
    if not numbers:
        raise RetrainLabError(f"weight_decay is {decay!r}. Expected a number from 0 up, or a list of some.")
    return numbers


def _is_there(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # too long for a path, or somebody's home folder who is unknown
        return False


def _check_varied(name: str) -> None:
    if name not in SWEPT:
        raise RetrainLabError(f"{name} cannot be varied. Expected one of {', '.join(sorted(SWEPT))}.")


def brief(value: Any) -> str:
    """Write a parameter's value briefly."""
    return ", ".join(map(shown, value)) if isinstance(value, list) else shown(value)


def texts(values: Sequence[Any]) -> list[str]:
    """Write a parameter's values briefly; of addresses and paths the parts in which they differ."""
    if not all(isinstance(value, str) for value in values):
        return [brief(value) for value in values]
    parts = [value.strip("/").split("/") for value in values]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({part[end] for part in parts}) == 1:
            for part in parts:
                del part[end]
    return ["/".join(part) for part in parts]
