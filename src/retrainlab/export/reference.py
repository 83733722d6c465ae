"""Reference images for an export: made up, so that no photo leaves with it, and chosen so that wrong feeding shows."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_IMAGES = 3
_CANDIDATES = 32
_HALVINGS = 10  # of the way between two images: grey levels are no finer


def write(
    folder: Path, image_size: tuple[int, int], labels: Sequence[str], chances: Callable[[np.ndarray], np.ndarray]
) -> list[dict[str, Any]]:
    """Write three reference images into `folder`/reference.

    Each blends two images that the classifier takes for different labels, so that it wavers: there, nearly every
    mistake shows. If all made-up images look like one label to it, the three that it is least sure of are taken.

    Args:
        image_size: (height, width).
        labels: in class order.
        chances: uint8 [n, height, width, 3] -> probabilities [n, labels], by other means than what is exported.

    Returns:
        The contract's `reference`: [{"image": path in the folder, "probabilities": {label: probability}}].
    """
    pixels = np.stack(list(_pictures(image_size)))
    found = chances(pixels)
    winner = found.argmax(axis=1)
    usual = np.bincount(winner).argmax()
    ones, others = pixels[winner == usual], pixels[winner != usual]
    if len(others):
        pairs = [(ones[i % len(ones)], others[i % len(others)]) for i in range(_IMAGES)]
        chosen = np.stack([_blend(one, other, int(usual), chances) for one, other in pairs])
    else:
        chosen = pixels[np.argsort(found.max(axis=1), kind="stable")[:_IMAGES]]
    (folder / "reference").mkdir()
    reference = []
    for number, (image, row) in enumerate(zip(chosen, chances(chosen), strict=True), start=1):
        name = f"reference/{number}.png"
        Image.fromarray(image).save(folder / name)
        probabilities = {label: float(chance) for label, chance in zip(labels, row, strict=True)}
        reference.append({"image": name, "probabilities": probabilities})
    return reference


def _blend(one: np.ndarray, other: np.ndarray, label: int, chances: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Go from an image of a label towards one of another, by bisection, to where the classifier is least sure."""
    near, far, tried = 0.0, 1.0, []
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        blend = np.round(one * (1 - middle) + other * middle).astype(np.uint8)
        row = chances(blend[None])[0]
        tried.append((row.max(), blend))
        near, far = (middle, far) if row.argmax() == label else (near, middle)
    return min(tried, key=lambda pair: pair[0])[1]


def _pictures(size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Make up images, uint8 [height, width, 3]: smooth colours, pale or bright, with boxes and noise; seeded.

    Boxes, because smooth images alone look like one label to many a classifier of two.
    """
    random = np.random.default_rng(0)
    height, width = size
    for _ in range(_CANDIDATES):
        colours = random.uniform(-1, 1, (4, 4, 3))
        colourfulness = random.uniform(0.4, 1)  # never grey: the order of channels must show
        colours = colourfulness * colours + (1 - colourfulness) * colours.mean(axis=2, keepdims=True)
        small = random.uniform(64, 192) + _contrast(random) * colours
        image = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))
        picture = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)
        for _ in range(random.integers(0, 12)):
            (top, bottom), (left, right) = (np.sort(random.integers(0, side + 1, 2)) for side in size)
            picture[top:bottom, left:right] += _contrast(random) * random.uniform(-1, 1, 3)
        picture += random.normal(0, random.choice([0, 2, 8]), picture.shape)
        yield np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _contrast(random: np.random.Generator) -> float:
    return 127 * 20 ** random.uniform(-1, 0)
