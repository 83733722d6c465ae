"""What a classifier answers to a few images, shown beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluation.finding import Finding
from ..images.decoding import read_many
from . import labelers


def answer(labeler: labelers.Labeler, images: Sequence[Path | str] | Mapping[str, bytes], top: int = 5) -> Finding:
    """Label images, and show each beside its most probable labels; `labelers.label` says what comes in.

    Returns:
        A Finding whose sentence says, a line each, which images could not be labelled, and why. Its details are the
        table of `labelers.label`.
    """
    table, problems = labelers.label(labeler, images, top)
    sources = images if isinstance(images, Mapping) else {labelers.shown(path): path for path in images}

    def draw() -> Any:
        from .. import plots

        labelled = table["path"].unique()
        pictures = read_many([sources[path] for path in labelled], (160, 160))
        return plots.label_bars(table, dict(zip(labelled, pictures, strict=True)))

    said = "\n".join(f"{path}: {problem}." for path, problem in problems.items())
    return Finding("What these images are", said, draw=draw if len(table) else None, details=table)
