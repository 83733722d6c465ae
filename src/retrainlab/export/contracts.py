"""What an export promises, in its contract.json: `labeling` holds a model to it.

A classifier that is fed wrongly, with another range, order of channels or of labels, still answers; it is only wrong.
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..backbones.backbone import Backbone
from ..errors import RetrainLabError
from ..evaluation.calibration import softmax
from ..training.heads import Head
from . import reference
from .formats import INPUT

FILE = "contract.json"


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
        input, output: names of the frozen graph's nodes.
        reference: path of an image in the folder -> {label: probability expected}.
        files: path in the folder -> sha256, as exported.
    """

    labels: list[str]
    image_size: tuple[int, int]
    preprocessing: Preprocessing
    input: str
    output: str
    reference: dict[str, dict[str, float]]
    files: dict[str, str]


def write(folder: Path, backbone: Backbone, head: Head, final_tensor_name: str) -> None:
    """Write contract.json, and the reference images, for what else is in a folder."""

    def chances(pixels: np.ndarray) -> np.ndarray:  # what is expected comes from the head, not from what is exported
        return softmax(head.logits(backbone.bottlenecks(pixels)))

    expected = reference.write(folder, backbone.image_size, head.labels, chances)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contract = {
        "labels": head.labels,
        "image_size": list(backbone.image_size),
        "input_range": [0, 1],
        "channels": "RGB",
        "resize": "bilinear, antialiased, aspect not kept, rounded to whole numbers of 0 to 255",
        "input": INPUT,
        "output": final_tensor_name,
        "backbone": backbone.handle,
        "backbone_digest": backbone.digest,
        "settings": asdict(head.settings),
        "reference": expected,
        "files": {file.relative_to(folder).as_posix(): digest(file) for file in files},
        "exported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    (folder / FILE).write_text(json.dumps(contract, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> Contract:
    """Read the contract of an exported folder.

    Raises:
        RetrainLabError: there is none, or it is not what `export` writes.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RetrainLabError(
            f"'{folder}' holds no readable contract.json, so what the model expects is unknown. Expected the model "
            "folder of a run, such as reports/demo/model; a frozen graph of retrain goes with --graph."
        ) from error
    try:
        values = json.loads(text)
        height, width = values["image_size"]
        low, high = values["input_range"]
        if values["channels"] not in ("RGB", "BGR") or low >= high:
            raise ValueError(f"input_range {low} to {high}, channels {values['channels']}")
        if not values["reference"]:
            raise ValueError("no reference images")
        return Contract(
            [str(label) for label in values["labels"]],
            (int(height), int(width)),
            from_range(low, high, values["channels"]),
            values["input"],
            values["output"],
            {entry["image"]: dict(entry["probabilities"]) for entry in values["reference"]},
            values["files"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RetrainLabError(
            f"'{folder / FILE}' is not what an export writes ({type(error).__name__}: {error}). Export the model again."
        ) from error


def digest(file: Path) -> str:
    """Compute the sha256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
