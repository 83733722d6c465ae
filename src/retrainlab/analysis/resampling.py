"""Many heads instead of one: what chance in the split and shuffled labels change.

A head trains in a second, so the question "would it have come out the same with other images?" is answered by doing
it: the train and validation images are split again and again, all re-splits are trained as one stack, and every image
is judged by heads that have not seen it. Test images take no part.

Re-splits share images, so their spread says what one split may show by chance, but is no standard error of their
mean: for that there is the corrected variance of Nadeau & Bengio 2003, doi.org/10.1023/A:1024068626366.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from ..errors import RetrainLabError
from ..evaluation.calibration import cross_entropies, softmax
from ..evaluation.intervals import student
from ..evaluation.scores import predictions
from ..training import solver, trainer
from ..training.heads import Head, HeadSettings

_WEIGHTS_AT_ONCE = 2**24  # of one stack: 64 MiB, and as much again for gradients; larger stacks are no quicker
_JUDGED_AT_ONCE = 2**22  # images times heads of one stack: what is kept of each takes some 40 bytes on the way
_FIGURES = ["accuracy", "cross_entropy"]


@dataclass(frozen=True)
class CrossValidation:
    """What a stack of re-splits came to.

    Attributes:
        labels: in class order.
        splits: [members, n] of split names, as they were given.
        members: how each member ended: train accuracy, validation accuracy, gap (their difference), train
            cross_entropy, validation cross_entropy, cross_entropy gap (validation minus train).
        probabilities: float32 [n, labels], the mean over the members that a row was validation for; NaN where none.
        once: float32 [n, labels], of the first of those members alone: what one head says.
        hits: float [n], the share of those members that got the row right; NaN where none.
        train_hits: float [n], the same over the members that trained on the row.
    """

    labels: list[str]
    splits: np.ndarray
    members: pd.DataFrame
    probabilities: np.ndarray
    once: np.ndarray
    hits: np.ndarray
    train_hits: np.ndarray

    @property
    def share_validation(self) -> float:
        return share_validation(self.splits)


def share_validation(splits: np.ndarray) -> float:
    """The share of the train and validation images that validates, mean over re-splits [members, n]."""
    validation, train = ((splits == name).sum() for name in ("validation", "train"))
    return float(validation / (validation + train))


def repeated_folds(labels: np.ndarray, groups: np.ndarray, split: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Split the train and validation images again and again: repeated stratified k-fold, groups kept together.

    k is the number of validation parts that fit into the train and validation images, 2 to 10; 5 without validation
    images. Every k re-splits validate each image once, except those that a label cannot do without in training.
    (Scikit-learn's StratifiedGroupKFold knows none of those, and takes 3.3 seconds for a repeat over 20,580 images in
    120 labels where this takes 0.05.)

    Args:
        labels, groups, split: [n]; images of one group stay together.
        count: re-splits, complete repeats first.

    Returns:
        Split names, object [count, n]: train, validation, and test for all that is neither in `split`.

    Raises:
        RetrainLabError: fewer than two groups could be spared from training.
    """
    rows = np.flatnonzero(np.isin(split, ["train", "validation"]))
    validation = int((np.asarray(split) == "validation").sum())
    k = int(np.clip(round(len(rows) / validation), 2, 10)) if validation else 5
    units, unit = np.unique(np.asarray(groups)[rows], return_inverse=True)
    names, classes = np.unique(np.asarray(labels, dtype=object)[rows].astype(str), return_inverse=True)
    # homes: one row a unit and label, the unit's most frequent label first
    homes = pd.DataFrame({"unit": unit, "label": classes}).value_counts().reset_index()
    alone = homes["label"].map(homes["label"].value_counts()) == 1
    stays = np.isin(np.arange(len(units)), homes["unit"][alone])  # the only home of a label never leaves training
    main = homes.drop_duplicates("unit").set_index("unit")["label"].sort_index().to_numpy()
    size = np.bincount(unit, minlength=len(units))
    movable = np.flatnonzero(~stays)
    if len(movable) < 2:
        raise RetrainLabError(
            f"The images cannot be split again: of {len(units)} groups in {len(names)} labels, {len(movable)} could "
            f"validate and leave every label something to learn from. Expected at least two images a label."
        )
    k = min(k, len(movable))
    random = np.random.default_rng(seed)
    splits = np.full((count, len(split)), "test", dtype=object)
    for first in range(0, count, k):
        fold = np.full(len(units), -1)
        order = random.permutation(movable)
        order = order[np.lexsort((-size[order], main[order]))]  # label by label, large groups first, else at random
        turn = int(random.integers(k))
        for mine in np.split(order, np.flatnonzero(np.diff(main[order])) + 1):
            # each k groups of like size go to k folds; what is left over goes where the last label's left-overs ended
            whole, rest = divmod(len(mine), k)
            dealt = random.permuted(np.tile(np.arange(k), (whole, 1)), axis=1).ravel()
            fold[mine] = [*dealt, *random.permutation((turn + np.arange(rest)) % k)]
            turn += rest
        where = homes.assign(fold=fold[homes["unit"]]).groupby("label")["fold"].agg(["min", "max"])
        for label in where.index[(where["min"] == where["max"]) & (where["min"] >= 0)]:
            # possible where groups mix labels: one of them stays in training
            fold[random.choice(homes["unit"][homes["label"] == label])] = -1
        for number in range(min(k, count - first)):
            splits[first + number, rows] = np.where(fold[unit] == number, "validation", "train")
    return splits


