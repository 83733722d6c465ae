"""Train a *stack* of softmax heads together on one matrix of bottlenecks; a single run is a stack of one.

The weights of all heads lie side by side, [dim, stack x labels], and every head sees the same batches, so that a step
is one matrix product: trying eight settings costs little more than trying one. TensorFlow is imported when training
starts.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..errors import RetrainLabError
from .heads import Head, HeadSettings
from .network import Network
from .problem import pose

_NUMBERS_AT_ONCE = 2**24  # of logits or features, when evaluating: 64 MiB, however large the stack is
_DIVERGED = 1e9  # nats: no training that goes well has such a cross-entropy on any image
_STEPS_AT_ONCE = 100  # between two looks at the progress bar
# Heads of one stack share their batches and the shape of their weights, so they must agree in these.
SHARED = (
    "how_many_training_steps",
    "train_batch_size",
    "optimizer",
    "standardize",
    "class_weight",
    "hidden_units",
    "dropout",
)


@dataclass(frozen=True)
class Snapshot:
    """A stack while it trains; its first head in full, for TensorBoard."""

    step: int  # batches so far
    head: Head  # the first one as it stands
    metrics: dict[str, dict[str, float]]  # the first head's: split -> {"accuracy", "cross_entropy"}
    logits: dict[str, np.ndarray]  # the first head's: split -> float32 [n, labels]
    hits: np.ndarray  # bool [n, stack], what each head gets right of the train and validation rows; else False


def train(
    features: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    split: Sequence[str] | np.ndarray,
    stack: Sequence[HeadSettings],
    eval_step_interval: int | Sequence[int] = 50,
    watch: Callable[[Snapshot], None] | None = None,
    start: Head | None = None,
) -> tuple[list[Head], pd.DataFrame]:
    """Train a stack of heads on cached bottlenecks.

    A head comes out the same alone or in a stack (to rounding) if it has the stack's first seed, because batches do
    not depend on the stack. Test images are never looked at.

    Args:
        features, labels: float32 [n, dim], and [n], or [len(stack), n] to give each head labels of its own.
        split: [n], or [len(stack), n] to give each head a split of its own: train, validation or test. Heads with
            their own split share batches; a head passes over the images that are not its own. Where there are rows of
            the split `distorted`, heads learn from those instead of the train rows, which are then only measured.
        eval_step_interval: steps between evaluations, or the steps to evaluate at; there is always an evaluation
            before the first step and one after the last.
        watch: called at every evaluation with the stack's first head.
        start: a trained head to start from, as it was before it was `calibrated`, for the labels that it knows;
            None starts from chance.

    Returns:
        (heads, history): history has the columns member (0 .. len(stack) - 1), step, split (train or validation),
        accuracy (0 to 1) and cross_entropy (nats), both over the whole split.

    Raises:
        RetrainLabError: no training image, settings that cannot share a stack, or training that diverges.
    """
    first, steps = stack[0], stack[0].how_many_training_steps
    for name in SHARED:
        if len({getattr(settings, name) for settings in stack}) > 1:
            raise RetrainLabError(f"The settings of one stack differ in {name}. Expected the same for all of them.")
    stops = _stops(eval_step_interval, steps)
    data = pose(features, labels, split, stack)
    network = Network(stack, data)
    if start is not None:
        network.begin_from(start)
    advance, judging = network.learning(), _Judging(network, watch)
    random = np.random.default_rng(first.seed)
    judging.at(0)
    done = 0
    with tqdm(total=steps, desc="retrain", unit=" steps", leave=False, disable=None) as bar:
        for stop in stops:
            while done < stop:
                block = min(_STEPS_AT_ONCE, stop - done)
                drawn = random.choice(len(data.pool), (block, first.train_batch_size), p=data.chances)
                advance(data.pool[drawn].astype(np.int32), np.int32(done))
                done += block
                bar.update(block)
            judging.at(done)
    return [network.head(member) for member in range(len(stack))], pd.DataFrame(judging.history)


def select(history: pd.DataFrame) -> int:
    """Pick the member of a stack with the lowest last validation cross-entropy; without validation images, the first.

    Cross-entropy, not accuracy: on a few hundred images it tells settings apart where accuracies are equal.
    """
    last = history[(history["split"] == "validation") & (history["step"] == history["step"].max())]
    return int(last.set_index("member")["cross_entropy"].idxmin()) if len(last) else 0


def table(stack: Sequence[HeadSettings], history: pd.DataFrame) -> pd.DataFrame:
    """Show how a stack ended: one row a member, the settings that differ, and the last figures of both splits."""
    settings = pd.DataFrame([asdict(member) for member in stack])
    varying = settings[[name for name in settings if len(set(settings[name])) > 1]]
    last = history[history["step"] == history["step"].max()]
    figures = last.pivot_table(index="member", columns="split", values=["accuracy", "cross_entropy"])
    figures.columns = [f"{split} {quantity}" for quantity, split in figures.columns]
    return varying.join(figures)


def _stops(interval: int | Sequence[int], steps: int) -> list[int]:
    """The steps after the first at which heads are judged, ascending; the last is always one."""
    if isinstance(interval, int):
        if interval < 1:
            raise RetrainLabError(f"eval_step_interval is {interval}. Expected a whole number from 1 up.")
        interval = range(0, steps, interval)
    return sorted({step for step in interval if 0 < step < steps} | {steps})


class _Judging:
    """Judges a stack on the whole of its train and validation splits, and keeps the history."""

    def __init__(self, network: Network, watch: Callable[[Snapshot], None] | None) -> None:
        self.history: list[dict[str, Any]] = []
        self._network, self._judge, self._watch, splits = network, network.judging(), watch, network.data.splits
        self._seen = np.flatnonzero(np.isin(splits, ["train", "validation"]).any(axis=0)).astype(np.int32)
        self._inside = {name: splits[:, self._seen] == name for name in ("train", "validation")}  # [stack, seen]
        self._at_once = max(1, _NUMBERS_AT_ONCE // max(network.size * network.labels, network.data.scaled.shape[1]))

    def at(self, step: int) -> None:
        """Judge all heads as they stand after so many steps."""
        parts = [self._seen[at : at + self._at_once] for at in range(0, len(self._seen), self._at_once)]
        judged = zip(*map(self._judge, parts), strict=True)
        hits, losses, logits = (np.concatenate(part) for part in judged)  # [seen, stack]
        self._check(step, losses)
        now = [
            {"member": member, "step": step, "split": name}
            | {"accuracy": hits[mine[member], member].mean()}
            | {"cross_entropy": losses[mine[member], member].mean(dtype=np.float64)}
            for member in range(self._network.size)
            for name, mine in self._inside.items()
            if mine[member].any()
        ]
        self.history += now
        if self._watch is not None:
            self._watch(self._snapshot(step, now, hits, logits))

    def _check(self, step: int, losses: np.ndarray) -> None:
        sound = (losses < _DIVERGED).all(axis=0)  # False for NaN, too
        if sound.all():
            return
        bad = self._network.stack[int(np.flatnonzero(~sound)[0])]
        lower = " or weight_decay" if bad.weight_decay * bad.learning_rate > 1 else ""
        raise RetrainLabError(
            f"Training diverged before step {step}: learning_rate {bad.learning_rate:g} is too large for these "
            f"features with optimizer {bad.optimizer}, standardize {bad.standardize}, weight_decay "
            f"{bad.weight_decay:g}. Lower it{lower}."
        )

    def _snapshot(self, step: int, now: list[dict[str, Any]], hits: np.ndarray, logits: np.ndarray) -> Snapshot:
        first = {row["split"]: row for row in now if row["member"] == 0}
        metrics = {name: {key: float(row[key]) for key in ("accuracy", "cross_entropy")} for name, row in first.items()}
        right = np.zeros(self._network.data.splits.shape[::-1], bool)
        right[self._seen] = hits
        said = {name: logits[self._inside[name][0]] for name in first}
        return Snapshot(step, self._network.head(0), metrics, said, right)
