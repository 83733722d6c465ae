"""Answers with an opinion of them: an export that carries its guard judges an image by the bottleneck that it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backbones.backbone import network_in, open_network
from ..errors import RetrainLabError
from ..evaluation.calibration import softmax
from ..export import contracts, exporting
from ..export.contracts import Preprocessing
from ..training.heads import Head
from ..trust.guard import Guard, Opinion


@dataclass(frozen=True)
class Guarded:
    """A classifier in two steps, to the bottleneck and on to the labels, with what is known of bottlenecks."""

    network: Callable[[np.ndarray], np.ndarray]  # float32 [1, height, width, 3] -> float32 [1, dim]
    preprocessing: Preprocessing
    head: Head
    guard: Guard

    def run(self, images: np.ndarray) -> np.ndarray:
        """Compute probabilities as an exported model does: float32 [1, height, width, 3] -> float32 [labels]."""
        return self._chances(self._bottleneck(images))[0]

    def judge(self, pixels: np.ndarray) -> tuple[np.ndarray, Opinion]:
        """Label an image, uint8 [height, width, 3], and say what to think of it: (float32 [labels], opinion)."""
        bottleneck = self._bottleneck(self.preprocessing(pixels))
        chances = self._chances(bottleneck)
        return chances[0], self.guard.opinions(bottleneck, chances)[0]

    def _chances(self, bottlenecks: np.ndarray) -> np.ndarray:
        return softmax(self.head.logits(bottlenecks)).astype(np.float32)

    def _bottleneck(self, images: np.ndarray) -> np.ndarray:
        try:
            return self.network(images)
        except (ValueError, RuntimeError) as error:
            raise RetrainLabError(f"The network in '{exporting.TRUST}/' cannot be run on an image: {error}") from error


def load(model: Path, preprocessing: Preprocessing) -> Guarded | None:
    """Open the guard of an exported folder; None where it has none.

    Raises:
        RetrainLabError: it is damaged, or part of it is gone.
    """
    folder, contract = model / exporting.TRUST, contracts.read(model)
    if not folder.is_dir():
        return None
    contracts.verify(model, contract, [name for name in contract.files if name.startswith(f"{exporting.TRUST}/")])
    head, *_ = exporting.read_head(model)
    file = network_in(folder)
    try:
        network = open_network(file)
    except ValueError as error:
        raise RetrainLabError(f"'{file}' is no whole network ({error}). Export it again.") from error
    found = Guarded(network, preprocessing, head, exporting.load_guard(model))
    if found.guard.labels != head.labels:
        raise RetrainLabError(f"'{folder}' belongs to another export than '{model}'. Export the model again.")
    return found