def first_repeat(splits: np.ndarray) -> np.ndarray:
    """Keep the first complete repeat of `repeated_folds`, in which no image validates twice."""
    return splits[np.cumsum(splits == "validation", axis=0).max(axis=1) <= 1]


def cross_validate(
    features: np.ndarray, labels: np.ndarray, splits: np.ndarray, settings: HeadSettings
) -> CrossValidation:
    """Train one head a re-split, all with the same settings, and judge every image by heads that have not seen it.

    Each head scales features by its own training images. Only the end of training counts, so it is solved for where
    gradient descent would come to it; else, a head passes over the images of a batch that are not its own, so that it
    sees a share of train_batch_size.

    Args:
        features: float32 [n, dim].
        labels: [n], or [members, n] to give each head labels of its own.
        splits: [members, n], as of `repeated_folds`.
    """
    heads = trained(features, labels, np.asarray(splits, dtype=object), settings)
    return judge(labels, splits, (head.logits(features) for head in heads))


def judge(labels: np.ndarray, splits: np.ndarray, logits: Iterable[np.ndarray]) -> CrossValidation:
    """Judge every image by what was trained on re-splits.

    Args:
        labels, splits: as of `cross_validate`.
        logits: of each member in turn, float32 [n, labels], labels sorted by name.
    """
    splits, own = np.asarray(splits, dtype=object), np.asarray(labels, dtype=object).astype(str)
    names, classes = np.unique(own, return_inverse=True)
    classes = np.broadcast_to(classes.reshape(own.shape), splits.shape)
    shape = splits.shape[1], len(names)
    probabilities, once = np.zeros(shape, np.float32), np.full(shape, np.nan, np.float32)
    right = {name: np.zeros(splits.shape[1]) for name in ("train", "validation")}
    ended = []
    for split, truth, said in zip(splits, classes, logits, strict=True):
        end = {}
        for name in right:
            mine = split == name
            hits = said[mine].argmax(axis=1) == truth[mine]
            right[name][mine] += hits
            end[f"{name} accuracy"] = hits.mean() if len(hits) else np.nan
            end[f"{name} cross_entropy"] = cross_entropies(said[mine], truth[mine]).mean() if len(hits) else np.nan
        stated = softmax(said[mine]).astype(np.float32)  # of validation, the last
        probabilities[mine] += stated
        once[mine] = np.where(np.isnan(once[mine]), stated, once[mine])
        ended.append(end)
    with np.errstate(invalid="ignore"):
        probabilities /= (splits == "validation").sum(axis=0)[:, None]
        hit, train_hit = (right[name] / (splits == name).sum(axis=0) for name in ("validation", "train"))
    return CrossValidation(names.tolist(), splits, _members(ended), probabilities, once, hit, train_hit)


def trained(features: np.ndarray, labels: np.ndarray, splits: np.ndarray, settings: HeadSettings) -> list[Head]:
    stack = [settings] * len(splits)
    if solver.converges(settings, len(features)):
        return solver.solve(features, labels, splits, stack)
    steps = settings.how_many_training_steps
    return list(chain.from_iterable(heads for heads, *_ in train_in_parts(features, labels, splits, stack, steps)))


