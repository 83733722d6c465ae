"""What to label next: an order of unlabelled images by what their labels would teach, and whether it saves labels.

The images that the head hesitates over most are put into as many clusters as labels are wanted, weighted by how much it
hesitates, and of each cluster the one in its middle is asked for (Zhdanov 2019, arxiv.org/abs/1901.05954): hesitation
alone would ask for the same thing many times over.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..analysis.neighbours import of_length_one
from ..bottlenecks.projection import principal_directions
from ..errors import RetrainLabError
from ..evaluation.calibration import softmax
from ..evaluation.finding import Finding, finding
from ..evaluation.intervals import student
from ..training import solver
from ..training.heads import Head, HeadSettings

_PER_LABEL = 10  # candidates for each label that is wanted
_CLUSTERS = 500  # at most; of more labels than that, a cluster gets several
_PRINCIPAL = 64  # dimensions that candidates are compared in
_TURNS = 20  # of k-means: a middle need not be exact
_BEGIN = 20  # labels that a simulation begins with, or two a label
_DECAY = 0.01  # the least: without weight decay, the layer has no solution


def order(features: np.ndarray, probabilities: np.ndarray, known: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Choose the images to label next: those that a head hesitates over, and that are unlike each other.

    Copies, of each other or of images that are known, come last. It takes 10 seconds for 500 of 20,000 images with
    1,280 features.

    Args:
        features: float32 [n, dim], of the unlabelled images.
        probabilities: [n, labels], what the head gives them.
        known: float32 [m, dim], of the images that it learnt from.
        count: labels wanted, from 0 up.
        seed: of the clusters.

    Returns:
        int [count], rows of `features`, the most telling first; [n] where there are fewer than `count`.

    Raises:
        RetrainLabError: the arrays do not fit each other.
    """
    n, dim = features.shape
    if len(probabilities) != n or known.shape[1] != dim:
        found = f"features {features.shape}, probabilities {probabilities.shape} and known {known.shape}"
        raise RetrainLabError(f"The shapes do not fit: {found}. Expected [n, dim], [n, labels] and [m, dim].")
    hesitation = _hesitation(probabilities)
    chance = np.random.default_rng(seed).random(len(features))  # between images that are hesitated over alike
    ranked = np.lexsort((chance, -hesitation))
    rows = pd.Series([row.tobytes() for row in np.concatenate([known, features[ranked]]).astype(np.float32)])
    copies = rows.duplicated().to_numpy()[len(known) :]
    single = ranked[~copies]
    candidates, rest = np.split(single, [_PER_LABEL * min(count, _CLUSTERS)])
    if 0 < count < len(candidates):
        candidates = candidates[_spread(features[candidates], hesitation[candidates], count, seed)]
    return np.concatenate([candidates, rest, ranked[copies]])[:count]


def _hesitation(probabilities: np.ndarray) -> np.ndarray:
    """1 minus the margin between the two most probable labels: [n], 0 to 1; 1 where there is one label."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    best = np.sort(probabilities, axis=1)
    return 1 - (best[:, -1] - best[:, -2])


def _spread(features: np.ndarray, hesitation: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Order all candidates: the middle of each cluster, that with the most hesitation first; then each one's next."""
    from sklearn.cluster import KMeans

    deviation = features.std(axis=0)
    # so that no image outweighs the others
    points = of_length_one(features - features.mean(axis=0), np.where(deviation > 0, deviation, 1))
    points -= points.mean(axis=0)
    directions, _ = principal_directions(points, _PRINCIPAL)
    points = (points @ directions).astype(np.float64)  # quicker in k-means
    weights = hesitation + 1e-9  # a cluster of none at all would have no middle
    clusters = KMeans(min(count, _CLUSTERS), n_init=1, max_iter=_TURNS, random_state=seed)
    clusters.fit(points, sample_weight=weights)
    mine = clusters.labels_
    away = np.linalg.norm(points - clusters.cluster_centers_[mine], axis=1)
    place = pd.Series(away).groupby(mine).rank(method="first").to_numpy()
    return np.lexsort((-np.bincount(mine, weights)[mine], place))


