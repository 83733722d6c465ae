"""The command `retrainlab label`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import RetrainLabError


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
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="How many labels for each image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
def label(model: str, graph: str, top: int, as_json: bool, images: tuple, more: tuple, **flags: Any) -> None:
    """Label image files: the most probable labels, best first.

    With --model, what this project exported. With --graph, the frozen graph of anybody's retrain.py, with the flags of
    label_image.py; what they leave open is found in the graph, and said.
    """
    from ..labeling import answering, label_image, labelers

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
    table, problems = answering.label(labeler, images + more, top)
    answers = [
        {
            "path": path,
            "labels": table.loc[table["path"] == path, ["label", "probability"]].to_dict("records"),
            "problem": problems.get(path),
        }
        for path in dict.fromkeys(map(answering.shown, images + more))
    ]
    click.echo(json.dumps(answers, ensure_ascii=False, indent=1) if as_json else _lines(answers), nl=as_json)
    for path, problem in problems.items():
        click.echo(f"Error: {path}: {problem}.", err=True)
    if problems:
        sys.exit(1)


def _lines(answers: list[dict[str, Any]]) -> str:
    """Write a line a label, below the name of its image if there are several; as label_image.py did."""
    lines = []
    for answer in answers:
        if answer["problem"] is None and len(answers) > 1:
            lines.append(answer["path"])
        lines += [f"{row['label']} {row['probability']:.5f}" for row in answer["labels"]]
    return "".join(f"{line}\n" for line in lines)
