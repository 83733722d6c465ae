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

from ..backbones.runtimes import tensorflow
from ..errors import RetrainLabError
from .heads import Head, HeadSettings
from .network import Network
from .problem import Problem, pose

_LOGITS_AT_ONCE = 2**24  # when evaluating: 64 MiB, however large the stack is
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
    """A stack while it trains; its first head in full, for TensorBoard.

    Attributes:
        step: batches so far.
        head: the first head as it stands.
        metrics: the first head's split -> {"accuracy", "cross_entropy"}.
        logits: the first head's split -> float32 [n, labels].
        hits: bool [n, stack], what each head gets right of the train and validation rows; False for other rows.
    """

    step: int
    head: Head
    metrics: dict[str, dict[str, float]]
    logits: dict[str, np.ndarray]
    hits: np.ndarray


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
        features: float32 [n, dim].
        labels: [n], the label of each row.
        split: [n], or [len(stack), n] to give each head a split of its own: train, validation or test. Heads with
            their own split share batches; a head passes over the images that are not its own. Where there are rows of
            the split `distorted`, heads learn from those instead of the train rows, which are then only measured.
        stack: the settings of each head.
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
    _check(stack)
    stops = _stops(eval_step_interval, steps)
    data = pose(features, labels, split, stack)
    network = Network(stack, features.shape[1], len(data.names))
    if start is not None:
        network.begin_from(start.calibrated(1 / start.temperature), data.names, data.mean, data.deviation)
    matrix, targets = tensorflow().constant(data.scaled), tensorflow().constant(data.classes, "int32")
    advance = _learning(network, data, stack, matrix, targets)
    judging = _Judging(network, data, stack, _judge(network, matrix, targets), watch)
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
    heads = [network.head(member, own, data.names, data.mean, data.deviation) for member, own in enumerate(stack)]
    return heads, pd.DataFrame(judging.history)


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


def _check(stack: Sequence[HeadSettings]) -> None:
    for name in SHARED:
        if len({getattr(settings, name) for settings in stack}) > 1:
            raise RetrainLabError(f"The settings of one stack differ in {name}. Expected the same for all of them.")


def _stops(interval: int | Sequence[int], steps: int) -> list[int]:
    """The steps after the first at which heads are judged, ascending; the last is always one."""
    if isinstance(interval, int):
        if interval < 1:
            raise RetrainLabError(f"eval_step_interval is {interval}. Expected a whole number from 1 up.")
        interval = range(0, steps, interval)
    return sorted({step for step in interval if 0 < step < steps} | {steps})


# --------------------------------------------------------------------------------------------- in TensorFlow


def _learning(network: Network, data: Problem, stack: Sequence[HeadSettings], matrix: Any, targets: Any) -> Any:
    """Compile the steps of a stack: a function of batches, int32 [steps, batch], and of how many were done before."""
    tf = tensorflow()
    count, size = len(data.names), stack[0].train_batch_size
    # A head's loss is the mean over its own images of a batch: weight 0 for others', scaled up for the rest. The heads
    # share no weights, so the gradients of all of them come out of one pass.
    shares = data.own[:, data.pool] @ data.chances
    weights = tf.constant((data.own / shares[:, None]).T, tf.float32)  # [n, stack]
    smoothing = tf.constant([settings.label_smoothing for settings in stack], tf.float32)[None, :, None]

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)])
    def advance(batches: Any, step: Any) -> None:
        for number in tf.range(tf.shape(batches)[0]):
            rows = batches[number]
            with tf.GradientTape() as tape:
                logits = network.logits(tf.gather(matrix, rows), step + number)  # [batch, stack, labels]
            truth = tf.one_hot(tf.gather(targets, rows), count)[:, None, :]
            truth = truth * (1 - smoothing) + smoothing / count
            # the gradient of softmax cross-entropy by the logits, written out: half the work of deriving it
            errors = (tf.nn.softmax(logits) - truth) * tf.gather(weights, rows)[:, :, None] / size
            network.update(tape, logits, errors, step + number + 1)

    return advance


def _judge(network: Network, matrix: Any, targets: Any) -> Any:
    """Compile what judges rows, int32 [n]: hits, losses [n, stack], and the logits of the first head [n, labels]."""
    tf = tensorflow()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def judge(rows: Any) -> Any:
        logits = network.logits(tf.gather(matrix, rows), None)
        truth = tf.broadcast_to(tf.gather(targets, rows)[:, None], tf.shape(logits)[:2])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
        return tf.argmax(logits, 2, tf.int32) == truth, losses, logits[:, 0]

    return judge


class _Judging:
    """Judges a stack on the whole of its train and validation splits, and keeps the history."""

    def __init__(
        self,
        network: Network,
        data: Problem,
        stack: Sequence[HeadSettings],
        judge: Any,
        watch: Callable[[Snapshot], None] | None,
    ) -> None:
        self.history: list[dict[str, Any]] = []
        self._network, self._data, self._stack, self._judge, self._watch = network, data, stack, judge, watch
        seen = np.flatnonzero(((data.splits == "train") | (data.splits == "validation")).any(axis=0))
        at_once = max(1, _LOGITS_AT_ONCE // (len(stack) * len(data.names)))
        self._seen = seen
        self._parts = [seen[begin : begin + at_once].astype(np.int32) for begin in range(0, len(seen), at_once)]
        self._inside = {name: data.splits[:, seen] == name for name in ("train", "validation")}  # [stack, seen]

    def at(self, step: int) -> None:
        """Judge all heads as they stand after so many steps."""
        parts = zip(*map(self._judge, self._parts), strict=True)
        hits, losses, logits = (np.concatenate(part) for part in parts)  # [seen, stack]
        self._check(step, losses)
        now = [
            {"member": member, "step": step, "split": name}
            | {"accuracy": hits[mine[member], member].mean()}
            | {"cross_entropy": losses[mine[member], member].mean(dtype=np.float64)}
            for member in range(len(self._stack))
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
        bad = self._stack[int(np.flatnonzero(~sound)[0])]
        lower = " or weight_decay" if bad.weight_decay * bad.learning_rate > 1 else ""
        raise RetrainLabError(
            f"Training diverged before step {step}: learning_rate {bad.learning_rate:g} is too large for these "
            f"features with optimizer {bad.optimizer}, standardize {bad.standardize}, weight_decay "
            f"{bad.weight_decay:g}. Lower it{lower}."
        )

    def _snapshot(self, step: int, now: list[dict[str, Any]], hits: np.ndarray, logits: np.ndarray) -> Snapshot:
        data = self._data
        first = {row["split"]: row for row in now if row["member"] == 0}
        metrics = {name: {key: float(row[key]) for key in ("accuracy", "cross_entropy")} for name, row in first.items()}
        right = np.zeros((data.splits.shape[1], len(self._stack)), bool)
        right[self._seen] = hits
        head = self._network.head(0, self._stack[0], data.names, data.mean, data.deviation)
        return Snapshot(step, head, metrics, {name: logits[self._inside[name][0]] for name in first}, right)