def simulate(
    features: np.ndarray,
    labels: Any,
    settings: HeadSettings,
    groups: np.ndarray,
    seed: int,
    repeats: int = 5,
    rounds: int = 6,
) -> pd.DataFrame:
    """Label images that have labels once more, by `order` and at random, from a few up to half of them.

    In each repeat, both ways begin with the same images, and are judged by the same quarter of the groups, which is
    never asked for. Each round multiplies the labels by the same factor.

    Args:
        features: float32 [n, dim].
        labels: [n].
        settings: of the softmax layer; hidden layers and dropout are left out.
        groups: [n], images that depend on one another.
        seed: of the held-out images, and of what is drawn at random.
        repeats, rounds: from 1 up.

    Returns:
        Columns repeat, labelled (how many), way ("ordered" or "random"), accuracy (of held-out images).

    Raises:
        RetrainLabError: one label, fewer than four groups, or too few images to begin with a few.
    """
    given = np.asarray(labels, dtype=object).astype(str)
    pools, held_out = _halves(given, groups, seed, repeats)
    begin = max(_BEGIN, 2 * len(np.unique(given)))
    sizes = np.geomspace(begin, min(map(len, pools)) // 2, rounds + 1).astype(int)
    if sizes[-1] < 2 * begin:
        said = f"There are {min(map(len, pools)):,} images to ask for. Expected at least {4 * begin:,}"
        raise RetrainLabError(f"{said}, to begin with {begin} and come to half of them. Add images.")
    plain = replace(settings.plain, weight_decay=max(settings.weight_decay, _DECAY))
    chosen = {way: [pool[: sizes[0]] for pool in pools] for way in ("ordered", "random")}
    found, heads = [], list[Head]()
    for size in sizes:
        if heads:
            chosen["random"] = [pool[:size] for pool in pools]
            chosen["ordered"] = [
                _more(features, pool, own, head, size, seed)
                for pool, own, head in zip(pools, chosen["ordered"], heads, strict=False)
            ]
        split = np.full((2 * repeats, len(given)), "later", dtype=object)
        for member, own in enumerate(chosen["ordered"] + chosen["random"]):
            split[member, own] = "train"
        heads = solver.solve(features, given, split, [plain] * len(split))  # the ordered ones come first
        for member, head in enumerate(heads):
            way, test = ("random" if member >= repeats else "ordered"), held_out[member % repeats]
            answers = np.asarray(head.labels)[head.logits(features[test]).argmax(axis=1)]
            found.append((member % repeats, int(size), way, float((answers == given[test]).mean())))
    return pd.DataFrame(found, columns=["repeat", "labelled", "way", "accuracy"])


def _halves(
    labels: np.ndarray, groups: np.ndarray, seed: int, repeats: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw, for each repeat, the rows that may be asked for, shuffled, and those that judge."""
    from sklearn.model_selection import GroupShuffleSplit

    if (known := len(np.unique(labels))) < 2:
        raise RetrainLabError(f"The images have {known} label. Expected at least two; there is nothing to learn.")
    if (known := len(np.unique(groups))) < 4:
        said = f"The images are in {known} groups that depend on one another. Expected at least four"
        raise RetrainLabError(f"{said}, to judge by images that are never asked for.")
    random = np.random.default_rng(seed)
    splits = list(GroupShuffleSplit(repeats, test_size=0.25, random_state=seed).split(labels, groups=groups))
    return [random.permutation(pool) for pool, _ in splits], [test for _, test in splits]


def _more(features: np.ndarray, pool: np.ndarray, own: np.ndarray, head: Head, size: int, seed: int) -> np.ndarray:
    """Add what `order` asks for next to a head's own rows, up to `size`."""
    left = pool[~np.isin(pool, own)]
    chances = softmax(head.logits(features[left]))
    return np.concatenate([own, left[order(features[left], chances, features[own], size - len(own), seed)]])


def saved(curves: pd.DataFrame) -> dict[str, Any]:
    """Compare how many labels both ways need for the same accuracy: the final one of the way that ends lower.

    So that chance favours neither way, each curve is made to rise (isotonic regression, Barlow et al. 1972), read
    between its points along the logarithm of the labels, and repeats are averaged by the logarithm of their shares.

    Args:
        curves: as `simulate` returns them.

    Returns:
        share: labels that the ordered way needs, of those that the random way does, above 0; interval: 95%,
        by Student's t over repeats. Repeats share images, so it tells of this set of images and not of others.

    Raises:
        RetrainLabError: fewer than two repeats.
    """
    table, logarithms = curves.pivot_table("accuracy", "labelled", ["way", "repeat"]), []
    sizes = np.log(table.index.to_numpy())
    for repeat in curves["repeat"].unique():
        ordered, random = (_rising(table[way, repeat]) for way in ("ordered", "random"))
        wanted = min(ordered[-1], random[-1])
        logarithms.append(_needed(sizes, ordered, wanted) - _needed(sizes, random, wanted))
    if len(logarithms) < 2:
        raise RetrainLabError(
            f"There is {len(logarithms)} repeat. Expected at least two, to tell a saving from chance."
        )
    mean, half = np.mean(logarithms), student(len(logarithms) - 1) * np.std(logarithms, ddof=1) / len(logarithms) ** 0.5
    return {"share": float(np.exp(mean)), "interval": np.exp([mean - half, mean + half]).tolist()}


def _rising(accuracies: pd.Series) -> np.ndarray:
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(accuracies.to_numpy()).x)


def _needed(sizes: np.ndarray, curve: np.ndarray, wanted: float) -> float:
    """Where a rising curve comes to what is wanted, which it does, read between its points."""
    after = int(np.argmax(curve >= wanted))
    if after == 0:
        return float(sizes[0])
    return float(np.interp(wanted, curve[[after - 1, after]], sizes[[after - 1, after]]))


@finding("What to label next would save")
def saving(
    features: np.ndarray,
    labels: Any,
    settings: HeadSettings,
    groups: np.ndarray,
    seed: int,
    repeats: int = 5,
    rounds: int = 6,
) -> Finding:
    """Say what asking by `order` would have saved on the images that have labels; the arguments are `simulate`'s.

    Returns:
        Numbers: labels_needed, as of `saved`. Details: the curves.
    """
    from .. import plots

    curves = simulate(features, labels, settings, groups, seed, repeats, rounds)
    needed = saved(curves)
    low, high = needed["interval"]
    said = "It is not shown to save any."
    if high < 1:
        share = f"{needed['share']:.0%} [{100 * low:.0f}, {100 * high:.0f}]"
        said = f"By this order, {share} of the labels are enough for what a random order reaches."
    return Finding("", said, numbers={"labels_needed": needed}, draw=lambda: plots.labels_saved(curves), details=curves)
