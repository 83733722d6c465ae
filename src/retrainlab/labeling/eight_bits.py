"""What an 8-bit export costs and wins against the float one."""

from pathlib import Path

import pandas as pd

from ..errors import RetrainLabError
from ..evaluation import intervals
from ..evaluation.finding import Finding, finding
from . import labelers

_FILES = ["model.tflite", "model_int8.tflite"]
_MOST = 1000  # images that are labelled by both


@finding("What 8 bits cost and win")
def compare(model: Path, rows: pd.DataFrame, image_dir: Path, int8: bool, seed: int = 0) -> Finding:
    """Measure both exports: size, time an image and accuracy, paired on at most 1,000 images.

    Args:
        model: the exported folder.
        rows: of the predictions table: path, label.
        image_dir: the folder that the paths count from.
        int8: whether there is an 8-bit export.
        seed: of the images drawn.
    """
    question = "What 8 bits cost and win"
    if not int8:
        return Finding(question, "int8 is off.")
    if rows.empty:
        raise RetrainLabError("There are neither test nor validation images.")
    some = rows.sample(min(len(rows), _MOST), random_state=seed)
    paths = [image_dir / path for path in some["path"]]
    facts, right = zip(*(labelers.measure(model / file, paths, some["label"]) for file in _FILES), strict=True)
    cost = intervals.paired_difference(right[1], right[0], seed)
    said = f"8 bits change accuracy by {intervals.points(cost)}, n = {len(some):,}."
    table = pd.DataFrame(facts, index=_FILES).style.format(precision=3)
    return Finding(question, said, numbers={"accuracy": cost}, table=table)
