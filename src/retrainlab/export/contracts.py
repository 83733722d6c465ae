"""What an export promises, in its contract.json, with images to check it by: `labeling` holds a model to it.

A classifier that is fed wrongly, with another range, order of channels or of labels, still answers; it is only wrong.
So three reference images go along: made up, so that no photo leaves with it, and chosen so that wrong feeding shows.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
from PIL import Image

from .. import sealing
from ..backbones.backbone import Backbone
from ..backbones.freezing import INPUT
from ..errors import RetrainLabError
from ..evaluation.calibration import softmax
from ..evaluation.thresholds import Threshold
from ..pixels.levels import Levels
from ..sealing import DamagedFile
from ..shapes import Between, FieldsOf
from ..training.heads import Head, HeadSettings

FILE = "contract.json"
_IMAGES = 3
_CANDIDATES = 32
_Side = Annotated[int, Between(1, 1e5)]
_HALVINGS = 10  # of the way between two images: grey levels are no finer


@dataclass(frozen=True)
class Preprocessing:
    """What is done to pixels before a network sees them: (pixels - mean) / std, with channels in RGB or BGR order."""

    mean: float = 0.0
    std: float = 255.0
    channels: str = "RGB"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Turn uint8 [height, width, 3], RGB, into what a network takes: float32 [1, height, width, 3]."""
        ordered = pixels[..., ::-1] if self.channels == "BGR" else pixels
        return (ordered[None].astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)

    def __str__(self) -> str:
        low, high = (0 - self.mean) / self.std, (255 - self.mean) / self.std
        return f"pixels from {low:.3g} to {high:.3g} in {self.channels} order"


def from_range(low: float, high: float, channels: str = "RGB") -> Preprocessing:
    """Describe the preprocessing that puts pixels between two numbers."""
    std = 255 / (high - low)
    return Preprocessing((0 - low) * std, std, channels)


@dataclass(frozen=True)
class Contract:
    """A contract.json, read.

    Attributes:
        labels: in class order.
        image_size: (height, width).
        preprocessing: from `input_range` and `channels`.
        levels: the values that become 0 and 255 in images that are not of 8 bits, by kind.
        input, output: names of the frozen graph's nodes.
        reference: path of an image in the folder -> {label: probability expected}.
        files: path in the folder -> sha256, as exported.
        maps: names of the frozen graph's operations that still have height and width and that bottlenecks are made of.
        threshold: from which probability on one of two labels is to be said, whatever else is likely; None for none.
        backbone, backbone_digest: what the head stands on.
        settings: that the head was trained with.
    """

    labels: list[str]
    image_size: tuple[int, int]
    preprocessing: Preprocessing
    levels: Levels
    input: str
    output: str
    reference: dict[str, dict[str, float]]
    files: dict[str, str]
    maps: tuple[str, ...]
    threshold: Threshold | None
    backbone: str
    backbone_digest: str
    settings: HeadSettings


