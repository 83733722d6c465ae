"""The part of a network above a cut, with the layer on it, while both learn: its step, its weights, its state.

TensorFlow is imported when a top is made.
"""

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backbones import cutting
from ..backbones.cuts import Cut
from ..backbones.freezing import OUTPUT
from ..backbones.gpu import Portions
from ..backbones.runtimes import tensorflow
from .devices import Device
from .heads import Head

if TYPE_CHECKING:
    from .finetuning import TuningSettings

_MOST = 1024  # images at a time, which is more than a batch has
_ADAM = 0.9, 0.999, 1e-7  # decay of both moments, epsilon


class Top:
    """The variables above a cut, their forward pass, and AdamW on them.

    Where the device has no memory for a batch, gradients are summed over portions of it: they are the same but for
    rounding, since no image depends on its neighbours.
    """

    def __init__(self, graph: Any, cut: Cut, head: Head, settings: "TuningSettings", device: Device) -> None:
        tf, self._device = tensorflow(), device
        self.labels, self._start, self._settings = head.labels, head, settings
        values = cutting.kernels(graph)
        self._names, layer = list(values), (head.kernel, head.bias)
        self._variables = [tf.Variable(value, dtype=tf.float32) for value in (*values.values(), *layer)]
        self._moments = [[tf.Variable(tf.zeros_like(v)) for v in self._variables] for _ in range(2)]
        self._scale, self._portions = tf.Variable(device.loss_scale), Portions(_MOST)
        shapes = [tf.TensorSpec([None, *cut.shape]), *(tf.TensorSpec(value.shape) for value in values.values())]

        def bottleneck(x: Any, *weights: Any) -> Any:
            given = {f"{cut.name}:0": x} | {f"{n}:0": w for n, w in zip(self._names, weights, strict=True)}
            return tf.graph_util.import_graph_def(graph, given, [f"{OUTPUT}:0"])[0]

        # a function of its own: a tape does not see what is imported, but knows the gradient of a call
        self._bottleneck = tf.function(bottleneck, input_signature=shapes, autograph=False)
        batch, number = tf.TensorSpec([None, *cut.shape]), tf.TensorSpec([], tf.int32)
        some = [batch, tf.TensorSpec([None], tf.int32), *[number] * 3]
        gradients = [tf.TensorSpec(variable.shape) for variable in self._variables]
        # two functions: where the memory ends in the first, no variable has changed yet
        self._gradients = tf.function(self._slopes, input_signature=some, autograph=False)
        self._change = tf.function(self._take, input_signature=[gradients, tf.TensorSpec([]), number], autograph=False)
        self._judge = tf.function(lambda x: self._logits(x), input_signature=[batch], autograph=False)

    def step(self, x: np.ndarray, classes: np.ndarray, number: int, an_epoch: int) -> float:
        """Take step `number`, from 1, on a batch; an epoch has so many. Returns the loss, in nats."""
        last = self._settings.epochs * an_epoch
        warm = min(1.0, number / an_epoch)
        along = max(0.0, (number - an_epoch) / max(1, last - an_epoch))
        rate = self._settings.learning_rate * warm * (1 + np.cos(np.pi * along)) / 2
        with self._device.computing():
            loss, gradients = self._whole(x, classes.astype(np.int32), np.int32(number))
            self._change(gradients, np.float32(rate), np.int32(number))
            return float(loss)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """x: float32 [n, height, width, channels] -> float32 [n, labels]."""
        with self._device.computing():
            return np.concatenate([*self._portions.each(len(x), lambda part: self._judge(x[part]).numpy())])

    def _whole(self, x: np.ndarray, classes: np.ndarray, step: np.int32) -> tuple[Any, list[Any]]:
        """The loss of a batch and its gradients, from as many portions as the memory asks for."""
        count = np.int32(len(x))

        def of(part: slice) -> tuple[Any, list[Any]]:
            return self._gradients(x[part], classes[part], step, np.int32(part.start), count)

        def both(one: tuple[Any, list[Any]], other: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
            return one[0] + other[0], [each + more for each, more in zip(one[1], other[1], strict=True)]

        return reduce(both, self._portions.each(len(x), of))

    def _logits(self, x: Any, kept: Callable[[Any], Any] = lambda bottlenecks: bottlenecks) -> Any:
        *weights, kernel, bias = self._variables
        return kept(self._bottleneck(x, *(variable.read_value() for variable in weights))) @ kernel + bias

    def _slopes(self, x: Any, classes: Any, step: Any, begin: Any, count: Any) -> Any:
        """The loss and the gradients of a portion of a batch of `count`, from image `begin` on: its share of the mean.

        Gradients are those of the scaled loss.
        """
        tf, smooth, labels = tensorflow(), self._settings.label_smoothing, len(self.labels)
        truth = tf.one_hot(classes, labels) * (1 - smooth) + smooth / labels
        share = tf.cast(tf.shape(x)[0], tf.float32) / tf.cast(count, tf.float32)

        def kept(bottlenecks: Any) -> Any:
            if not self._settings.dropout:
                return bottlenecks
            seed = tf.stack([tf.constant(self._settings.seed), step])
            ones = tf.ones([count, len(self._start.kernel)])  # drawn for the whole batch, however it is divided
            drawn = tf.nn.experimental.stateless_dropout(ones, self._settings.dropout, seed)
            return bottlenecks * drawn[begin : begin + tf.shape(x)[0]]

        with tf.GradientTape() as tape:
            losses = tf.nn.softmax_cross_entropy_with_logits(truth, self._logits(x, kept))
            loss = tf.reduce_mean(losses) * share
            scaled = loss if self._device.loss_scale == 1 else loss * self._scale
        return loss, tape.gradient(scaled, self._variables)

    def _take(self, gradients: list[Any], rate: Any, step: Any) -> None:
        """Take a step along gradients of the scaled loss."""
        tf = tensorflow()
        if self._device.loss_scale == 1:
            self._descend(gradients, rate, step)
            return
        gradients = [gradient / self._scale for gradient in gradients]
        sound = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        tf.cond(sound, lambda: self._descend(gradients, rate, step), self._scale_less)

    def _scale_less(self) -> None:
        """Pass over a step whose gradients were too large for float16."""
        self._scale.assign(self._scale / 2)

    def _descend(self, gradients: list[Any], rate: Any, step: Any) -> None:
        """Change the variables by their gradients, as AdamW does."""
        tf = tensorflow()
        fade, fade2, epsilon = _ADAM
        time = tf.cast(step, tf.float32)
        unbiased = tf.sqrt(1 - fade2**time) / (1 - fade**time)
        for variable, gradient, mean, square in zip(self._variables, gradients, *self._moments, strict=True):
            mean.assign(fade * mean + (1 - fade) * gradient)
            square.assign(fade2 * square + (1 - fade2) * gradient**2)
            decayed = variable * (1 - rate * self._settings.weight_decay) if len(variable.shape) > 1 else variable
            variable.assign(decayed - rate * unbiased * mean / (tf.sqrt(square) + epsilon))

    def weights(self) -> dict[str, np.ndarray]:
        """The weights of the top by the names of their constants, without the layer's."""
        return {name: variable.numpy() for name, variable in zip(self._names, self._variables, strict=False)}

    def head(self) -> Head:
        """The layer on the top."""
        kernel, bias = (variable.numpy() for variable in self._variables[-2:])
        return Head(self.labels, self._start.settings, kernel, bias)

    def state(self) -> list[np.ndarray]:
        """All that the next step depends on, as arrays."""
        return [variable.numpy() for group in (self._variables, *self._moments) for variable in group]

    def restore(self, state: list[np.ndarray]) -> None:
        """Undo what was done since `state`."""
        for variable, value in zip((v for g in (self._variables, *self._moments) for v in g), state, strict=True):
            variable.assign(value)
