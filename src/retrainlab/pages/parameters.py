"""The parameters of the notebooks: what they declare, and whether what a person gives fits."""

import contextlib
import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .. import project, sealing
from ..errors import RetrainLabError
from ..runs.records import Info
from ..sealing import DamagedFile
from . import notebooks

PLACE = ("run", "reports_dir")  # which run it is; all others say what it is made with
PATHS = ("_dir", "_csv")  # ends of the names of parameters that are a folder or a file
_PATHS = {"images"}  # lists of paths, which may hold commas
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list"}


def declared(notebook: Path) -> dict[str, dict[str, Any]]:
    """Read a notebook's parameters: name -> {default, type, help}, as its cell tagged `parameters` declares them.

    Raises:
        RetrainLabError: it is no notebook, its cell is missing, or a default is more than a plain value.
    """
    try:
        lines = notebooks.declarations(notebook)
    except (ValueError, SyntaxError) as error:
        raise RetrainLabError(
            f"The parameters of '{notebook}' cannot be read ({error}). Expected a notebook with a cell tagged "
            "`parameters`, whose lines are `name: type = value  # help` with plain values."
        ) from error
    return {name: {"default": default, "type": type(default), "help": meant} for name, default, meant in lines}


def known() -> dict[str, dict[str, Any]]:
    """Read the parameters of all notebooks together; of this version's as well, where a project has its own."""
    books = [*notebooks.every(project.carried_dir()), *notebooks.every()]
    return {name: entry for book in dict.fromkeys(books) for name, entry in declared(book).items()}


def defaults(several: Iterable[Mapping[str, dict[str, Any]]]) -> dict[str, Any]:
    """Tell the defaults of notebooks' parameters, but for those in which the notebooks differ: each keeps its own."""
    found: dict[str, list[Any]] = {}
    for entries in several:
        for name, entry in entries.items():
            found.setdefault(name, []).append(entry["default"])
    return {name: first for name, (first, *others) in found.items() if all(other == first for other in others)}


def read(
    pairs: Sequence[tuple[str, str]],
    known: Mapping[str, dict[str, Any]],
    file: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Combine a YAML file of parameters with `-p NAME VALUE` pairs, which win.

    The file may be the run.json of a run: it gives what that run was made with, see `of_a_run`.

    The value of a pair is taken as it is where the parameter is a text (`image_dir 2024-05-01` is a folder, no date),
    or a list of texts and does not begin with `[`; else it is read as YAML.

    Raises:
        RetrainLabError: the file is missing or no mapping, or a value cannot be read.
    """
    try:
        values = {} if file is None else _written(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise RetrainLabError(f"{file} holds no parameters. Expected lines of `name: value`, or a run's run.json.")
        typed = {name: text if _is_text(text, known.get(name, {})) else yaml.safe_load(text) for name, text in pairs}
    except OSError as error:
        raise RetrainLabError(f"The parameters file '{file}' cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RetrainLabError(f"A parameter cannot be read as YAML: {' '.join(str(error).split())}.") from error
    if file is not None and {"run", "versions"} <= values.keys():
        try:
            values, passed = of_a_run(sealing.checked(values, Info), known)
        except DamagedFile as error:
            raise RetrainLabError(f"{file} is damaged ({error}). Give the parameters one by one.") from error
        for sentence in passed:
            say(sentence)
    return values | typed


def _written(text: str) -> Any:
    """Read JSON, as a run.json is, or YAML, which takes some numbers of JSON for texts."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return yaml.safe_load(text)


def of_a_run(info: Mapping[str, Any], known: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Tell what a run was made with, but for its name and place; and in sentences what of it is not known any more.

    Args:
        info: what its run.json says.
        known: the parameters of the notebooks: another version's may have had others, or of another type.
    """
    kept = {name: value for name, value in info.get("parameters", {}).items() if name not in PLACE}
    fitting: dict[str, Any] = {}
    for name, value in kept.items():
        with contextlib.suppress(RetrainLabError):
            fitting |= check({name: value}, known)
    passed = ", ".join(name for name in kept if name not in fitting)
    return fitting, [f"Passed over, since the notebooks take it no more: {passed}."] if passed else []


def _is_text(text: str, entry: dict[str, Any]) -> bool:
    """Tell whether a parameter's value is the text itself. A list without a default is one of names or paths."""
    texts = entry.get("type") is list and not entry["default"]
    return entry.get("type") is str or (texts and not text.lstrip().startswith("["))


def check(values: Mapping[str, Any], known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Check names and types against the notebooks' own; returns the values, made to fit (2 for a float becomes 2.0).

    Raises:
        RetrainLabError: an unknown name, with the nearest known one; or a value of the wrong type.
    """
    fitted = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            listed = ", ".join(sorted(known))
            raise RetrainLabError(f"Unknown parameter '{name}'.{hint} Known: {listed}.{notebooks.others_note()}")
        wanted = known[name]["type"]
        fitted[name] = _fitted(name, value, wanted, bool(known[name]["default"]))
        if "\0" in "".join(map(str, value if isinstance(value, list) else [value])):
            raise RetrainLabError(f"Parameter {name} is {value!r}. Expected no NUL in it: no file is called so.")
        if not isinstance(fitted[name], wanted) or (wanted is int and isinstance(value, bool)):
            raise RetrainLabError(f"Parameter {name} is {value!r}. Expected {_KINDS[wanted]}: {known[name]['help']}.")
    return fitted


def _fitted(name: str, value: Any, wanted: type, numbers: bool) -> Any:
    """Make a value the type that it stands for; it stays what it is, or becomes None, where it stands for none."""
    if wanted is list:
        return _numbers(value) if numbers else _texts(value, commas=name not in _PATHS)
    if wanted is float and isinstance(value, int | str):
        with contextlib.suppress(ValueError):
            return float(value)  # YAML reads 1e-4, without a dot, as text
    if wanted is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _texts(value: Any, commas: bool) -> list[str] | None:
    """Make a list of a single text, none of an empty one; with `commas`, of each text between two of them."""
    if isinstance(value, str):
        value = [part for part in (map(str.strip, value.split(",")) if commas else [value]) if part]
    values = value if isinstance(value, list) else [value]
    plain = all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values)
    return [str(one) for one in values] if plain else None


def _numbers(value: Any) -> list[float] | None:
    """Make a list of numbers of one, or of a text with commas, as the command gives it."""
    values = value if isinstance(value, list) else [value]
    try:
        return [float(part) for one in values for part in (one.split(",") if isinstance(one, str) else [one])]
    except (TypeError, ValueError):
        return None


def hold(namespace: dict[str, Any]) -> None:
    """Hold what a notebook runs with to the types that its parameters cell declares.

    papermill's -p takes `false` for a text, which counts as true, and 2024 for a number, and makes no lists.

    Args:
        namespace: the notebook's `globals()`, in which Python notes what was declared.

    Raises:
        RetrainLabError: a value of the wrong type, and how papermill takes it.
    """
    for name, kind in namespace.get("__annotations__", {}).items():
        value, kinds = namespace[name], int | float if kind is float else kind
        if kind not in _KINDS or (isinstance(value, kinds) and isinstance(value, bool) == (kind is bool)):
            continue
        how = f"-r {name} VALUE" if kind is str else f"-y '{name}: VALUE'"
        raise RetrainLabError(
            f"Parameter {name} is {value!r}. Expected {_KINDS[kind]}. To papermill it goes as {how}; the command "
            "retrainlab report reads each parameter as what it is."
        )
