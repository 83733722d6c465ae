"""The command `retrainlab label`."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RetrainLabError, writing
from .arguments import place

if TYPE_CHECKING:  # imported late: the other commands do not need it
    from ..labeling.labelers import Labeler
    from ..labeling.streaming import Answer
    from ..trust.guard import Opinion
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
    help="Write into this file, .csv or .jsonl. What it has already is kept, and those images are passed over.",
)
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
    explain: Path | None,
    images: tuple[Path, ...],
    more: tuple[Path, ...],
    **flags: Any,
) -> None:
    """Label image files, and all images below folders: the most probable labels, best first.

    With --model, what this project exported. With --graph, the frozen graph of anybody's retrain.py, with the flags of
    label_image.py; what they leave open is found in the graph, and said.

    Each image is answered as soon as it is labelled. Thousands go into a file, such as --output new.csv: the same
    command goes on where it was interrupted.
    """
    work = _Work(output)
    try:
        from .answer_files import Form, kind_of

        kind = kind_of(as_csv, as_json, output)
        labeler = _labeler(model, graph, images + more, flags)
        count = min(top or (1 if kind == "csv" else 5), len(labeler.labels))
        form = Form(kind, count, _digest(model, graph, labeler, flags)) if kind else None
        explained = _explaining(model, labeler, explain) if explain else None
        _label(labeler, images + more, count, form, work, explained)
    except KeyboardInterrupt:
        click.echo(work.interrupted, err=True)
        sys.exit(130)
    if work.problems:
        sys.exit(1)


def _labeler(model: str, graph: str, images: tuple[Path, ...], flags: dict[str, Any]) -> "Labeler":
    """Open what labels, saying what was assumed about it."""
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
    if not images:
        raise RetrainLabError("There is no image to label. Name some files or folders, or a file with --image.")
    labeler = labelers.load(model) if model else label_image.load(graph, **flags)
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
        values = explainer.maps(pixels[None], [labeler.labels.index(answer.labels[0][0])])[0]
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

    file = Path(model or graph).expanduser()
    told: list[Any]
    if graph:
        told = [contracts.digest(file), labeler.labels, {name: flags[name] for name in flags if name != "labels"}]
    elif file.is_dir():
        told = [contracts.digest(file / contracts.FILE)]
    else:
        told = [contracts.digest(file.parent / contracts.FILE), file.name]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


# --------------------------------------------------------------------------------------------- the work


@dataclass
class _Work:
    """How far the work is, for people.

    Attributes:
        output: the file that is written, as it was named.
        total: images asked for.
        known: those that the file had already.
        done: those that were answered now, also by a problem.
        problems: those of them that could not be labelled.
    """

    output: Path | None
    total: int = 0
    known: int = 0
    done: int = 0
    problems: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def summary(self) -> str:
        seconds = time.perf_counter() - self.started
        failed = f", {self.problems:,} could not be labelled" * bool(self.problems)
        return f"{_images(self.done)} in {seconds:.1f} s ({self.done / seconds:.0f} images/s){failed}."

    @property
    def found(self) -> str:
        """What the file had already."""
        if self.known == self.total:
            return f"{_images(self.total)}: {self.output} has them all already."
        return f"{_images(self.known)} {'is' if self.known == 1 else 'are'} in {self.output} already."

    @property
    def interrupted(self) -> str:
        if not self.total:
            return "Interrupted before the first image."
        said = f"Interrupted: {self.known + self.done:,} of {_images(self.total)} are labelled"
        return f"{said} and in {self.output}; the same command goes on with the others." if self.output else f"{said}."


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _label(
    labeler: "Labeler",
    images: tuple[Path, ...],
    top: int,
    form: "Form | None",
    work: _Work,
    explained: "Callable[[Answer], None] | None",
) -> None:
    """Label images, and write each answer as it comes; problems go to the standard error."""
    from tqdm import tqdm

    from ..labeling import streaming
    from .answer_files import go_on

    found = streaming.sources(images)
    several, work.total = len(found) > 1, len(found)
    if form and work.output:
        known = go_on(place(work.output), form, found) & found.keys()
        found = {path: source for path, source in found.items() if path not in known}
        work.known = len(known)
        if known:
            click.echo(work.found, err=True)
    # a bar and answers on the same terminal would mix
    bar = sys.stderr.isatty() and (work.output is not None or not sys.stdout.isatty())
    work.started, said, opinions = time.perf_counter(), set[str](), list["Opinion"]()
    with (
        _writer(form, work.output, several) as write,
        closing(streaming.answers(labeler, found, top, explained is not None)) as answers,
        tqdm(answers, "label", len(found), unit=" images", leave=False, disable=not bar) as told,
    ):
        for answer in told:
            write(answer)
            work.done += 1
            if explained is not None:
                explained(answer)
            if answer.opinion is not None and len(opinions) < _COMPARED:
                opinions.append(answer.opinion)
            if answer.note and answer.note not in said:
                said.add(answer.note)  # once for all images that it is true of
                tqdm.write(f"{answer.path}, and others if they are alike: {answer.note}.", file=sys.stderr)
            if answer.problem:
                work.problems += 1
                tqdm.write(f"Error: {answer.path}: {answer.problem}.", file=sys.stderr)
    if work.done > _MANY or (work.done and work.output):
        click.echo(work.summary, err=True)
    if labeler.guarded is not None and (odd := labeler.guarded.guard.warnings(opinions)):
        click.echo(odd, err=True)


@contextmanager
def _writer(form: "Form | None", output: Path | None, several: bool) -> "Iterator[Callable[[Answer], object]]":
    """Give a function that writes an answer: for people or machines, on the standard output or into a file."""
    from .answer_files import appending

    if form is None:
        yield lambda answer: click.echo(_lines(answer, several), nl=False)
    elif output is None:
        click.echo(form.header, nl=False)
        yield lambda answer: click.echo(form.line(answer), nl=False)
    else:
        with appending(place(output), form) as lines:
            yield lambda answer: lines.write(form.line(answer))


def _lines(answer: "Answer", several: bool) -> str:
    """Write a line a label, below the name of its image if there are several; as label_image.py did."""
    lines = [answer.path] if several and answer.problem is None else []
    lines += [f"{label} {probability:.5f}" for label, probability in answer.labels]
    if (opinion := answer.opinion) is not None:
        near = [f"most like {path} ({label})" for path, label, _ in opinion.nearest[:1]]
        lines.append("; ".join([f"says: {opinion.said}", *[_UNLIKE] * opinion.unlike, *near]))
    return "".join(f"{line}\n" for line in lines)
