"""A softmax head: the settings that it is trained with, and what training makes of them, in plain NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import RetrainLabError

_MOST = 100_000  # images a batch, and hidden units: more would take all memory, and win nothing


@dataclass(frozen=True)
class HeadSettings:
    """How to train a head; retrain.py's names where it had one.

    `standardize` scales every feature to mean 0 and deviation 1 over the training images. It is folded into the
    weights afterwards, so that a trained head takes plain bottlenecks. `class_weight` "none" draws every image with
    equal chance; "balanced" draws a label, then an image of it, as retrain.py does, so that rare labels count as much
    as common ones.
    """

    how_many_training_steps: int = 4000  # batches, from 1 up
    learning_rate: float = 0.01  # above 0
    train_batch_size: int = 100  # images a batch, drawn with replacement
    optimizer: str = "sgd"  # as in retrain.py, or "adam" (with a learning_rate of about 0.001)
    weight_decay: float = 0.0  # adds weight_decay / 2 x the sum of squared weights to the loss, from 0 up
    standardize: bool = True
    label_smoothing: float = 0.0  # probability given evenly to all labels, 0 to less than 1
    class_weight: str = "none"
    hidden_units: int = 0  # size of a hidden ReLU layer; 0 = none
    dropout: float = 0.0  # share of the last layer's inputs that each step leaves out, 0 to less than 1
    seed: int = 0  # of the first weights and of the batches; the same seed gives the same numbers

    def __post_init__(self) -> None:
        expected = {
            "how_many_training_steps": (self.how_many_training_steps >= 1, "a whole number from 1 up"),
            "learning_rate": (self.learning_rate > 0, "a number above 0"),
            "train_batch_size": (1 <= self.train_batch_size <= _MOST, f"a whole number from 1 to {_MOST:,}"),
            "optimizer": (self.optimizer in ("adam", "sgd"), "adam or sgd"),
            "weight_decay": (self.weight_decay >= 0, "a number from 0 up"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "a number from 0 to less than 1"),
            "class_weight": (self.class_weight in ("none", "balanced"), "none or balanced"),
            "hidden_units": (0 <= self.hidden_units <= _MOST, f"a whole number from 0 to {_MOST:,}"),
            "dropout": (0 <= self.dropout < 1, "a number from 0 to less than 1"),
            "seed": (self.seed >= 0, "a whole number from 0 up"),
        }
        for name, (fits, what) in expected.items():
            if not fits:
                raise RetrainLabError(f"{name} is {getattr(self, name)!r}. Expected {what}.")

    @property
    def plain(self) -> "HeadSettings":
        """The same for a softmax layer alone, which `solver` can solve for: no hidden units, no dropout."""
        return replace(self, hidden_units=0, dropout=0.0, optimizer="sgd")

    def vary(self, **values: Sequence[Any]) -> "list[HeadSettings]":
        """Make a stack that differs from these settings in one field: `settings.vary(weight_decay=[0, 0.1])`.

        Raises:
            RetrainLabError: there is no value, or one is impossible.
        """
        ((name, choices),) = values.items()
        if not len(choices):
            raise RetrainLabError(f"{name} is an empty list. Expected one value or more.")
        return [replace(self, **{name: choice}) for choice in choices]


@dataclass(frozen=True)
class Head:
    """A trained final layer."""

    labels: list[str]  # in class order
    settings: HeadSettings  # how it was trained
    kernel: np.ndarray  # float32 [dim or hidden_units, labels]
    bias: np.ndarray  # float32 [labels]
    hidden: tuple[np.ndarray, np.ndarray] | None = None  # kernel float32 [dim, hidden_units], bias [hidden_units]
    temperature: float = 1.0  # what the last layer has been divided by since it was trained; see `calibrated`

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Compute the logits float32 [n, labels] of bottlenecks float32 [n, dim]."""
        if self.hidden is not None:
            features = np.maximum(features @ self.hidden[0] + self.hidden[1], 0)
        return (features @ self.kernel + self.bias).astype(np.float32)

    def calibrated(self, temperature: float) -> "Head":
        """Divide the logits by a temperature above 0 (`calibration.temperature`): same answers, other probabilities.

        It is a copy whose last layer is divided, so every export carries it; training starts from the layer as it was.
        """
        return replace(
            self,
            kernel=(self.kernel / temperature).astype(np.float32),
            bias=(self.bias / temperature).astype(np.float32),
            temperature=float(self.temperature * temperature),
        )
