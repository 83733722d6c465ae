"""What a file must hold: known answers, and what is said of others."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from retrainlab import shapes
from retrainlab.shapes import Between, FieldsOf, check, moment, ordered


class Figure(TypedDict):
    n: int
    interval: Annotated[tuple[float, float], ordered] | None
    names: NotRequired[list[str]]


class Whole(TypedDict, total=False):
    figures: dict[str, Figure]
    share: Annotated[float, Between(0, 1)]
    kind: Literal["RGB", "BGR"]
    made: Annotated[str, moment]
    other: Any


@dataclass
class Settings:
    rate: float = 0.1
    steps: int = 5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("steps is below 1")


FITTING = [
    {},
    {"figures": {}, "unknown": object()},
    {"figures": {"a": {"n": 0, "interval": None}, "b": {"n": 3, "interval": [0, 0.5], "names": ["x"]}}},
    {"share": 1, "kind": "BGR", "made": "2026-11-28T09:30:00+00:00", "other": [1, None]},
]


@pytest.mark.parametrize("value", FITTING)
def test_what_fits(value):
    check(value, Whole)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "it holds null, not names with values"),
        ([1, 2], "it holds a list of 2, not names with values"),
        ({"figures": {"a": {"interval": None}}}, "'figures.a' has no 'n'"),
        ({"figures": {"a": {"n": True, "interval": None}}}, "'figures.a.n' holds True, not a whole number"),
        ({"figures": {"a": {"n": 1.5, "interval": None}}}, "'figures.a.n' holds 1.5, not a whole number"),
        ({"figures": {"a": {"n": 1, "interval": [0, 1, 2]}}}, "interval' holds a list of 3, not a list of 2 or null"),
        ({"figures": {"a": {"n": 1, "interval": [0, "x"]}}}, "'figures.a.interval.1' holds 'x', not a number"),
        ({"figures": {"a": {"n": 1, "interval": [2, 1]}}}, "the lower end is above the upper one"),
        ({"figures": {"a": {"n": 1, "interval": None, "names": ["a", 5]}}}, "'figures.a.names.1' holds 5, not a text"),
        ({"share": 1.5}, "'share' holds 1.5: expected 0 to 1"),
        ({"share": float("nan")}, "'share' holds nan: expected 0 to 1"),
        ({"kind": "HSV"}, "'kind' holds 'HSV', not 'RGB' or 'BGR'"),
        ({"kind": ["RGB"]}, "'kind' holds a list of 1, not 'RGB' or 'BGR'"),
        ({"made": "yesterday"}, "expected a time, such as 2026"),
        ({"made": "2026-11-28T09:30:00"}, "expected a time, such as 2026"),
        ({"made": "x" * 99}, "'made' holds 'xxxx"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(value, said):
    with pytest.raises(ValueError) as error:
        check(value, Whole)
    assert said in str(error.value) and len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("value", "said"),
    [({"rate": 1, "steps": 2}, ""), ({}, ""), ({"steps": 0}, "steps is below 1"), ({"x": 1}, "'x' is unknown"),
     ({"rate": "fast"}, "'rate' holds 'fast', not a number")],
)  # fmt: skip
def test_names_with_values_that_a_dataclass_can_be_made_of(value, said):
    assert shapes.FieldsOf(Settings)(value) == FieldsOf(Settings)(value) == said
