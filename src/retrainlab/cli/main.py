"""The `retrainlab` command."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..errors import RetrainLabError
from .flags import Flags


class _BadUsage(click.ClickException):
    exit_code = 2


class _Command(click.Group):
    """Shows a RetrainLabError as the sentence that it is, and what the system refuses as one, too."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except RetrainLabError as error:
            raise click.ClickException(str(error)) from error
        except click.UsageError as error:  # an unknown flag, a value of the wrong kind: a sentence, without the usage
            raise _BadUsage(error.format_message()) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has gone: click ends quietly
                raise
            raise click.ClickException(_refused(error)) from error


def _refused(error: OSError) -> str:
    """Say what the system refused: 'FILE': REASON."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}." if error.filename is None else f"'{error.filename}': {reason}."


@click.group(cls=_Command)
@click.version_option(__version__)
def main() -> None:
    """Retrain image classifiers on cached bottlenecks, and tell honestly how good they are."""


_params = click.option("--params", type=click.Path(path_type=Path), help="YAML file of notebook parameters.")


def _no_arguments(folder: str) -> Callable[[Any], Any]:
    """Refuse what belongs to no option; mostly it is the folder of images, which goes with the option `folder`."""

    def refuse(_context: click.Context, _parameter: click.Parameter, stray: tuple[str, ...]) -> None:
        if stray:
            raise click.UsageError(
                f"'{stray[0]}' belongs to no option. The folder of images goes with {folder}; a value that holds "
                "spaces needs quotes."
            )

    return click.argument("stray", nargs=-1, expose_value=False, callback=refuse, metavar="")


@main.command()
@click.option("--run", help="Name of the run: its folder under reports/.  [default: demo]")
@_params
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="Set one notebook parameter.")
@click.option("--only", multiple=True, metavar="NN", help="Run only notebooks whose names begin so, such as 03.")
@click.option("--resume", is_flag=True, help="Pass over notebooks that this run has already finished.")
@_no_arguments("-p image_dir")
def report(run: str | None, params: Path | None, pairs: tuple, only: tuple, resume: bool) -> None:
    """Run the notebooks headless and write their pages.

    Without parameters it reports on the embedded images. On your own: retrainlab report --run mine -p image_dir DIR
    """
    from ..pages import reports

    known = reports.all_parameters()
    given = reports.check_parameters(reports.read_parameters(pairs, known, params), known)
    values = {name: _from_here(name, value) for name, value in given.items()}
    run = run or str(values.get("run") or "demo")
    index = reports.report(run, values, only, resume, click.echo)
    found = index.parent / run / "metrics.json"
    if found.exists():
        from ..evaluation.intervals import percent

        metrics = json.loads(found.read_text(encoding="utf-8"))
        for split in ("train", "validation", "test"):
            click.echo(f"  {split + ' accuracy':20} {percent(metrics[split])}")
        if extraction := _extraction(index.parent / run):
            click.echo(f"  {extraction}")
    click.echo(f"Pages: {index}")


def _from_here(name: str, value: Any) -> Any:
    """Paths on a command line count from where the person is; notebooks count them from the project's root.

    Args:
        name: of a parameter.
        value: its value, of the right type, see `reports.check_parameters`.
    """
    from ..datasets import catalogue

    if name == "images":
        return [str(_place(path)) for path in value]
    if not isinstance(value, str) or not value:
        return value
    here = _place(value)
    is_path = name.endswith("_dir") and (value not in catalogue.DATASETS or here.is_dir())
    return str(here) if is_path or (name == "tfhub_module" and here.is_dir()) else value


def _place(path: str | Path) -> Path:
    """Find what a path on the command line names."""
    try:
        return Path.cwd() / Path(path).expanduser()
    except RuntimeError as error:
        raise RetrainLabError(
            f"'{path}' begins with the home folder of nobody who is known here. Expected ~/, or a whole path."
        ) from error


def _extraction(run: Path) -> str:
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return info.get("extraction", "")


@main.command()
@click.option("--run", help="Beginning of the runs' names: NAME-01, NAME-02, ...  [default: sweep]", metavar="NAME")
@_params
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUES", help="Set or vary a notebook parameter.")
@_no_arguments("-p image_dir")
def sweep(run: str | None, params: Path | None, pairs: tuple) -> None:
    """Train every combination of some settings, and compare them: retrainlab sweep -p learning_rate 0.001,0.01,0.1

    Several values stand with commas between them, in a YAML file as a list. How the layer is trained may be varied, and
    tfhub_module, image_size and the distortions. Validation images choose; test images take no part.

    Each combination becomes a light run, without a model. The command that is printed runs the chosen one in full.
    """
    from ..pages import reports
    from . import sweeps, swept

    known = reports.all_parameters()
    given, grid = _grid(pairs, params, known)
    run = run or str(given.pop("run", "")) or "sweep"
    defaults = {name: entry["default"] for name, entry in known.items()}
    found = sweeps.sweep(run, given, grid, defaults, click.echo)
    click.echo("\n" + "\n".join(swept.describe(found)) + "\n")
    index = reports.report(run, given | {"compare": found.compared}, ["06"], say=click.echo)
    best = "" if len(found.compared) == len(found.table) else f" of the best {len(found.compared)}"
    click.echo(f"Comparison{best}: {index.parent / run / '06_compare.html'}")
    click.echo(f"Pages: {index}")


def _grid(
    pairs: tuple, params: Path | None, known: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Read parameters, checked: those with one value, and those with several values to try."""
    from ..pages import reports
    from . import grids

    single, several = grids.divide(pairs, known)
    given = reports.read_parameters(single, known, params)
    grid = {name: value for name, value in given.items() if isinstance(value, list) and _is_one(name, known)}
    for name, texts in several.items():
        grid[name] = [reports.read_parameters([(name, text)], known)[name] for text in texts]
    for name, values in grid.items():
        given.pop(name, None)
        fitted = [reports.check_parameters({name: value}, known)[name] for value in values]
        grid[name] = [_from_here(name, value) for value in fitted]
    given = reports.check_parameters(given, known)
    return {name: _from_here(name, value) for name, value in given.items()}, grid


