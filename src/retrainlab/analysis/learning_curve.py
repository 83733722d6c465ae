"""The learning curve: layers trained on fewer and fewer images. What it promises for more is told by `power_law`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..evaluation import scores
from ..training import solver, trainer
from ..training.heads import HeadSettings

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)  # of the training images
_APART = 50_000  # weights of a head from which on arithmetic costs more than starting it: no need to share a step


@dataclass(frozen=True)
class LearningCurve:
    """Heads trained on fewer and fewer images.

    Attributes:
        sizes: float [sizes], training images of a head, mean over members; ascending.
        hits: float32 [sizes, members, n], 1 where a member of that size is right about a row, NaN where it does not
            validate it.
        train_accuracy: float [sizes, members], on the images that the head was trained on.
        labels, groups: [n].
    """

    sizes: np.ndarray
    hits: np.ndarray
    train_accuracy: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def measure(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    groups: np.ndarray,
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
) -> LearningCurve:
    """Train every fold on nested shares of its training images, with the same settings, and judge its validation part.

    Each member draws its own images, label by label, so that differences between members show what the draw does. A
    label keeps at least one image. Sizes that come out the same are measured once.

    Args:
        features: float32 [n, dim].
        labels: [n].
        splits: [members, n] as of `resampling.repeated_folds`; more repeats make the curve steadier.
        groups: [n]; images of one group are drawn together, as they would be found together.
        seed: of the draws.
        fractions: of the training images, above 0 up to 1, ascending; the last is 1.
    """
    labels = np.asarray(labels, dtype=object).astype(str)
    draws = [np.random.default_rng([seed, member]) for member in range(len(splits))]
    own = [
        _nested(labels, groups, split == "train", fractions, draw) for split, draw in zip(splits, draws, strict=True)
    ]
    drawn = np.stack(own, axis=1)  # [sizes, members, n]
    sizes, kept = np.unique(drawn.sum(axis=2).mean(axis=1), return_index=True)
    hits = np.full((len(sizes), *splits.shape), np.nan, np.float32)
    train_accuracy = np.full((len(sizes), len(splits)), np.nan)
    members = np.arange(len(splits))
    together = features.shape[1] * len(np.unique(labels)) < _APART
    each = [members] if together else members[:, None]
    tasks = [(place, number, part) for place, number in enumerate(kept) for part in each]
    for place, number, part in tqdm(tasks, "retrain on fewer images", unit=" stacks", leave=False, disable=None):
        mine = drawn[number][part]  # [part, n]
        parts = np.where(mine, "train", np.where(splits[part] == "validation", "validation", "test")).astype(object)
        right = _hits(features, labels, parts, settings)
        hits[place, part] = np.where(parts == "validation", right, np.nan)
        train_accuracy[place, part] = np.average(right, axis=1, weights=mine)
    return LearningCurve(sizes, hits, train_accuracy, labels, groups)


def weakest(curve: LearningCurve, count: int = 5) -> list[str]:
    """Name the labels with the lowest out-of-fold accuracy with all training images, lowest first.

    The lowest of many look worse than they are; their gain is still measured on the same images at every size.
    """
    hits = pd.DataFrame(curve.hits[-1]).mean()  # of each image; NaN where it was never judged
    return hits.groupby(curve.labels).mean().dropna().nsmallest(count).index.tolist()


def _nested(
    labels: np.ndarray, groups: np.ndarray, own: np.ndarray, fractions: Sequence[float], random: np.random.Generator
) -> np.ndarray:
    """Draw shares of a training split, each within the next, label by label and group by group: bool [fractions, n]."""
    rows = np.flatnonzero(own)
    _, first, unit = np.unique(groups[rows], return_index=True, return_inverse=True)
    label = pd.Series(labels[rows][first])
    order = random.permutation(len(label))
    place = label.iloc[order].groupby(label.iloc[order]).cumcount().sort_index().to_numpy()
    of = label.groupby(label).transform("size").to_numpy()
    drawn = np.zeros((len(fractions), len(own)), bool)
    for number, fraction in enumerate(fractions):
        drawn[number, rows] = (place < np.maximum(1, np.round(fraction * of)))[unit]
    return drawn


def _hits(features: np.ndarray, labels: np.ndarray, splits: np.ndarray, settings: HeadSettings) -> np.ndarray:
    """Train a stack of splits [members, n] and say what each got right at last: bool [members, n]."""
    if solver.converges(settings, len(features)):  # then only the end counts, and there is a quicker way to it
        used = np.flatnonzero((splits != "test").any(axis=0))
        heads = solver.solve(features[used], labels[used], splits[:, used], [settings] * len(splits))
        return np.stack([scores.correct(head.logits(features), pd.Series(labels), head.labels) for head in heads])
    own = splits == "train"
    # heads of a stack share batches: as much larger as lets each see train_batch_size images of its own in a step
    share = own.sum(axis=1).mean() / own.any(axis=0).sum()
    settings = replace(settings, train_batch_size=round(settings.train_batch_size / share))
    last: dict[str, np.ndarray] = {}
    stack, steps = [settings] * len(splits), settings.how_many_training_steps
    trainer.train(features, labels, splits, stack, steps, lambda seen: last.update(hits=seen.hits))
    return last["hits"].T
