"""How good and how quick is fine-tuning on the solar cells, over splits of 75% to 25%? Activations against pixels, too.

As in `solar_cells.py`, the weight decay of the layer that it starts from is chosen inside of the 75%; the network above
the cut then learns from all of them to the last epoch, and the 25% judge it once. Then two epochs are timed, on cached
activations and on the image files, side by side. About five minutes a split on two cores; ten splits, or as many as are
given as an argument.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from solar_cells import chosen

from retrainlab.analysis import resampling
from retrainlab.backbones import cuts, cutting, freezing
from retrainlab.backbones.backbone import Backbone, BackboneSettings
from retrainlab.bottlenecks import activations
from retrainlab.bottlenecks.activations import Activations
from retrainlab.evaluation import scores
from retrainlab.images import grouping
from retrainlab.lab import Lab
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training import finetuning, solver
from retrainlab.training.finetuning import TuningSettings


@dataclass(frozen=True)
class FromPixels(Activations):
    """The same, computed from the files whenever they are asked for, on every core."""

    trunk: Backbone
    photos: ImageFolder

    def batch(self, rows: Sequence[int] | np.ndarray, variants: Sequence[int] | np.ndarray) -> np.ndarray:
        def one(row: int, variant: int) -> np.ndarray:
            (pixels,) = self.photos.read_many([self.table["path"].iloc[row]], self.trunk.image_size)
            return self.trunk.bottlenecks((pixels[:, ::-1] if variant else pixels)[None])[0]

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(one, rows, variants))
        return np.stack(found).reshape(-1, *self.cut.shape)


def main() -> None:
    lab = Lab.open("benchmark", "elpv", 25, 15, reports_dir="reports/.benchmark")
    features = lab.features(BackboneSettings("efficientnet_lite0", average_views=True))
    table, matrix = features.table, features.matrix
    labels, groups = table["label"].to_numpy(), grouping.groups(table).to_numpy()
    quarter = np.where(np.arange(len(labels)) % 4 == 0, "validation", "train")  # how many, not which
    outer = resampling.repeated_folds(labels, groups, quarter, 50)
    cut = cutting.choose(cuts.of(features.plain), "auto")
    graph, settings = cutting.above(freezing.freeze(features.plain), cut), TuningSettings()
    frozen, tuned, minutes = [], [], []
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 10):
        test, learns = outer[number] == "validation", np.where(outer[number] == "train", "train", "test").astype(object)
        (head,) = solver.solve(matrix, labels, learns, [chosen(matrix, labels, learns, groups, number)])
        kept = activations.load(features, cut, table.assign(split=learns))
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            found = finetuning.fine_tune(graph, kept, head, settings, Path(place), until=settings.epochs)
        minutes.append((time.perf_counter() - began) / 60)
        for right, logits in ((frozen, head.logits(matrix)), (tuned, finetuning.logits(graph, kept, found, settings))):
            right.append(scores.correct(logits[test], pd.Series(labels[test]), head.labels).mean())
        print(f"split {number}: frozen {frozen[-1]:.2%}, fine-tuned {tuned[-1]:.2%}, {minutes[-1]:.1f} min", flush=True)
    for name, right in {"the last layer, mirrored views": frozen, f"fine-tuned above {cut.name}": tuned}.items():
        low, high = resampling.corrected_interval(right, 0.25)
        print(f"{name}: {np.mean(right):.2%} [{low:.1%}, {high:.1%}] over {len(right)} splits")
    kept = activations.load(features, cut, table.assign(split=learns))
    pixels = FromPixels(
        **{field.name: getattr(kept, field.name) for field in fields(kept)},
        trunk=cutting.trunk(features.plain, cut),
        photos=features.photos,
    )
    seconds, right = {}, {}
    for name, given in {"activations": kept, "pixels": pixels, "activations again": kept}.items():
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            found = finetuning.fine_tune(graph, given, head, settings, Path(place), until=2)
        seconds[name] = time.perf_counter() - began
        logits = finetuning.logits(graph, kept, found, settings)
        right[name] = scores.correct(logits[test], pd.Series(labels[test]), head.labels).mean()
    own = (seconds["activations"] + seconds["activations again"]) / 2
    print(f"two epochs from activations: {own:.0f} s, {right['activations']:.2%}")
    print(
        f"two epochs from pixels: {seconds['pixels']:.0f} s, {right['pixels']:.2%}: {seconds['pixels'] / own:.2f} times"
    )


if __name__ == "__main__":
    main()
