"""What a file must hold, said as types, and held to it: a reader may then trust what it reads.

A shape is what annotations are made of: None, bool, int, float, str, list[...], dict[str, ...], tuple[...] (a list of
that length), unions, Literal, a TypedDict, and Annotated with functions that say what else is wrong, or "".
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

_SHOWN = 40  # signs of a value
_KINDS = {None: "null", bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def check(value: Any, shape: Any, name: str = "") -> None:
    """Hold a value, as it was read from JSON, to a shape; keys that a TypedDict does not name may hold anything.

    Raises:
        ValueError: it is another. The message is the end of a sentence: what is where, and what was expected.
    """
    origin, parts = get_origin(shape), get_args(shape)
    if origin in (Required, NotRequired):
        check(value, parts[0], name)
    elif origin is Annotated:
        check(value, parts[0], name)
        for problem in parts[1:]:
            if said := problem(value):
                raise ValueError(f"{_at(name)} holds {_found(value)}: {said}")
    elif origin in (Union, types.UnionType):
        _check_any(value, parts, name)
    elif shape is not Any:
        if not _is(value, shape):
            raise ValueError(f"{_at(name)} holds {_found(value)}, not {_said(shape)}")
        _check_parts(value, shape, name)


def _check_any(value: Any, shapes: Sequence[Any], name: str) -> None:
    fitting = [shape for shape in shapes if _is(value, shape)]
    if not fitting:
        raise ValueError(f"{_at(name)} holds {_found(value)}, not {' or '.join(map(_said, shapes))}")
    check(value, fitting[0], name)


def _check_parts(value: Any, shape: Any, name: str) -> None:
    origin, parts = get_origin(shape), get_args(shape)
    if is_typeddict(shape):
        if missing := sorted(shape.__required_keys__ - value.keys()):
            raise ValueError(f"{_at(name)} has no '{missing[0]}'")
        for key, part in _hints(shape).items():
            if key in value:
                check(value[key], part, _join(name, key))
    elif parts and parts[-1] is Any:
        return
    elif origin is dict:
        for key, each in value.items():
            check(each, parts[1], _join(name, key))
    elif origin is list:
        for number, each in enumerate(value):
            check(each, parts[0], _join(name, number))
    elif origin is tuple:
        for number, pair in enumerate(zip(value, parts, strict=True)):
            check(*pair, _join(name, number))


@cache
def _hints(shape: Any) -> dict[str, Any]:
    return get_type_hints(shape, include_extras=True)


def _is(value: Any, shape: Any) -> bool:
    """Tell whether a value is of the kind of a shape, whatever its parts are."""
    origin = get_origin(shape)
    if origin in (Annotated, Required, NotRequired):
        return _is(value, get_args(shape)[0])
    if shape in (None, types.NoneType):
        return value is None
    if origin is Literal:
        return value in get_args(shape)
    if shape in (int, float):
        return isinstance(value, int if shape is int else int | float) and not isinstance(value, bool)
    if is_typeddict(shape) or origin is dict:
        return isinstance(value, dict)
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(get_args(shape))
    return isinstance(value, origin or shape)


def _said(shape: Any) -> str:
    origin, parts = get_origin(shape), get_args(shape)
    if origin in (Annotated, Required, NotRequired):
        return _said(parts[0])
    if is_typeddict(shape) or origin is dict:
        return "names with values"
    if origin is tuple:
        return f"a list of {len(parts)}"
    if origin is Literal:
        return " or ".join(map(repr, parts))
    return "a list" if origin is list else _KINDS[None if shape is types.NoneType else shape]


def _found(value: Any) -> str:
    if isinstance(value, dict):
        return "names with values"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _at(name: str) -> str:
    return f"'{name}'" if name else "it"


def _join(name: str, part: object) -> str:
    return f"{name}.{part}" if name else str(part)


# --------------------------------------------------------------------------------------------- what else may be asked


class Between:
    """A number within two ends, which belong to it; NaN is not."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def __call__(self, value: float) -> str:
        return "" if self._low <= value <= self._high else f"expected {self._low:g} to {self._high:g}"


class FieldsOf:
    """Names with values that a dataclass can be made of, whose other fields have defaults."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def __call__(self, value: Mapping[str, Any]) -> str:
        hints = get_type_hints(self._kind)
        if unknown := sorted(value.keys() - {field.name for field in fields(self._kind)}):
            return f"'{unknown[0]}' is unknown"
        try:
            for name, each in value.items():
                check(each, hints[name], name)
            self._kind(**value)
        except Exception as error:  # a dataclass says itself what it does not take
            return str(error).rstrip(".")
        return ""


def moment(value: str) -> str:
    """A time as datetime.isoformat writes it, with its distance to UTC."""
    try:
        known = datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        known = False
    return "" if known else "expected a time, such as 2026-11-28T09:30:00+00:00"


def ordered(value: Sequence[float]) -> str:
    """Two ends, the lower one first."""
    return "" if value[0] <= value[1] else "the lower end is above the upper one"