def write(
    folder: Path,
    backbone: Backbone,
    head: Head,
    final_tensor_name: str,
    levels: Levels,
    maps: Sequence[str] = (),
    threshold: Threshold | None = None,
) -> None:
    """Write contract.json, and the reference images, for what else is in a folder."""

    def chances(pixels: np.ndarray) -> np.ndarray:  # what is expected comes from the head, not from what is exported
        return softmax(head.logits(backbone.bottlenecks(pixels)))

    images = _reference(backbone.image_size, chances)
    reference = []
    (folder / "reference").mkdir()
    for number, (image, row) in enumerate(zip(images, chances(images), strict=True), start=1):
        name = f"reference/{number}.png"
        Image.fromarray(image).save(folder / name)
        reference.append({"image": name, "probabilities": dict(zip(head.labels, row.tolist(), strict=True))})
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contract = {
        "labels": head.labels,
        "image_size": backbone.image_size,
        "levels": levels.to_json(),
        "input_range": [0, 1],
        "channels": "RGB",
        "resize": "bilinear, antialiased, aspect not kept, rounded to whole numbers of 0 to 255",
        "input": INPUT,
        "output": final_tensor_name,
        "maps": list(maps),
        "threshold": None if threshold is None else asdict(threshold),
        "backbone": backbone.handle,
        "backbone_digest": backbone.digest,
        "settings": asdict(head.settings),
        "reference": reference,
        "files": {file.relative_to(folder).as_posix(): sealing.digest(file) for file in files},
        "exported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    (folder / FILE).write_text(sealing.json_text(contract), encoding="utf-8")


class _Reference(TypedDict):
    image: str
    probabilities: dict[str, Annotated[float, Between(0, 1)]]


class _Shape(TypedDict):
    labels: list[str]
    image_size: tuple[_Side, _Side]
    levels: dict[str, tuple[float, float]]
    input_range: tuple[float, float]
    channels: Literal["RGB", "BGR"]
    input: str
    output: str
    maps: list[str]
    threshold: Annotated[dict[str, Any], FieldsOf(Threshold)] | None
    backbone: str
    backbone_digest: str
    settings: Annotated[dict[str, Any], FieldsOf(HeadSettings)]
    reference: list[_Reference]
    files: dict[str, str]


def read(folder: Path) -> Contract:
    """Read the contract of an exported folder.

    Raises:
        RetrainLabError: there is none, or it is not what `export` writes.
    """
    try:
        values = sealing.read_json(folder / FILE, _Shape)
        low, high = values["input_range"]
        if low >= high:
            raise DamagedFile(f"'input_range' is {low} to {high}")
        if not values["reference"]:
            raise DamagedFile("it has no reference images")
        if values["threshold"] is not None and values["threshold"].get("positive_label") not in values["labels"]:
            raise DamagedFile("'threshold' is of a label that it does not have")
        height, width = values["image_size"]
        return Contract(
            values["labels"],
            (height, width),
            from_range(low, high, values["channels"]),
            Levels.from_json(values["levels"]),
            values["input"],
            values["output"],
            {entry["image"]: entry["probabilities"] for entry in values["reference"]},
            values["files"],
            tuple(values["maps"]),
            None if values["threshold"] is None else Threshold(**values["threshold"]),
            values["backbone"],
            values["backbone_digest"],
            HeadSettings(**values["settings"]),
        )
    except OSError as error:
        raise RetrainLabError(
            f"'{folder}' holds no readable contract.json, so what the model expects is unknown. Expected the model "
            "folder of a run, such as reports/demo/model; a frozen graph of retrain goes with --graph."
        ) from error
    except (ValueError, TypeError) as error:
        raise RetrainLabError(
            f"'{folder / FILE}' is not what an export writes ({error}). Export the model again."
        ) from error


def verify(folder: Path, contract: Contract, names: Iterable[str]) -> None:
    """Hold files of an exported folder to what they were when they were exported, as far as the contract lists them.

    Raises:
        RetrainLabError: one is missing, cannot be read, or has another content.
    """
    for name in names:
        if name not in contract.files:
            continue
        try:
            found = sealing.digest(folder / name)
        except OSError as error:
            raise RetrainLabError(
                f"'{folder / name}' cannot be read ({error.strerror}), and it was exported. Export the model again."
            ) from error
        if found != contract.files[name]:
            raise RetrainLabError(
                f"'{folder / name}' is not the file that was exported: it was damaged or replaced. Export the model "
                f"again. If another one is to stand in its place, take its line, and '{sealing.SEAL}', out of {FILE}."
            )


def belonging(name: str, contract: Contract) -> list[str]:
    """List the files that a model in an exported folder is made of: a SavedModel has its variables beside it."""
    more = [other for other in contract.files if other.startswith("variables/")] if name == "saved_model.pb" else []
    return [name, *more]


# --------------------------------------------------------------------------------------------- reference images


def _reference(size: tuple[int, int], chances: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Make up the reference images, uint8 [3, height, width, 3].

    Each blends two images that the classifier takes for different labels, so that it wavers: there, nearly every
    mistake shows. If all made-up images look like one label to it, the three that it is least sure of are taken.
    """
    pixels = np.stack(list(_pictures(size)))
    found = chances(pixels)
    winner = found.argmax(axis=1)
    usual = np.bincount(winner).argmax()
    ones, others = pixels[winner == usual], pixels[winner != usual]
    if len(others):
        pairs = [(ones[i % len(ones)], others[i % len(others)]) for i in range(_IMAGES)]
        return np.stack([_blend(one, other, int(usual), chances) for one, other in pairs])
    return pixels[np.argsort(found.max(axis=1), kind="stable")[:_IMAGES]]


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

    def contrast() -> float:
        return 127 * 20 ** random.uniform(-1, 0)

    for _ in range(_CANDIDATES):
        colours = random.uniform(-1, 1, (4, 4, 3))
        colourfulness = random.uniform(0.4, 1)  # never grey: the order of channels must show
        colours = colourfulness * colours + (1 - colourfulness) * colours.mean(axis=2, keepdims=True)
        small = random.uniform(64, 192) + contrast() * colours
        image = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))
        picture = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)
        for _ in range(random.integers(0, 12)):
            (top, bottom), (left, right) = (np.sort(random.integers(0, side + 1, 2)) for side in size)
            picture[top:bottom, left:right] += contrast() * random.uniform(-1, 1, 3)
        picture += random.normal(0, random.choice([0, 2, 8]), picture.shape)
        yield np.clip(np.round(picture), 0, 255).astype(np.uint8)
