"""The command `retrainlab label`."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ..errors import RetrainLabError, writing
from .arguments import place
from .labelling import Progress

if TYPE_CHECKING:  # imported late: the other commands do not need it
    from ..labeling.labelers import Labeler
    from ..labeling.streaming import Answer
    from .answer_files import Form

_MANY = 100  # images; of more it is said how long they took
_COMPARED = 2000  # images of a batch that are compared with those that the classifier was judged by
_UNLIKE = "unlike the images it was trained on"


@click.command()
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
@click.option("--top", type=click.IntRange(1), help="How many labels for each image.  [default: 5; in CSV 1]")
@click.option("--json", "as_json", is_flag=True, help="JSON lines for machines: an object an image.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV: a row an image.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write into this file, .csv or .jsonl, or folder of parts, .parquet. What it has already is kept, and those "
    "images are passed over.",
)
@click.option("--dask_scheduler", default="", help="Label on a Dask cluster: its scheduler's address, or local.")
@click.option(
    "--explain",
    type=click.Path(path_type=Path),
    help="Write into this folder a picture for each image: where its first label comes from. With --model's folder.",
)
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
def label(
    model: str,
    graph: str,
    top: int | None,
    as_json: bool,
    as_csv: bool,
    output: Path | None,
    dask_scheduler: str,
    explain: Path | None,
    images: tuple[Path, ...],
    more: tuple[Path, ...],
    **flags: Any,
) -> None:
    """Label image files, and all images below folders: the most probable labels, best first.

    With --model, what this project exported. With --graph, the frozen graph of anybody's retrain.py, with the flags of
    label_image.py; what they leave open is found in the graph, and said.

    Each image is answered as soon as it is labelled. Thousands go into a file, such as --output new.csv: the same
    command goes on where it was interrupted. A cluster's answers stand in the order in which they came.
    """
    work = Progress(output)
    try:
        from ..bottlenecks import cluster
        from .answer_files import Form, kind_of

        kind = kind_of(as_csv, as_json, output)
        if dask_scheduler and (output is None or explain):
            raise RetrainLabError("--dask_scheduler goes with --output, and without --explain.")
        labeler = _labeler(model, graph, images + more, flags)
        count = min(top or (5 if kind in ("json", "") else 1), len(labeler.labels))
        form = Form(kind, count, _digest(model, graph, labeler, flags)) if kind else None
        explained = _explaining(model, labeler, explain) if explain else None
        cluster.join(dask_scheduler, partial(click.echo, err=True))
        far = _opening(model, graph, flags, place) if dask_scheduler else None
        _label(labeler, far, images + more, count, form, work, explained)
    except KeyboardInterrupt:
        click.echo(work.interrupted, err=True)
        sys.exit(130)
    if work.problems:
        sys.exit(1)


def _opening(
    model: str, graph: str, flags: dict[str, Any], find: Callable[[str], Path] = Path
) -> "Callable[[], Labeler]":
    """Give a function that opens what labels; another process finds it where `find` tells."""
    from ..labeling import label_image, labelers

    if model:
        return partial(labelers.load, find(model))
    labels = {"labels": find(flags["labels"])} if flags["labels"] else {}
    return partial(label_image.load, find(graph), **flags | labels)


def _labeler(model: str, graph: str, images: tuple[Path, ...], flags: dict[str, Any]) -> "Labeler":
    """Open what labels, saying what was assumed about it."""
    given = [f"--{name}" for name, value in flags.items() if value is not None]
    if bool(model) == bool(graph):
        raise RetrainLabError(
            "Say what labels: either --model with a run's model folder, or --graph with a frozen graph."
        )
    if model and given:
        raise RetrainLabError(
            f"{given[0]} goes with --graph. An export that --model names says itself what it expects."
        )
    if not images:
        raise RetrainLabError("There is no image to label. Name some files or folders, or a file with --image.")
    labeler = _opening(model, graph, flags)()
    if labeler.note:
        click.echo(labeler.note, err=True)
    return labeler


def _explaining(model: str, labeler: "Labeler", folder: Path) -> "Callable[[Answer], None]":
    """Give a function that draws where the first label of an image comes from, into a folder."""
    from ..labeling import explaining

    if not Path(model or "none").expanduser().is_dir():
        raise RetrainLabError("--explain goes with --model and a run's model folder: only that knows where to look.")
    explainer, written = explaining.load(Path(model).expanduser()), set[Path]()
    with writing(f"The folder '{folder}'", "Name another one with --explain."):
        place(folder).mkdir(parents=True, exist_ok=True)

    def draw(answer: "Answer") -> None:
        pixels = answer.pixels
        if pixels is None:  # it could not be read
            return
        said = explaining.shown(labeler, *answer.labels[0])
        values = explainer.maps(pixels[None], [labeler.labels.index(said)])[0]
        name = Path(answer.path).name
        file = place(folder) / f"{name}.map.png"  # never the name of the image, which may lie in that folder
        if file in written:  # two folders may hold images of one name
            file = file.with_name(f"{name}.{len(written)}.map.png")
        written.add(file)
        with writing(f"'{file}'", "Make room, and run again."):
            explaining.picture(pixels, values).save(file)

    return draw


def _digest(model: str, graph: str, labeler: "Labeler", flags: dict[str, Any]) -> str:
    """Tell classifiers, and the settings that they are used with, apart: 8 hexadecimal digits."""
    from ..export import contracts
    from ..sealing import digest

    file = Path(model or graph).expanduser()
    told: list[Any]
    if graph:
        told = [digest(file), labeler.labels, {name: flags[name] for name in flags if name != "labels"}]
    elif file.is_dir():
        told = [digest(file / contracts.FILE)]
    else:
        told = [digest(file.parent / contracts.FILE), file.name]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


# --------------------------------------------------------------------------------------------- the work


def _label(
    labeler: "Labeler",
    far: "Callable[[], Labeler] | None",
    images: tuple[Path, ...],
    top: int,
    form: "Form | None",
    work: Progress,
    explained: "Callable[[Answer], None] | None",
) -> None:
    """Label images, and write each answer as it comes; problems go to the standard error."""
    from tqdm import tqdm

    from ..bottlenecks import cluster
    from ..labeling import distributing, streaming
    from . import answer_files, answer_parts

    found = streaming.sources(images)
    several, work.total = len(found) > 1, len(found)
    if form and work.output:
        go_on = answer_parts.go_on if form.kind == "parquet" else answer_files.go_on
        known = go_on(place(work.output), form, found) & found.keys()
        found = {path: source for path, source in found.items() if path not in known}
        work.known = len(known)
        if known:
            click.echo(work.found, err=True)
    # a bar and answers on the same terminal would mix
    bar = sys.stderr.isatty() and (work.output is not None or not sys.stdout.isatty())
    work.started, said, opinions = time.perf_counter(), set[str](), dict.fromkeys(islice(found, _COMPARED))
    if far and found:
        answers = distributing.answers(cluster.current(), far, cast("dict[str, Path]", found), top)
    else:
        answers = streaming.answers(labeler, found, top, explained is not None)
    with (
        _writer(form, work.output, several) as write,
        closing(answers),
        tqdm(answers, "label", len(found), unit=" images", leave=False, disable=not bar) as told,
    ):
        for answer in told:
            write(answer)
            work.done += 1
            if explained is not None:
                explained(answer)
            if answer.path in opinions:
                opinions[answer.path] = answer.opinion
            if answer.note and answer.note not in said:
                said.add(answer.note)  # once for all images that it is true of
                tqdm.write(f"{answer.path}, and others if they are alike: {answer.note}.", file=sys.stderr)
            if answer.problem:
                work.problems += 1
                tqdm.write(f"Error: {answer.path}: {answer.problem}.", file=sys.stderr)
    if work.done > _MANY or (work.done and work.output):
        click.echo(work.summary, err=True)
    if labeler.guarded is not None and (odd := labeler.guarded.guard.warnings(list(filter(None, opinions.values())))):
        click.echo(odd, err=True)


@contextmanager
def _writer(form: "Form | None", output: Path | None, several: bool) -> "Iterator[Callable[[Answer], object]]":
    """Give a function that writes an answer: for people or machines, on the standard output or into a file."""
    from . import answer_files, answer_parts

    if form is None:
        yield lambda answer: click.echo(_lines(answer, several), nl=False)
    elif output is None:
        click.echo(form.header, nl=False)
        yield lambda answer: click.echo(form.line(answer), nl=False)
    elif form.kind == "parquet":
        with answer_parts.adding(place(output), form) as add:
            yield add
    else:
        with answer_files.appending(place(output), form) as lines:
            yield lambda answer: lines.write(form.line(answer))


def _lines(answer: "Answer", several: bool) -> str:
    """Write a line a label, below the name of its image if there are several; as label_image.py did."""
    lines = [answer.path] if several and answer.problem is None else []
    lines += [f"{label} {probability:.5f}" for label, probability in answer.labels]
    if (opinion := answer.opinion) is not None:
        near = [f"most like {path} ({label})" for path, label, _ in opinion.nearest[:1]]
        lines.append("; ".join([f"says: {opinion.said}", *[_UNLIKE] * opinion.unlike, *near]))
    return "".join(f"{line}\n" for line in lines)
