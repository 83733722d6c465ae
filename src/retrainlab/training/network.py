"""The network that a stack of heads is while it trains: its variables, forward pass and optimizer, in TensorFlow."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backbones.runtimes import tensorflow
from ..errors import RetrainLabError
from .heads import Head, HeadSettings

_ADAM = 0.9, 0.999, 1e-7  # decay of both moments, epsilon: Kingma & Ba 2015, arxiv.org/abs/1412.6980


class Network:
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
            seed = tf.stack([tf.constant(self.seed), step])
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
