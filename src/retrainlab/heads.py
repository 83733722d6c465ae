"""A *stack* of softmax heads, trained together on one matrix of bottlenecks; a single run is a stack of one.

The weights of all heads lie side by side, [dim, stack x labels], and every head sees the same batches, so that a step
is one matrix product: trying eight settings costs little more than trying one. TensorFlow is imported when training
starts; a trained head is plain NumPy.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .backend import tensorflow
from .errors import RetrainLabError

_LOGITS_AT_ONCE = 2**24  # when evaluating: 64 MiB, however large the stack is
_DIVERGED = 1e9  # nats: no training that goes well has such a cross-entropy on any image
_STEPS_AT_ONCE = 100  # between two looks at the progress bar
_ADAM = 0.9, 0.999, 1e-7  # decay of both moments, epsilon: Kingma & Ba 2015, arxiv.org/abs/1412.6980
# Heads of one stack share their batches and the shape of their weights, so they must agree in these.
_SHARED = ("how_many_training_steps", "train_batch_size", "optimizer", "standardize", "class_weight",
           "hidden_units", "dropout")  # fmt: skip


@dataclass(frozen=True)
class HeadSettings:
    """How to train a head; retrain.py's names where it had one.

    Attributes:
        how_many_training_steps: batches, from 1 up.
        learning_rate: above 0.
        train_batch_size: images a batch, drawn with replacement.
        optimizer: "sgd" as in retrain.py, or "adam" (with a learning_rate of about 0.001).
        weight_decay: adds weight_decay / 2 x the sum of squared weights to the loss, from 0 up.
        standardize: scale every feature to mean 0 and deviation 1 over the training images. It is folded into the
            weights afterwards, so that a trained head takes plain bottlenecks.
        label_smoothing: probability given evenly to all labels, 0 to less than 1.
        class_weight: "none" draws every image with equal chance; "balanced" draws a label, then an image of it, as
            retrain.py does, so that rare labels count as much as common ones.
        hidden_units: size of a hidden ReLU layer; 0 = none.
        dropout: share of the last layer's inputs that each step leaves out, 0 to less than 1.
        seed: of the first weights and of the batches; the same seed gives the same numbers.
    """

    how_many_training_steps: int = 4000
    learning_rate: float = 0.01
    train_batch_size: int = 100
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    standardize: bool = True
    label_smoothing: float = 0.0
    class_weight: str = "none"
    hidden_units: int = 0
    dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        expected = {
            "how_many_training_steps": (self.how_many_training_steps >= 1, "a whole number from 1 up"),
            "learning_rate": (self.learning_rate > 0, "a number above 0"),
            "train_batch_size": (self.train_batch_size >= 1, "a whole number from 1 up"),
            "optimizer": (self.optimizer in ("adam", "sgd"), "adam or sgd"),
            "weight_decay": (self.weight_decay >= 0, "a number from 0 up"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "a number from 0 to less than 1"),
            "class_weight": (self.class_weight in ("none", "balanced"), "none or balanced"),
            "hidden_units": (self.hidden_units >= 0, "a whole number from 0 up"),
            "dropout": (0 <= self.dropout < 1, "a number from 0 to less than 1"),
            "seed": (self.seed >= 0, "a whole number from 0 up"),
        }
        for name, (fits, what) in expected.items():
            if not fits:
                raise RetrainLabError(f"{name} is {getattr(self, name)!r}. Expected {what}.")

    def vary(self, **values: Sequence[Any]) -> "list[HeadSettings]":
        """Make a stack that differs from these settings in one field: `settings.vary(weight_decay=[0, 0.1])`."""
        ((name, choices),) = values.items()
        return [replace(self, **{name: choice}) for choice in choices]


@dataclass(frozen=True)
class Head:
    """A trained final layer.

    Attributes:
        labels: in class order.
        settings: how it was trained.
        kernel: float32 [dim or hidden_units, labels].
        bias: float32 [labels].
        hidden: None, or the hidden layer's (kernel float32 [dim, hidden_units], bias float32 [hidden_units]).
        temperature: what the last layer has been divided by since it was trained; see `cooled`.
    """

    labels: list[str]
    settings: HeadSettings
    kernel: np.ndarray
    bias: np.ndarray
    hidden: tuple[np.ndarray, np.ndarray] | None = None
    temperature: float = 1.0

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Compute the logits float32 [n, labels] of bottlenecks float32 [n, dim]."""
        if self.hidden is not None:
            features = np.maximum(features @ self.hidden[0] + self.hidden[1], 0)
        return (features @ self.kernel + self.bias).astype(np.float32)

    def cooled(self, temperature: float) -> "Head":
        """Divide the logits by a temperature above 0 (`evaluation.temperature`): same answers, other probabilities.

        It is a copy whose last layer is divided, so every export carries it; training starts from the layer as it was.
        """
        return replace(
            self,
            kernel=(self.kernel / temperature).astype(np.float32),
            bias=(self.bias / temperature).astype(np.float32),
            temperature=float(self.temperature * temperature),
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
        start: a trained head to start from, as it was before it was `cooled`, for the labels that it knows; None starts
            from chance.

    Returns:
        (heads, history): history has the columns member (0 .. len(stack) - 1), step, split (train or validation),
        accuracy (0 to 1) and cross_entropy (nats), both over the whole split.

    Raises:
        RetrainLabError: no training image, settings that cannot share a stack, or training that diverges.
    """
    tf = tensorflow()
    first = stack[0]
    for settings in stack[1:]:
        for name in _SHARED:
            if getattr(settings, name) != getattr(first, name):
                raise RetrainLabError(f"The settings of one stack differ in {name}. Expected the same for all of them.")
    steps = first.how_many_training_steps
    if isinstance(eval_step_interval, int):
        if eval_step_interval < 1:
            raise RetrainLabError(f"eval_step_interval is {eval_step_interval}. Expected a whole number from 1 up.")
        eval_step_interval = range(0, steps, eval_step_interval)
    stops = sorted({step for step in eval_step_interval if 0 < step < steps} | {steps})
    names, classes = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    names = names.tolist()
    splits = np.broadcast_to(np.asarray(split, dtype=object), (len(stack), len(features)))
    own = splits == ("distorted" if (splits == "distorted").any() else "train")  # [stack, n]
    if not own.any(axis=1).all():
        raise RetrainLabError("There is no training image. Expected at least one; lower the other splits' percentages.")
    pool = np.flatnonzero(own.any(axis=0))  # rows that some head trains on
    mean, deviation = _scaling(features[pool], first.standardize)
    scaled = (features - mean) / deviation

    size, count = len(stack), len(names)
    network = _Network(stack, scaled.shape[1], count)
    if start is not None:
        network.begin_from(start.cooled(1 / start.temperature), names, mean, deviation)
    matrix, targets = tf.constant(scaled, tf.float32), tf.constant(classes, tf.int32)
    # A head's loss is the mean over its own images of a batch: weight 0 for others', scaled up for the rest. The heads
    # share no weights, so the gradients of all of them come out of one pass.
    chances = _chances(classes[pool], first.class_weight)
    shares = own[:, pool] @ chances
    weights = tf.constant((own / shares[:, None]).T, tf.float32)  # [n, stack]
    smoothing = tf.constant([s.label_smoothing for s in stack], tf.float32)[None, :, None]

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)])
    def advance(batches: Any, step: Any) -> None:  # batches: int32 [steps, batch]
        for number in tf.range(tf.shape(batches)[0]):
            rows = batches[number]
            with tf.GradientTape() as tape:
                logits = network.logits(tf.gather(matrix, rows), step + number)  # [batch, stack, labels]
            truth = tf.one_hot(tf.gather(targets, rows), count)[:, None, :]
            truth = truth * (1 - smoothing) + smoothing / count
            # the gradient of softmax cross-entropy by the logits, written out: half the work of deriving it
            errors = (tf.nn.softmax(logits) - truth) * tf.gather(weights, rows)[:, :, None] / first.train_batch_size
            network.update(tape, logits, errors, step + number + 1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def judge(rows: Any) -> Any:
        logits = network.logits(tf.gather(matrix, rows), None)
        truth = tf.broadcast_to(tf.gather(targets, rows)[:, None], tf.shape(logits)[:2])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
        return tf.argmax(logits, 2, tf.int32) == truth, losses, logits[:, 0]

    seen = np.flatnonzero(((splits == "train") | (splits == "validation")).any(axis=0))
    at_once = max(1, _LOGITS_AT_ONCE // (size * count))
    parts = [tf.constant(seen[i : i + at_once], tf.int32) for i in range(0, len(seen), at_once)]
    inside = {name: splits[:, seen] == name for name in ("train", "validation")}  # [stack, seen]
    history: list[dict[str, Any]] = []

    def evaluate(step: int) -> None:
        hits, losses, logits = (np.concatenate(part) for part in zip(*map(judge, parts), strict=True))  # [seen, stack]
        sound = losses < _DIVERGED  # False for NaN, too
        if not sound.all():
            bad = stack[int(np.flatnonzero(~sound.all(axis=0))[0])]
            lower = " or weight_decay" if bad.weight_decay * bad.learning_rate > 1 else ""
            raise RetrainLabError(
                f"Training diverged before step {step}: learning_rate {bad.learning_rate:g} is too large for these "
                f"features with optimizer {bad.optimizer}, standardize {bad.standardize}, weight_decay "
                f"{bad.weight_decay:g}. Lower it{lower}."
            )
        for member in range(size):
            for name, mine in inside.items():
                if mine[member].any():
                    figures = {
                        "accuracy": hits[mine[member], member].mean(),
                        "cross_entropy": losses[mine[member], member].mean(dtype=np.float64),
                    }
                    history.append({"member": member, "step": step, "split": name} | figures)
        if watch is not None:
            present = {row["split"]: row for row in history if row["step"] == step and row["member"] == 0}
            metrics = {n: {k: float(row[k]) for k in ("accuracy", "cross_entropy")} for n, row in present.items()}
            right = np.zeros((len(features), size), bool)
            right[seen] = hits
            first_logits = {n: logits[inside[n][0]] for n in present}
            watch(Snapshot(step, network.head(0, stack[0], names, mean, deviation), metrics, first_logits, right))

    random = np.random.default_rng(first.seed)
    evaluate(0)
    done = 0
    with tqdm(total=steps, desc="retrain", unit=" steps", leave=False, disable=None) as bar:
        for stop in stops:
            while done < stop:
                block = min(_STEPS_AT_ONCE, stop - done)
                batches = pool[random.choice(len(pool), (block, first.train_batch_size), p=chances)]
                advance(tf.constant(batches, tf.int32), tf.constant(done))
                done += block
                bar.update(block)
            evaluate(done)
    heads = [network.head(member, settings, names, mean, deviation) for member, settings in enumerate(stack)]
    return heads, pd.DataFrame(history)


def choose(history: pd.DataFrame) -> int:
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


def _scaling(features: np.ndarray, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and deviation, float32 [dim] each, that features are scaled by; constant ones are left alone."""
    if not standardize:
        return np.zeros(features.shape[1], np.float32), np.ones(features.shape[1], np.float32)
    deviation = features.std(axis=0)
    return features.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)


