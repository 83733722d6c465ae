"""The `retrainlab` command."""

import errno
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from .. import __version__, project
from ..errors import RetrainLabError
from .arguments import flags, from_here, grid, no_arguments, params_option, place, replace_option, terminal
from .flags import Flags
from .label import label


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


main.add_command(label)


@main.command()
@click.option("--run", help="Name of the run: its folder under reports/.  [default: demo]")
@params_option
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="Set one notebook parameter.")
@click.option("--only", multiple=True, metavar="NN", help="Run only notebooks whose names begin so, such as 03.")
@click.option("--resume", is_flag=True, help="Pass over notebooks that this run has already finished.")
@replace_option
@no_arguments("-p image_dir")
def report(run: str | None, params: Path | None, pairs: tuple, only: tuple, resume: bool, replace: bool) -> None:
    """Run the notebooks headless and write their pages.

    Without parameters it reports on the embedded images. On your own: retrainlab report --run mine -p image_dir DIR

    A run that is there already takes its own parameters, but for what is given now. To repeat it under another name:
    retrainlab report --run other --params reports/mine/run.json
    """
    from ..pages import notebooks, parameters, reports
    from ..runs.run_folder import Run
    from . import closing

    known = parameters.known()
    given = parameters.check(parameters.read(pairs, known, params), known)
    values = {name: from_here(name, value) for name, value in given.items()}
    run = run or str(values.get("run") or "demo")
    index = reports.report(run, values, only, resume, replace, click.echo, terminal())
    for line in closing.lines(Run(index.parent / run), [book.stem for book in notebooks.chosen(only)]):
        click.echo(line)
    click.echo(f"Pages: {index.as_uri()}")


@main.command()
@click.option("--run", help="Beginning of the runs' names: NAME-01, NAME-02, ...  [default: sweep]", metavar="NAME")
@params_option
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUES", help="Set or vary a notebook parameter.")
@replace_option
@no_arguments("-p image_dir")
def sweep(run: str | None, params: Path | None, pairs: tuple, replace: bool) -> None:
    """Train every combination of some settings, and compare them: retrainlab sweep -p learning_rate 0.001,0.01,0.1

    Several values stand with commas between them, in a YAML file as a list. How the layer is trained may be varied, and
    tfhub_module, image_size, the distortions and fine-tuning, which takes minutes for each combination. Validation
    images choose; test images take no part. A sweep that is there already takes its own parameters, as a report does,
    but for the settings that are varied.

    Each combination becomes a light run, without a model. The command that is printed runs the chosen one in full.
    """
    from ..pages import parameters, reports
    from . import sweeps, swept

    known = parameters.known()
    given, tried = grid(pairs, params, known)
    run = run or str(given.pop("run", "")) or "sweep"
    found = sweeps.sweep(run, given, tried, known, replace, click.echo)
    click.echo("\n" + "\n".join(swept.describe(found)) + "\n")
    place = {name: value for name, value in given.items() if name == "reports_dir"}
    index = reports.report(run, place | {"compare": found.compared}, ["06"], say=click.echo, screen=terminal())
    best = "" if len(found.compared) == len(found.table) else f" of the best {len(found.compared)}"
    click.echo(f"Comparison{best}: {(index.parent / run / '06_compare.html').as_uri()}")
    click.echo(f"Pages: {index.as_uri()}")


@main.command()
@flags
@no_arguments("--image_dir")
def retrain(**values: Any) -> None:
    """Do what TensorFlow Hub's retrain.py does, with its flags: retrainlab retrain --image_dir ~/photos

    A script that calls retrain.py changes the command's name and gets the files it had. Train, validation and test
    images are divided by a hash of their path inside image_dir, so that they stay what they are when images are added.
    Every image becomes a bottleneck once; the next training on the same images takes seconds, also with distortions.

    The arithmetic is retrain.py's, too. The notebooks do better: they bring the features to one scale and let
    validation choose how much to hold the layer back. Try: retrainlab report --run mine -p image_dir ~/photos
    """
    given = Flags(**values)
    logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("retrainlab").setLevel(given.logging_verbosity)
    from . import retrain

    retrain.retrain(given)


@main.command()
@click.argument("name", required=False, metavar="NAME")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Folder to make.  [default: data/NAME in a project with notebooks of its own, else in the user's cache]",
)
def fetch(name: str | None, to: Path | None) -> None:
    """Prepare a public dataset as a folder of label folders: elpv, stanford-dogs or flower-photos.

    The images of elpv come with the project; stanford-dogs is 757 MiB to fetch, flower-photos 218 MiB. An interrupted
    download goes on when this is run again.
    """
    from ..datasets import catalogue, fetching

    if name is None:
        raise RetrainLabError(f"Name the dataset to fetch. Expected one of: {', '.join(catalogue.DATASETS)}.")
    folder = fetching.fetch(name, None if to is None else place(to))
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

    folder = from_here("reports_dir", reports_dir) or "reports"
    if said := board.note(folder):
        click.echo(said, err=True)
    sys.exit(board.serve(folder, options))


@main.command()
@click.argument("folder", default="notebooks", metavar="[DIR]", type=click.Path(path_type=Path))
def notebooks(folder: Path) -> None:
    """Copy the notebooks into a folder, to explore and change; what is there already is never overwritten.

    The command report runs the notebooks of a folder that is called notebooks, else those that it came with.
    """
    from ..pages import notebooks

    to = place(folder)
    copied = notebooks.copy(to)
    own, called = project.command(), shlex.quote(str(folder))
    click.echo(f"{len(copied)} notebooks in {to}. To open them: {own.removesuffix('retrainlab')}jupyter lab {called}")
    if to.name != "notebooks":
        click.echo(f"{own} report runs those of a folder called notebooks, else the ones it came with.")