def _is_one(name: str, known: dict[str, dict[str, Any]]) -> bool:
    """Tell whether a parameter takes a single value, so that a list of them is something to try."""
    return name in known and known[name]["type"] is not list


def _flags(command: Any) -> Any:
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


@main.command()
@_flags
@_no_arguments("--image_dir")
def retrain(**values: Any) -> None:
    """Do what TensorFlow Hub's retrain.py does, with its flags: retrainlab retrain --image_dir ~/photos

    A script that calls retrain.py changes the command's name and gets the files it had. Train, validation and test
    images are divided by a hash of their path inside image_dir, so that they stay what they are when images are added.
    Every image becomes a bottleneck once; the next training on the same images takes seconds, also with distortions.

    The arithmetic is retrain.py's, too. The notebooks do better: they bring the features to one scale and let
    validation choose how much to hold the layer back. Try: retrainlab report --run mine -p image_dir ~/photos
    """
    import logging

    flags = Flags(**values)
    logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("retrainlab").setLevel(flags.logging_verbosity)
    from . import retrain

    retrain.retrain(flags)


@main.command()
@click.option("--model", help="Exported model: a run's model folder, or one file in it.")
@click.option("--graph", help="Frozen graph that retrain.py made, instead of --model.")
@click.option("--labels", help="Its labels, one a line, in class order.  [default: output_labels.txt beside it]")
@click.option("--image", "more", multiple=True, type=click.Path(path_type=Path), help="Image to label, as IMAGES.")
@click.option("--input_layer", help="Node that takes the image.  [default: found in the graph]")
@click.option("--output_layer", help="Node that gives probabilities.  [default: found in the graph]")
@click.option("--input_height", type=click.IntRange(1), help="Pixels.  [default: what the graph says, or 299]")
@click.option("--input_width", type=click.IntRange(1), help="Pixels.  [default: what the graph says, or 299]")
@click.option("--input_mean", type=float, help="Taken from each pixel, 0 to 255.  [default: 0; 128 for `Mul`]")
@click.option("--input_std", type=float, help="What the rest is divided by.  [default: 255; 128 for `Mul`]")
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="How many labels for each image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
def label(model: str, graph: str, top: int, as_json: bool, images: tuple, more: tuple, **flags: Any) -> None:
    """Label image files: the most probable labels, best first.

    With --model, what this project exported. With --graph, the frozen graph of anybody's retrain.py, with the flags of
    label_image.py; what they leave open is found in the graph, and said.
    """
    from ..labeling import label_image, labelers

    given = [f"--{name}" for name, value in flags.items() if value is not None]
    if bool(model) == bool(graph):
        raise RetrainLabError(
            "Say what labels: either --model with a run's model folder, or --graph with a frozen graph."
        )
    if model and given:
        raise RetrainLabError(
            f"{given[0]} goes with --graph. An export that --model names says itself what it expects."
        )
    if not images + more:
        raise RetrainLabError("There is no image to label. Name some files, or one with --image.")
    labeler = labelers.load(model) if model else label_image.load(graph, **flags)
    if labeler.note:
        click.echo(labeler.note, err=True)
    table, problems = labelers.label(labeler, images + more, top)
    by_path = {path: table[table["path"] == path] for path in map(labelers.shown, images + more)}
    if as_json:
        answer = []
        for path, rows in by_path.items():
            labels = [{"label": r.label, "probability": r.probability} for r in rows.itertuples()]
            answer.append({"path": path, "labels": labels, "problem": problems.get(path)})
        click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
    else:
        for path, rows in by_path.items():
            if path in problems:
                continue
            if len(by_path) > 1:
                click.echo(f"{path}")
            for row in rows.itertuples():
                click.echo(f"{row.label} {row.probability:.5f}")
    for path, problem in problems.items():
        click.echo(f"Error: {path}: {problem}.", err=True)
    if problems:
        sys.exit(1)


@main.command()
@click.argument("name", required=False, metavar="NAME")
@click.option("--to", type=click.Path(path_type=Path), help="Folder to make.  [default: data/NAME in the project]")
def fetch(name: str | None, to: Path | None) -> None:
    """Prepare a public dataset as a folder of label folders: elpv, stanford-dogs or flower-photos.

    The images of elpv come with the project; stanford-dogs is 757 MiB to fetch, flower-photos 218 MiB. An interrupted
    download goes on when this is run again.
    """
    from ..datasets import catalogue, fetching

    if name is None:
        raise RetrainLabError(f"Name the dataset to fetch. Expected one of: {', '.join(catalogue.DATASETS)}.")
    folder = fetching.fetch(name, None if to is None else _place(to))
    card = fetching.card(folder)
    click.echo(f"{card['title']}: {card['images']:,} images in {folder}")
    click.echo(f"Licence: {card['licence']}. Please cite:")
    for citation in card["cite"]:
        click.echo(f"  {citation}")
    if "caveat" in card:
        click.echo(f"Mind: {card['caveat']}")


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--reports_dir", help="Folder of the runs.  [default: reports in the project]")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def tensorboard(reports_dir: str | None, options: tuple[str, ...]) -> None:
    """Show the logs of all runs in TensorBoard; further options, such as --port, are passed on to it."""
    from ..pages import board

    sys.exit(subprocess.call(board.command(_from_here("reports_dir", reports_dir) or "reports", *options)))