def _chances(classes: np.ndarray, class_weight: str) -> np.ndarray:
    """Return the chance of each training image to be drawn, float64 [len(classes)], summing to 1."""
    if class_weight == "balanced":
        counts = np.bincount(classes)
        return 1.0 / counts[classes] / (counts > 0).sum()
    return np.full(len(classes), 1.0 / len(classes))


class _Network:
    """The variables of a stack, its forward pass and its optimizer."""

    def __init__(self, stack: Sequence[HeadSettings], dim: int, labels: int) -> None:
        tf = tensorflow()
        self.size, self.labels, self.hidden = len(stack), labels, stack[0].hidden_units
        self.dropout, self.seed, self.optimizer = stack[0].dropout, stack[0].seed, stack[0].optimizer
        seeds = [np.random.default_rng([settings.seed, 1]) for settings in stack]
        rates = np.array([settings.learning_rate for settings in stack], np.float32)
        decays = np.array([settings.weight_decay for settings in stack], np.float32)
        wide = [np.repeat(v, self.hidden or labels) for v in (rates, decays)]  # one number a column
        if self.hidden:
            first = [_truncated_normal(rng, (dim, self.hidden), np.sqrt(2 / dim)) for rng in seeds]
            last = [_truncated_normal(rng, (self.hidden, labels), 0.001) for rng in seeds]
            values = [np.concatenate(first, axis=1), np.zeros(self.size * self.hidden), np.stack(last)]
            scales = [wide, [wide[0], np.float32(0) * wide[1]], [rates[:, None, None], decays[:, None, None]]]
        else:
            values = [np.concatenate([_truncated_normal(rng, (dim, labels), 0.001) for rng in seeds], axis=1)]
            scales = [wide]
        values.append(np.zeros(self.size * labels))
        scales.append([np.repeat(rates, labels), np.zeros(self.size * labels)])
        self.variables = [tf.Variable(value, dtype=tf.float32) for value in values]
        # Penalties act where they are not 0: passes over the weights are most of what a step costs beside its products.
        self._member_rates = tf.constant(rates[:, None])
        self._rates = [tf.constant(rate, tf.float32) for rate, _ in scales]
        self._decays = [tf.constant(decay, tf.float32) if decay.any() else None for _, decay in scales]
        if self.optimizer == "adam":
            self._moments = [[tf.Variable(tf.zeros_like(v)) for v in self.variables] for _ in range(2)]

    def begin_from(self, start: Head, names: list[str], mean: np.ndarray, deviation: np.ndarray) -> None:
        """Give every head of the stack the weights of a trained one, for the labels that both know."""
        theirs = np.array([start.labels.index(name) for name in names if name in start.labels], int)
        mine = np.array([number for number, name in enumerate(names) if name in start.labels], int)
        kernel, bias = start.hidden or (start.kernel, start.bias)
        if (start.hidden is not None) != bool(self.hidden) or (self.hidden and kernel.shape[1] != self.hidden):
            raise RetrainLabError(
                f"The head to start from has {kernel.shape[1] if start.hidden else 0} hidden units. Expected "
                f"{self.hidden}: set hidden_units to the same."
            )
        # a trained head takes plain features, a training one takes them scaled
        kernel, bias = kernel * deviation[:, None], bias + mean @ kernel
        if self.hidden:
            self.variables[0].assign(np.tile(kernel, self.size))
            self.variables[1].assign(np.tile(bias, self.size))
            kernel, bias, place = start.kernel, start.bias, 2
            values = self.variables[place].numpy().transpose(1, 0, 2)
        else:
            place = 0
            values = self.variables[place].numpy().reshape(-1, self.size, self.labels)
        values[:, :, mine] = kernel[:, None, theirs]
        shape = self.variables[place].shape
        self.variables[place].assign((values.transpose(1, 0, 2) if self.hidden else values).reshape(shape))
        biases = self.variables[place + 1].numpy().reshape(self.size, self.labels)
        biases[:, mine] = bias[theirs]
        self.variables[place + 1].assign(biases.ravel())

    def logits(self, x: Any, step: Any) -> Any:
        """x: [batch, dim] -> [batch, stack, labels]; `step` seeds dropout, None leaves it out."""
        tf = tensorflow()

        def drop(values: Any) -> Any:
            if step is None or not self.dropout:
                return values
            seed = tf.stack([tf.constant(self.seed), step])  # noqa: PD013 (TensorFlow's)
            return tf.nn.experimental.stateless_dropout(values, self.dropout, seed)

        if not self.hidden:
            kernel, bias = self.variables
            return tf.reshape(drop(x) @ kernel + bias, [-1, self.size, self.labels])
        kernel, bias, last, last_bias = self.variables
        inner = tf.reshape(tf.nn.relu(x @ kernel + bias), [-1, self.size, self.hidden])
        return tf.einsum("bsh,shl->bsl", drop(inner), last) + tf.reshape(last_bias, [self.size, self.labels])

    def update(self, tape: Any, logits: Any, errors: Any, step: Any) -> None:
        """Take one step; `errors` is the loss's gradient by the `logits` [batch, stack, labels], `step` counts from 1.

        The penalty's gradient, weight_decay x weights, is added here. Biases have none.
        """
        tf = tensorflow()
        if self.optimizer == "sgd":
            errors *= self._member_rates  # here, where they are fewest numbers
        gradients = tape.gradient(logits, self.variables, output_gradients=errors)
        if self.optimizer == "sgd":
            for variable, rate, decay, change in zip(self.variables, self._rates, self._decays, gradients, strict=True):
                if decay is None:
                    variable.assign_sub(change)
                else:
                    variable.assign(variable * (1 - rate * decay) - change)
            return
        fade, fade2, epsilon = _ADAM
        time = tf.cast(step, tf.float32)
        unbiased = tf.sqrt(1 - fade2**time) / (1 - fade**time)
        for variable, rate, decay, gradient, mean, square in zip(
            self.variables, self._rates, self._decays, gradients, *self._moments, strict=True
        ):
            gradient = gradient if decay is None else gradient + decay * variable
            mean.assign(fade * mean + (1 - fade) * gradient)
            square.assign(fade2 * square + (1 - fade2) * gradient**2)
            variable.assign_sub(rate * unbiased * mean / (tf.sqrt(square) + epsilon))

    def head(
        self, member: int, settings: HeadSettings, labels: list[str], mean: np.ndarray, deviation: np.ndarray
    ) -> Head:
        """Take one head out of the stack and fold the scaling of the features into its first layer."""
        values = [variable.numpy() for variable in self.variables]
        width = self.hidden or self.labels
        kernel = values[0][:, member * width : (member + 1) * width] / deviation[:, None]
        bias = values[1][member * width : (member + 1) * width] - mean @ kernel
        if not self.hidden:
            return Head(labels, settings, kernel, bias)
        last_bias = values[3][member * self.labels : (member + 1) * self.labels]
        return Head(labels, settings, values[2][member], last_bias, (kernel, bias))


def _truncated_normal(random: np.random.Generator, shape: tuple[int, int], deviation: float) -> np.ndarray:
    """Draw from a normal distribution and draw again what lies beyond two deviations, as TensorFlow does."""
    values = random.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = random.standard_normal(int(far.sum()))
    return (values * deviation).astype(np.float32)
