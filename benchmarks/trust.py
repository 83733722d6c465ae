"""How far can the doubts about single answers be trusted? The solar cells over 20 splits of 60, 15 and 25%.

In each split a layer is trained on the 60%, the guard is set on the 15%, and the 25% judge it: how often sets meant for
90% hold the label; how often a random batch of 100 of them raises an alarm, and such a batch that is blurred, darkened
or saved as JPEG 30; how many test cells are called unlike, and how well crops of everyday photos are told from them.
Then the hardest: each of the four kinds of cells (mono- or polycrystalline, functional or defective) left out in turn,
and each of the ten handwritten digits of scikit-learn. About three minutes on two cores, with the bottlenecks there.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from elpv_dataset.utils import load_dataset
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from retrainlab.analysis import resampling
from retrainlab.backbones.backbone import BackboneSettings
from retrainlab.bottlenecks.features import Features
from retrainlab.evaluation.calibration import softmax
from retrainlab.images import grouping
from retrainlab.lab import Lab
from retrainlab.pixels.conditions import Condition
from retrainlab.training import solver
from retrainlab.training.heads import Head, HeadSettings
from retrainlab.trust import batches, foreign, guard, likeness

SPLITS, BATCH, CROPS = 20, 100, 30
DAMAGE = [Condition("blurred", 2), Condition("blurred", 3), Condition("darker", 2), Condition("darker", 3)]
DAMAGE += [Condition("JPEG", 2)]


def everyday(size: tuple[int, int]) -> np.ndarray:
    """Crops of two photos, a temple and a flower, uint8 [60, height, width, 3]."""
    random, found = np.random.default_rng(0), []
    for photo in load_sample_images().images:
        for _ in range(CROPS):
            top, left = (int(random.integers(0, whole - side)) for whole, side in zip(photo.shape, size, strict=False))
            found.append(photo[top : top + size[0], left : left + size[1]])
    return np.stack(found)


def thirds(labels: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """Split 25% for test off, then 15% of all for validation: of each split, [n] of its names."""
    quarter = np.where(np.arange(len(labels)) % 4 == 0, "validation", "train")  # how many, not which
    found = []
    for number, outer in enumerate(resampling.repeated_folds(labels, groups, quarter, SPLITS)):
        split, rest = np.full(len(labels), "test", dtype=object), np.flatnonzero(outer == "train")
        fifth = np.where(np.arange(len(rest)) % 5 == 0, "validation", "train")
        split[rest] = resampling.repeated_folds(labels[rest], groups[rest], fifth, 5, number)[0]
        found.append(split)
    return found


def spread(values: Sequence[np.floating]) -> str:
    return f"{np.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def main() -> None:
    lab = Lab.open("benchmark", "elpv", 25, 15, reports_dir="reports/.benchmark")
    features = lab.features(BackboneSettings("efficientnet_lite0"))
    table, matrix = features.table, features.matrix
    labels, groups = table["label"].to_numpy(), grouping.groups(table).to_numpy()
    everything = np.arange(len(table))
    damaged = {str(one): features.under(one, everything) for one in DAMAGE}
    strange = features.backbone.bottlenecks(everyday(features.backbone.image_size))
    covered, alarms, unlike, areas, called = [], [], [], [], []
    noticed: dict[str, list[bool]] = {name: [] for name in damaged}
    for number, split in enumerate(thirds(labels, groups)):
        (head,) = solver.solve(matrix, labels, split, [HeadSettings(weight_decay=0.3)])
        predicted = pd.DataFrame({"logits": list(head.logits(matrix))})
        known = guard.learn(matrix, table.assign(split=split), predicted, head.labels)
        test, random = np.flatnonzero(split == "test"), np.random.default_rng(number)

        def asked(rows: np.ndarray, head: Head = head, known: guard.Guard = known) -> list[guard.Opinion]:
            return known.opinions(rows, softmax(head.logits(rows)))

        usual, others = asked(matrix[test]), asked(strange)
        covered.append(np.mean([labels[row] in one.held for row, one in zip(test, usual, strict=True)]))
        unlike.append(np.mean([one.unlike for one in usual]))
        called.append(np.mean([one.unlike for one in others]))
        areas.append(foreign.area(*(np.array([one.strangeness for one in some]) for some in (others, usual))))
        drawn = [random.choice(len(test), BATCH, replace=False) for _ in range(20)]
        alarms += [known.differs([usual[place] for place in some]) < batches.CHANCE for some in drawn]
        for name, seen in damaged.items():
            noticed[name].append(known.differs(asked(seen[test[drawn[0]]])) < batches.CHANCE)
    print(f"sets meant for 90% hold the label: {spread(covered)}")
    print(f"test cells called unlike (5% meant): {spread(unlike)}; crops of photos: {spread(called)}")
    print(f"area under ROC, photos against test cells: {np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})")
    print(f"alarms: {np.sum(alarms)} of {len(alarms)} batches of {BATCH} as they are")
    for name, found in noticed.items():
        print(f"alarms: {np.sum(found)} of {len(found)} batches of {BATCH} {name}")
    for name, areas in left_out(features, labels, groups).items():
        print(f"left out, {name}: area under ROC {np.mean(areas):.2f} ({', '.join(f'{area:.2f}' for area in areas)})")


def left_out(features: Features, labels: np.ndarray, groups: np.ndarray) -> dict[str, list[float]]:
    """Each kind of cell, and each digit, left out and told by the detector that leaving out the others chose."""
    cell = features.table["path"].str.extract(r"cell(\d+)")[0].astype(int).to_numpy()
    kinds = np.char.add((labels + ", ").astype(str), np.asarray(load_dataset()[2])[cell - 1].astype(str))
    digits = load_digits()
    size = features.backbone.image_size
    drawn = [Image.fromarray((16 * each).clip(0, 255).astype(np.uint8)) for each in digits.images]
    pixels = np.stack([np.asarray(each.resize(size, Image.Resampling.BICUBIC).convert("RGB")) for each in drawn])
    matrix = np.concatenate([features.backbone.bottlenecks(some) for some in np.array_split(pixels, len(pixels) // 32)])
    single = np.arange(len(matrix))
    return {
        "each of four kinds of cells": _left_out(features.matrix, kinds, groups),
        "each of ten digits": _left_out(matrix, digits.target, single),
    }


def _left_out(matrix: np.ndarray, kinds: np.ndarray, groups: np.ndarray) -> list[float]:
    held = thirds(kinds, groups)[0] != "train"
    found = []
    for left in np.unique(kinds):
        known = ~held & (kinds != left)
        like = likeness.learn(matrix[known])
        places, classes = like.place(matrix), np.unique(kinds, return_inverse=True)[1]
        others = kinds != left
        name = foreign.choose(foreign.leave_labels_out(places[others], classes[others], held[others]))
        score = foreign.DETECTORS[name](places[known], classes[known])
        found.append(foreign.area(score(places[held & ~others]), score(places[held & others])))
    return found


if __name__ == "__main__":
    main()
