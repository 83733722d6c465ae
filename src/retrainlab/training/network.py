"""The network that a stack of heads is while it learns: one head beside the other.

TensorFlow is imported when a network is made.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backbones.runtimes import tensorflow
from ..errors import RetrainLabError
from .heads import Head, HeadSettings
from .problem import Problem

_ALIGNED = 64  # bytes
_ADAM = 0.9, 0.999, 1e-7  # decay of both moments, epsilon: Kingma & Ba 2015, arxiv.org/abs/1412.6980


class Network:
    """The variables of a stack, its forward pass, its optimizer, and how it is judged."""

    def __init__(self, stack: Sequence[HeadSettings], data: Problem) -> None:
        tf = tensorflow()
        dim, labels = data.scaled.shape[1], len(data.names)
        self.stack, self.data, self.size, self.labels = stack, data, len(stack), labels
        self.hidden, self.dropout, self.optimizer = stack[0].hidden_units, stack[0].dropout, stack[0].optimizer
        self._matrix, self._targets = _shared(data.scaled), tf.constant(data.classes.T, "int32")
        own = data.scaling.own
        self._own = own and [tf.constant(np.repeat(values, self.hidden or labels, axis=1)) for values in own]
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

    def begin_from(self, start: Head) -> None:
        """Give every head of the stack the weights of a trained one, for the labels that both know."""
        start, names = start.calibrated(1 / start.temperature), self.data.names
        theirs = np.array([start.labels.index(name) for name in names if name in start.labels], int)
        mine = np.array([number for number, name in enumerate(names) if name in start.labels], int)
        if not len(mine):
            raise RetrainLabError(
                f"The head to start from knows none of the labels here: it tells {', '.join(start.labels[:5])} apart. "
                "Expected one that shares a label, or none to start from."
            )
        kernel, bias = start.hidden or (start.kernel, start.bias)
        if (start.hidden is not None) != bool(self.hidden) or (self.hidden and kernel.shape[1] != self.hidden):
            raise RetrainLabError(
                f"The head to start from has {kernel.shape[1] if start.hidden else 0} hidden units. Expected "
                f"{self.hidden}: set hidden_units to the same."
            )
        scaled = [self.data.scaling.scaled(kernel, bias, member) for member in range(self.size)]
        *inner, last, biases = (variable.numpy() for variable in self.variables)
        for member, (kernel, bias) in enumerate(scaled):
            if self.hidden:
                columns = slice(member * self.hidden, (member + 1) * self.hidden)
                inner[0][:, columns], inner[1][columns] = kernel, bias
                kernel, bias = start.kernel, start.bias
                last[member][:, mine] = kernel[:, theirs]
            else:
                last.reshape(-1, self.size, self.labels)[:, member, mine] = kernel[:, theirs]
            biases.reshape(self.size, self.labels)[member, mine] = bias[theirs]
        for variable, values in zip(self.variables, [*inner, last, biases], strict=True):
            variable.assign(values)

    def logits(self, x: Any, step: Any, weights: Any = None) -> Any:
        """x: [batch, dim] -> [batch, stack, labels]; `step` seeds dropout, None leaves it out; see `on_shared`."""
        tf = tensorflow()

        def drop(values: Any) -> Any:
            if step is None or not self.dropout:
                return values
            seed = tf.stack([tf.constant(self.stack[0].seed), step])
            return tf.nn.experimental.stateless_dropout(values, self.dropout, seed)

        kernel, bias, *later = weights or self.on_shared()
        if not self.hidden:
            return tf.reshape(drop(x) @ kernel + bias, [-1, self.size, self.labels])
        last, last_bias = later
        inner = tf.reshape(tf.nn.relu(x @ kernel + bias), [-1, self.size, self.hidden])
        return tf.einsum("bsh,shl->bsl", drop(inner), last) + tf.reshape(last_bias, [self.size, self.labels])

    def on_shared(self) -> list[Any]:
        """Give the variables as tensors, the first layer's turned from each head's own features to the shared ones."""
        kernel, bias, *later = [variable.read_value() for variable in self.variables]
        if self._own is not None:
            shift, factor = self._own
            kernel *= factor
            bias -= tensorflow().reduce_sum(shift * kernel, 0)
        return [kernel, bias, *later]

    def _on_own(self, gradients: list[Any]) -> list[Any]:
        """Turn the loss's gradients by what `on_shared` gave into those by the variables."""
        if self._own is None:
            return gradients
        (shift, factor), (kernel, bias, *later) = self._own, gradients
        return [(kernel - shift * bias) * factor, bias, *later]

    def update(self, tape: Any, weights: Any, logits: Any, errors: Any, step: Any) -> None:
        """Take one step; `errors` is the loss's gradient by the `logits` [batch, stack, labels], `step` counts from 1.

        The penalty's gradient, weight_decay x weights, is added here. Biases have none.
        """
        tf = tensorflow()
        if self.optimizer == "sgd":
            errors *= self._member_rates  # here, where they are fewest numbers
        gradients = self._on_own(tape.gradient(logits, weights, output_gradients=errors))
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

    def head(self, member: int) -> Head:
        """Take one head out of the stack and fold the scaling of the features into its first layer."""
        values, names, settings = [variable.numpy() for variable in self.variables], self.data.names, self.stack[member]
        width = self.hidden or self.labels
        columns = slice(member * width, (member + 1) * width)
        kernel, bias = self.data.scaling.plain(values[0][:, columns], values[1][columns], member)
        if not self.hidden:
            return Head(names, settings, kernel, bias)
        last_bias = values[3][member * self.labels : (member + 1) * self.labels]
        return Head(names, settings, values[2][member], last_bias, (kernel, bias))

    def learning(self) -> Any:
        """Compile the steps of the stack: a function of batches, int32 [steps, batch], and of how many there were."""
        tf, data, stack = tensorflow(), self.data, self.stack
        # A head's loss is the mean over its own images of a batch: weight 0 for others', scaled up for the rest. The
        # heads share no weights, so the gradients of all of them come out of one pass.
        counts = tf.constant(data.weights.T)  # [n, stack]
        smoothing = tf.constant([settings.label_smoothing for settings in stack], tf.float32)[None, :, None]

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)])
        def advance(batches: Any, step: Any) -> None:
            for number in tf.range(tf.shape(batches)[0]):
                rows = batches[number]
                weights = self.on_shared()
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    logits = self.logits(
                        tf.gather(self._matrix, rows), step + number, weights
                    )  # [batch, stack, labels]
                truth = tf.one_hot(self._truth(rows), self.labels)  # [batch, stack or 1, labels]
                truth = truth * (1 - smoothing) + smoothing / self.labels
                # the gradient of softmax cross-entropy by the logits, written out: half the work of deriving it
                errors = (tf.nn.softmax(logits) - truth) * tf.gather(counts, rows)[:, :, None]
                self.update(tape, weights, logits, errors / stack[0].train_batch_size, step + number + 1)

        return advance

    def _truth(self, rows: Any) -> Any:
        """Look up the classes of rows: int32 [rows, stack], or [rows, 1] where the heads share their labels."""
        tf = tensorflow()
        found = tf.gather(self._targets, rows)
        return found if len(found.shape) == 2 else found[:, None]

    def judging(self) -> Any:
        """Compile what judges rows, int32 [n]: hits, losses [n, stack], logits of the first head [n, labels]."""
        tf = tensorflow()

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
        def judge(rows: Any) -> Any:
            logits = self.logits(tf.gather(self._matrix, rows), None)
            truth = tf.broadcast_to(self._truth(rows), tf.shape(logits)[:2])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
            return tf.argmax(logits, 2, tf.int32) == truth, losses, logits[:, 0]

        return judge


def _shared(matrix: np.ndarray) -> Any:
    """Give TensorFlow a matrix: not copied where it is mapped, hence large, and lies as TensorFlow wants it."""
    tf = tensorflow()
    if matrix.ctypes.data % _ALIGNED or not matrix.flags.c_contiguous or not matrix.flags.writeable:
        return tf.constant(matrix)
    return tf.experimental.dlpack.from_dlpack(matrix.__dlpack__())


def _truncated_normal(random: np.random.Generator, shape: tuple[int, int], deviation: float) -> np.ndarray:
    """Draw from a normal distribution and draw again what lies beyond two deviations, as TensorFlow does."""
    values = random.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = random.standard_normal(int(far.sum()))
    return (values * deviation).astype(np.float32)