def shuffled(
    features: np.ndarray, labels: np.ndarray, splits: np.ndarray, settings: HeadSettings, seed: int = 0
) -> CrossValidation:
    """Cross-validate with the labels shuffled among the train and validation images, anew for each re-split.

    Nothing can be learnt then: train accuracy is what so many features can memorise with these settings (Zhang et al.
    2017, arxiv.org/abs/1611.03530), and validation accuracy is what guessing gives.
    """
    used = np.flatnonzero(((splits == "train") | (splits == "validation")).any(axis=0))
    mixed = np.tile(np.array(labels, dtype=object), (len(splits), 1))
    for member, own in enumerate(mixed):
        own[used] = own[np.random.default_rng([seed, member]).permutation(used)]
    return cross_validate(features, mixed, splits, settings)


def out_of_fold(result: CrossValidation, table: pd.DataFrame) -> pd.DataFrame:
    """Make a predictions table of what one head says of each image that it has not seen; logits are logs of `once`.

    Args:
        table: path, label, split; its rows are those that were cross-validated. Where they never validated, they are
            left out.
    """
    known = ~np.isnan(result.once).any(axis=1)
    return predictions(table[known], np.log(np.maximum(result.once[known], 1e-12)), result.labels)


def corrected_interval(values: Sequence[float] | np.ndarray, share_validation: float) -> tuple[float, float]:
    """95% interval of a mean over re-splits, by the corrected variance of Nadeau & Bengio (2003).

    The variance of the mean of J re-splits is (1/J + n_validation / n_train) times theirs, with Student's t at J - 1
    degrees of freedom; for repeated k-fold see Bouckaert & Frank 2004. (NaN, NaN) for fewer than two values.

    Args:
        values: one a re-split; NaN is passed over.
        share_validation: n_validation / (n_validation + n_train), above 0 and below 1.
    """
    known = pd.Series(values, dtype=float).dropna()
    if len(known) < 2:
        return np.nan, np.nan
    variance = (1 / len(known) + share_validation / (1 - share_validation)) * known.var()
    half = student(len(known) - 1) * np.sqrt(variance)
    return float(known.mean() - half), float(known.mean() + half)


def evaluation_steps(settings: HeadSettings, count: int, factor: float = 100) -> list[int]:
    """Steps to evaluate at, from a `factor`-th of all steps to the last, growing by a constant factor."""
    last = settings.how_many_training_steps
    return sorted({max(1, round(step)) for step in np.geomspace(last / factor, last, count)})


def train_in_parts(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    stack: list[HeadSettings],
    steps: int | Sequence[int],
) -> Iterator[tuple[list[Head], pd.DataFrame, dict[int, np.ndarray]]]:
    """Train a large stack in parts that fit into memory: their heads, history, and step -> hits.

    Hits are what each gets right, see `trainer.Snapshot`, eight images in a byte: uint8 [n / 8, part].
    """
    weights = features.shape[1] * (
        stack[0].hidden_units or len(np.unique(np.asarray(labels, dtype=object).astype(str)))
    )
    most = min(max(2, _WEIGHTS_AT_ONCE // weights), max(1, _JUDGED_AT_ONCE // len(features)))
    parts = -(-len(stack) // most)
    for numbers in np.array_split(np.arange(len(stack)), parts):
        hits: dict[int, np.ndarray] = {}

        def keep(snapshot: trainer.Snapshot, hits: dict[int, np.ndarray] = hits) -> None:
            hits[snapshot.step] = np.packbits(snapshot.hits, axis=0)

        mine = [stack[number] for number in numbers]
        own = labels[numbers] if np.ndim(labels) == 2 else labels
        trained, history = trainer.train(features, own, splits[numbers], mine, steps, keep)
        yield trained, history.assign(member=history["member"] + numbers[0]), hits


def _members(ended: Sequence[dict[str, float]]) -> pd.DataFrame:
    """Lay out how each member ended: one row a member."""
    quantities = [f"{split} {quantity}" for quantity in _FIGURES for split in ("train", "validation")]
    table = pd.DataFrame(ended, columns=quantities).rename_axis("member")
    table.insert(2, "gap", table["train accuracy"] - table["validation accuracy"])
    table["cross_entropy gap"] = table["validation cross_entropy"] - table["train cross_entropy"]
    return table


def figures(history: pd.DataFrame, index: str | list[str]) -> pd.DataFrame:
    """Lay out a history by these columns: train and validation accuracy and cross_entropy, means over all else."""
    table = history.pivot_table(index=index, columns="split", values=_FIGURES)
    table.columns = [f"{split} {quantity}" for quantity, split in table.columns]
    return table
