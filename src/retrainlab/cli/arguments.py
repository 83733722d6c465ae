"""What the commands' arguments have in common: strays are refused, paths count from where the person is."""

import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

import click

from ..errors import RetrainLabError
from .flags import Flags

params_option = click.option(
    "--params", type=click.Path(path_type=Path), help="YAML file of notebook parameters, or the run.json of a run."
)
replace_option = click.option(
    "--replace", is_flag=True, help="Forget what a run of this name was given before; it may get other images."
)


def no_arguments(folder: str) -> Callable[[Any], Any]:
    """Refuse what belongs to no option; mostly it is the folder of images, which goes with the option `folder`."""

    def refuse(_context: click.Context, _parameter: click.Parameter, stray: tuple[str, ...]) -> None:
        if stray:
            raise click.UsageError(
                f"'{stray[0]}' belongs to no option. The folder of images goes with {folder}; a value that holds "
                "spaces needs quotes."
            )

    return click.argument("stray", nargs=-1, expose_value=False, callback=refuse, metavar="")


def flags(command: Any) -> Any:
    """Give a command the flags of retrain.py."""
    for flag in reversed(fields(Flags)):
        command = click.option(
            f"--{flag.name}",
            type=type(flag.default),
            default=flag.default,
            is_flag=isinstance(flag.default, bool),
            show_default=True,
            help=flag.metadata["help"],
        )(command)
    return command


def place(path: str | Path) -> Path:
    """Find what a path on the command line names.

    Raises:
        RetrainLabError: it begins with the home folder of somebody who is not known.
    """
    try:
        return Path.cwd() / Path(path).expanduser()
    except RuntimeError as error:
        raise RetrainLabError(
            f"'{path}' begins with the home folder of nobody who is known here. Expected ~/, or a whole path."
        ) from error


def terminal() -> TextIO | None:
    """The terminal that a person watches, where lines can be rewritten; None for a pipe, a log file or a dumb one."""
    return sys.stdout if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else None


def from_here(name: str, value: Any) -> Any:
    """Make a parameter's paths count from where the person is; notebooks count them from the project's root.

    Args:
        name: of a parameter.
        value: its value, of the right type, see `parameters.check`.
    """
    from ..datasets import catalogue
    from ..pages import parameters

    if name == "images":
        return [str(place(path)) for path in value]
    if not isinstance(value, str) or not value:
        return value
    here = place(value)
    is_path = name.endswith(parameters.PATHS) and (value not in catalogue.DATASETS or here.is_dir())
    return str(here) if is_path or (name == "tfhub_module" and here.exists()) else value


def grid(
    pairs: tuple, params: Path | None, known: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Read parameters, checked: those with one value, and those with several values to try."""
    from ..pages import parameters
    from . import grids

    single, several = grids.divide(pairs, known)
    given = parameters.read(single, known, params)
    lists = {name for name, value in given.items() if isinstance(value, list) and name in known}
    tried = {name: given.pop(name) for name in lists if known[name]["type"] is not list}
    for name, texts in several.items():
        given.pop(name, None)
        tried[name] = [parameters.read([(name, text)], known)[name] for text in texts]
    for name, values in tried.items():
        tried[name] = [from_here(name, parameters.check({name: value}, known)[name]) for value in values]
    return {name: from_here(name, value) for name, value in parameters.check(given, known).items()}, tried
