"""A run repeated under its name takes its own parameters: what is in force, and whether it is still the same run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import project
from ..datasets import fetching
from ..errors import RetrainLabError
from ..runs.run_folder import Run
from . import parameters

_NAMED = 5  # parameters that are said one by one, at most


def in_force(
    run: Run,
    given: Mapping[str, Any],
    known: Mapping[str, dict[str, Any]],
    defaults: Mapping[str, Any],
    anew: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Tell every parameter in force: what is given now, else what the run was given before, else the default.

    Args:
        run: it need not be there yet.
        given: parameters given now, checked.
        known: the parameters of all notebooks, see `parameters.declared`.
        defaults: of the parameters that matter now; the others stay as they are, unsaid.
        anew: forget what the run was given before; it may be of other images than it was.

    Returns:
        The parameters, and sentences on those that were not given now.

    Raises:
        RetrainLabError: the run is of other images than those that are given, or it is to be forgotten which.
    """
    info = run.info()
    had = info.get("dataset", {}).get("image_dir")
    if had and "image_dir" in given and not anew:
        _check_images(run.name, Path(had), given["image_dir"])
    usual = fetching.whereabouts(str(known["image_dir"]["default"]))
    if had and anew and "image_dir" not in given and Path(had).resolve() != usual.resolve():
        raise RetrainLabError(
            f"Run '{run.name}' is of the images in '{had}', and --replace forgets which. Name them: -p image_dir DIR."
        )
    own, passed = ({}, []) if anew else parameters.of_a_run(info, known)
    own = {"image_dir": had} | own if had and not anew else own
    lasting = {name: _lasting(name, value) for name, value in defaults.items()}
    values = lasting | own | dict(given) | {"run": run.name}
    forgets = anew and bool(info)
    came = "anew, without what it was given before" if forgets else "as before" if own else "is new"
    taken = _said({name: values[name] for name in lasting if name not in given}, lasting)
    said = [f"Run '{run.name}' {came}{taken and ': '}{taken}."] if taken or forgets else []
    return values, said + passed


def _check_images(run: str, had: Path, asked: str) -> None:
    folder = fetching.whereabouts(asked)
    if folder.resolve() != had.resolve():
        raise RetrainLabError(
            f"Run '{run}' is of the images in '{had}', and those in '{folder}' are asked for. Give them another --run, "
            "or make this run anew of them by --replace: what it was given before is then forgotten, and what it has "
            "learnt replaced."
        )


def _lasting(name: str, default: Any) -> Any:
    """Make a default that is a path count from anywhere: notebooks count it from the project's root."""
    if name == "image_dir":
        return fetching.lasting(default)
    if name == "tfhub_module":
        return project.module(default)
    is_path = name.endswith(parameters.PATHS) and name not in parameters.PLACE and default and default[0] != "~"
    return str(project.place(default)) if is_path else default


def _said(taken: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Say of which images a run is, and which of its parameters are its own, no defaults."""
    own = [name for name in taken if name == "image_dir" or taken[name] != defaults[name]]
    said = [f"{name} {_brief(taken[name])}" for name in own if name not in parameters.PLACE]
    more = [f"and {len(said) - _NAMED} more"] if len(said) > _NAMED else []
    return ", ".join(said[:_NAMED] + more)


def _brief(value: Any) -> str:
    """Write a parameter as `-p` takes it, and the home folder as ~."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    home = str(Path.home())
    return f"~{value.removeprefix(home)}" if value.startswith(f"{home}/") else value or "''"
