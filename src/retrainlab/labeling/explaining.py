"""Where in an image a label comes from: a map of what each place adds to it.

What a softmax layer adds up comes from places: a mean over the image is a sum over its places (class activation maps,
Zhou et al. 2016, arxiv.org/abs/1512.04150), and so is, to first order, whatever else lies between the last map and the
layer (Grad-CAM, Selvaraju et al. 2017, arxiv.org/abs/1610.02391; place by place, as Draelos & Carin 2020,
arxiv.org/abs/2011.08891, show it must be). Maps that are read at several depths are added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..backbones.freezing import INPUT, OUTPUT
from ..backbones.runtimes import quiet, tensorflow
from ..errors import RetrainLabError
from ..export import contracts, exporting
from ..export.contracts import Preprocessing
from ..training.heads import Head
from .labelers import Labeler

_GRAPH = "output_graph.pb"


@dataclass(frozen=True)
class Explainer:
    """An exported classifier whose gradients can be asked for; TensorFlow is imported when one is opened.

    Attributes:
        head: its layer.
        preprocessing: of pixels.
        parts: what each place adds to a sum of bottlenecks: (images, weights [n, dim]) -> one map [n, h, w] a depth.
    """

    head: Head
    preprocessing: Preprocessing
    parts: Any

    def maps(self, pixels: np.ndarray, labels: Sequence[int]) -> np.ndarray:
        """Where the label of each image comes from.

        Args:
            pixels: uint8 [n, height, width, 3].
            labels: [n], places in class order.

        Returns:
            float32 [n, height, width], 0 to 1: what lies above the image's own mean, its largest is 1; all 0 where no
            place adds more than another.
        """
        return self._maps(pixels, [_towards(self.head, label) for label in labels])

    def of_chance(self, pixels: np.ndarray, labels: Sequence[int], seed: int = 0) -> np.ndarray:
        """The same of a layer with random weights: a map worth looking at differs from it (Adebayo et al. 2018,
        arxiv.org/abs/1810.03292).
        """
        random = np.random.default_rng(seed)
        return self._maps(pixels, [random.permuted(_towards(self.head, label)) for label in labels])

    def _maps(self, pixels: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
        found = []
        for image, weight in zip(pixels, weights, strict=True):
            depths = self.parts(self.preprocessing(image), weight[None].astype(np.float32))
            found.append(_together([depth[0] for depth in depths], image.shape[:2]))
        return np.stack(found) if found else np.zeros((0, 1, 1), np.float32)


def picture(pixels: np.ndarray, values: np.ndarray) -> Image.Image:
    """Lay a map over its image, warm where the label comes from: uint8 [height, width, 3], float [height, width]."""
    grey = pixels.mean(axis=2, keepdims=True) * 0.55
    warm = np.stack([values, values**2 * 0.65, 0.25 * values * (1 - values)], axis=2) * 255
    share = 0.75 * np.sqrt(values)[:, :, None]
    return Image.fromarray(np.clip(grey * (1 - share) + warm * share, 0, 255).astype(np.uint8))


def load(model: Path) -> Explainer:
    """Open the frozen graph of an exported folder.

    Raises:
        RetrainLabError: no export, or the network has no place where height and width are left.
    """
    contract, (head, *_) = contracts.read(model), exporting.read_head(model)
    if not contract.maps:
        raise RetrainLabError(
            f"'{model}' cannot say where a label comes from: its network has no tensor of height, width and channels "
            "that carries everything. Use another backbone."
        )
    contracts.verify(model, contract, [_GRAPH])
    tf = tensorflow()
    graph, definition = tf.Graph(), tf.compat.v1.GraphDef()
    definition.ParseFromString((model / _GRAPH).read_bytes())
    with graph.as_default():
        tf.graph_util.import_graph_def(definition, name="")
        maps = [_tensor(graph, name, model) for name in contract.maps]
        bottleneck, images = (graph.get_tensor_by_name(f"{name}:0") for name in (OUTPUT, INPUT))
        weights = tf.compat.v1.placeholder(tf.float32, [None, int(bottleneck.shape[1])])
        slopes = tf.compat.v1.gradients(tf.reduce_sum(bottleneck * weights), maps, stop_gradients=maps)
        added = [
            tf.reduce_sum(slope * values, axis=3)
            for slope, values in zip(slopes, maps, strict=True)
            if slope is not None
        ]
    session = tf.compat.v1.Session(graph=graph)

    def parts(pixels: np.ndarray, towards: np.ndarray) -> list[np.ndarray]:
        with quiet():
            return session.run(added, {images: pixels, weights: towards})

    return Explainer(head, contract.preprocessing, parts)


def shown(labeler: Labeler, best: str, probability: float) -> str:
    """Tell which label of an image is to be explained: the most probable one, or that which a threshold says."""
    if labeler.guarded is None or (chosen := labeler.guarded.guard.threshold) is None:
        return best
    chances = np.where(np.array(labeler.labels) == best, probability, 1 - probability)  # of two labels
    return chosen.answer(labeler.labels, chances)


def _tensor(graph: Any, name: str, model: Path) -> Any:
    """Find a map by the end of its operation's name: whoever wraps a graph writes something in front."""
    found = [each for each in graph.get_operations() if each.name == name or each.name.endswith(f"/{name}")]
    if not found:
        raise RetrainLabError(f"'{model / _GRAPH}' has no operation '{name}'. Export the model again.")
    return found[0].outputs[0]


def _towards(head: Head, label: int) -> np.ndarray:
    """What a bottleneck has to move along for a label to win over the others, [dim]; roughly, with a hidden layer."""
    kernel = head.kernel[:, label] - head.kernel.mean(axis=1)
    return kernel if head.hidden is None else head.hidden[0] @ kernel


def _together(depths: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Add up what places add, each [h, w], over an image of this size, and keep what lies above the mean."""
    height, width = size
    whole = np.zeros(size, np.float32)
    for each in depths:
        spread = Image.fromarray(np.ascontiguousarray(each, np.float32)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        whole += np.asarray(spread) * (each.size / whole.size)  # the sum over the image stays
    above = np.maximum(0, whole - whole.mean())
    return above / above.max() if above.max() > 1e-9 * max(1.0, float(np.abs(whole).max())) else above * 0
