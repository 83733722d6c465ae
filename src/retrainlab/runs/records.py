"""What run.json and metrics.json hold: which keys are needed, which may be missing, and what their values are.

Other keys may hold anything: notebooks add what they found. Tables need some columns, and may have others.
"""

from typing import Annotated, Any, NotRequired, Required, TypedDict

from ..shapes import Between, FieldsOf, moment, ordered
from ..training.heads import HeadSettings

Share = Annotated[float, Between(0, 1)]
Difference = Annotated[float, Between(-1, 1)]
_Setting = str | float | bool | None
Count = Annotated[int, Between(0, 1e12)]


def _together(figure: dict[str, Any]) -> str:
    """A figure has its interval; without images there is neither."""
    return "" if (figure["accuracy"] is None) == (figure["interval"] is None) else "expected both figure and interval"


class _Accuracy(TypedDict):
    n: Count
    accuracy: Share | None
    interval: Annotated[tuple[Share, Share], ordered] | None


class _Split(_Accuracy):
    cross_entropy: float | None


class _Gap(TypedDict):
    accuracy: Difference | None
    interval: Annotated[tuple[Difference, Difference], ordered] | None


class _Advice(TypedDict):
    sentence: str
    accuracy: float | None


class _Verdict(TypedDict, total=False):
    verdict: str
    sentence: str
    advice: list[_Advice]


class _Balanced(TypedDict):
    value: Share | None
    interval: Annotated[tuple[Share, Share], ordered] | None


class _RareLabels(TypedDict, total=False):
    balanced_accuracy: Annotated[_Balanced, lambda figure: _together(figure | {"accuracy": figure["value"]})]


class _AtThreshold(TypedDict):
    recall: Annotated[_Accuracy, _together]
    precision: Annotated[_Accuracy, _together]


class _Threshold(TypedDict, total=False):
    positive_label: str
    threshold: Share
    at_threshold: _AtThreshold
    untold: str


def _whole(chosen: dict[str, Any]) -> str:
    missing = {"positive_label", "threshold", "at_threshold"} - chosen.keys()
    return "" if len(missing) in (0, 3) else f"it has no '{min(missing)}'"


class Metrics(TypedDict):
    """A metrics.json; see `scores.summarise` for the splits."""

    labels: list[str]
    backbone: str
    steps: Count
    temperature: Annotated[float, Between(1e-9, 1e9)]
    train: Annotated[_Split, _together]
    validation: Annotated[_Split, _together]
    test: Annotated[_Split, _together]
    gap: Annotated[_Gap, _together]
    refit: NotRequired[bool]
    seconds: NotRequired[dict[str, float]]
    overfitting: NotRequired[_Verdict]
    rare_labels: NotRequired[_RareLabels]
    threshold: NotRequired[Annotated[_Threshold, _whole]]
    trust: NotRequired[dict[str, Any]]


class _Images(TypedDict, total=False):
    digest: str
    labels: str
    since: Annotated[str, moment] | None
    levels: dict[str, Annotated[tuple[float, float], ordered]]


class _Dataset(_Images, total=False):
    image_dir: str
    said: list[str]


class _Backbone(TypedDict):
    digest: str
    milliseconds: NotRequired[float]


class _Sweep(TypedDict, total=False):
    name: str
    chosen: str | None


def _of_one_value(learnt_from: dict[str, Any]) -> str:
    """Only of weight_decay there may be several, of which validation chose one."""
    several = [name for name, value in learnt_from.items() if isinstance(value, list) and name != "weight_decay"]
    return f"'{several[0]}' is a list" if several else ""


class Info(TypedDict, total=False):
    """A run.json, as far as the notebooks have come."""

    run: Required[str]
    updated: str
    python: str
    versions: dict[str, str]
    commit: str | None
    dataset: _Dataset
    seen: _Dataset
    parameters: dict[str, Any]
    seconds: dict[str, float]
    backbone: _Backbone
    extraction: str
    settings: dict[str, _Setting]
    learnt_from: Annotated[dict[str, _Setting | list[float]], _of_one_value]
    trained_with: dict[str, Any]
    device: str
    trained: Annotated[str, moment]
    sweep: _Sweep


class _DatasetOfTraining(_Images):
    image_dir: str
    said: list[str]


class _BackboneOfTraining(TypedDict):
    digest: str
    handle: str
    image_size: Count
    depth: str
    average_views: bool
    tuned: str
    milliseconds: Annotated[float, Between(0, 1e9)]


class Training(TypedDict):
    """A run.json once 03_retrain has ended: what it takes to go on from there, with the notebooks of this version."""

    trained: NotRequired[Annotated[str, moment]]
    dataset: _DatasetOfTraining
    backbone: _BackboneOfTraining
    settings: Annotated[dict[str, Any], FieldsOf(HeadSettings)]


COLUMNS = {  # of tables, what is needed
    "seen": ["path", "label", "split", "sha256", "problem"],
    "images": ["path", "label", "split", "sha256", "problem"],
    "predictions": ["path", "label", "split", "predicted", "logits"],
    "history": ["step", "split", "accuracy", "cross_entropy"],
}
