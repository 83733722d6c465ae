"""What an export promises, in its contract.json, and the check that a model keeps it.

A classifier that is fed wrongly, with another range, order of channels or of labels, still answers; it is only wrong.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import RetrainLabError
from ..images.decoding import read_pixels

FILE = "contract.json"
_TOLERANCE = 0.02  # of a probability; formats differ by less than 1e-3, mistakes by tenths
_RANGES = ((0, 1), (-1, 1), (0, 255))


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
        reference: path of an image in the folder -> {label: probability expected}; empty in early exports.
        files: path in the folder -> sha256, as exported; empty in early exports.
    """

    labels: list[str]
    image_size: tuple[int, int]
    preprocessing: Preprocessing
    input: str
    output: str
    reference: dict[str, dict[str, float]]
    files: dict[str, str]


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
        return Contract(
            [str(label) for label in values["labels"]],
            (int(height), int(width)),
            from_range(low, high, values["channels"]),
            values["input"],
            values["output"],
            {entry["image"]: dict(entry["probabilities"]) for entry in values.get("reference", [])},
            values.get("files", {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RetrainLabError(
            f"'{folder / FILE}' is not what an export writes ({type(error).__name__}: {error}). Export the model again."
        ) from error


def digests(folder: Path) -> dict[str, str]:
    """Compute the sha256 of every file in a folder, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in files}


def digest(file: Path) -> str:
    """Compute the sha256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# --------------------------------------------------------------------------------------------- what label checks


def check(
    file: Path, contract: Contract, preprocessing: Preprocessing, run: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Hold a model file to its contract: does it give the expected probabilities for the reference images?

    An 8-bit model is only held to being the file that was exported: it answers well to images like those it was made
    with, and strays by tenths on made-up ones.

    Args:
        file: the model, in the exported folder.
        preprocessing: as images are going to be fed.
        run: float32 [1, height, width, 3] -> float32 [labels].

    Raises:
        RetrainLabError: it does not. The message says which preprocessing or order of labels would fit, if any.
    """
    if "int8" in file.stem:
        for name in _changed(file, contract):
            raise RetrainLabError(f"'{file.with_name(name)}' is not the file that was exported. Export it again.")
        return
    if not contract.reference:
        return
    pixels, expected = _reference(file.parent, contract)

    def distance(how: Preprocessing) -> tuple[float, np.ndarray]:
        rows = np.stack([run(how(image)) for image in pixels])
        if rows.shape != expected.shape:
            raise RetrainLabError(
                f"'{file}' gives {rows.shape[1]} probabilities, but contract.json lists {len(contract.labels)} labels. "
                "One of the two belongs to another export. Export the model again."
            )
        return float(np.abs(rows - expected).max()), rows

    off, rows = distance(preprocessing)
    if off <= _TOLERANCE:
        return
    said = (
        f"'{file}', fed with {preprocessing}, does not give the probabilities that contract.json states for its "
        f"reference images (off by {off:.2g})."
    )
    for other in (from_range(low, high, channels) for channels in ("RGB", "BGR") for low, high in _RANGES):
        if distance(other)[0] <= _TOLERANCE:
            stated = "as contract.json states" if other == contract.preprocessing else "and state that in contract.json"
            raise RetrainLabError(
                f"{said} They fit with {other} (mean {other.mean:g}, std {other.std:g}): feed it so, {stated}."
            )
    order = _order(expected, rows)
    if order is not None:
        names = ", ".join(contract.labels[place] for place in order[:8])
        raise RetrainLabError(
            f"{said} They fit with the labels in another order: {names}{', ...' if len(order) > 8 else ''}. Put back "
            "the contract.json and output_labels.txt that were exported with it, or export it again."
        )
    changed = _changed(file, contract)
    reason = (
        f"{changed[0]} is not the file that was exported: it was damaged or replaced. Export it again."
        if changed
        else "The model is as it was exported, so contract.json was changed, or this machine computes otherwise."
    )
    raise RetrainLabError(f"{said} No usual range, order of channels or order of labels makes them fit. {reason}")


def _reference(folder: Path, contract: Contract) -> tuple[list[np.ndarray], np.ndarray]:
    """Read the reference images and the probabilities expected, [images, labels]."""
    pixels = []
    for name, probabilities in contract.reference.items():
        if set(probabilities) != set(contract.labels):
            raise RetrainLabError(
                f"The labels of '{folder / FILE}' are not those of its reference images. It was changed; export the "
                "model again."
            )
        try:
            pixels.append(read_pixels(folder / name))
        except RetrainLabError as error:
            raise RetrainLabError(f"The reference image '{folder / name}' cannot be read: {error}.") from error
        if pixels[-1].shape[:2] != contract.image_size:
            height, width = contract.image_size
            raise RetrainLabError(
                f"'{folder / FILE}' states images of {height} x {width} pixels, but its reference images have "
                f"{pixels[-1].shape[0]} x {pixels[-1].shape[1]}, which is what the model was exported for."
            )
    rows = [[chances[label] for label in contract.labels] for chances in contract.reference.values()]
    return pixels, np.array(rows)


def _order(expected: np.ndarray, found: np.ndarray) -> list[int] | None:
    """Find the order of labels, as places in class order, in which the probabilities found would be those expected."""
    order = [-1] * expected.shape[1]
    free = list(range(expected.shape[1]))
    for place in np.argsort(-expected.max(axis=0), kind="stable"):  # probable labels first: they are told apart best
        distances = np.abs(found[:, free] - expected[:, [place]]).max(axis=0)
        if distances.min() > _TOLERANCE:
            return None
        order[free.pop(int(distances.argmin()))] = int(place)
    return order


def _changed(file: Path, contract: Contract) -> list[str]:
    """List which files of a model are not what was exported: a SavedModel's variables are files of their own."""
    parts = [file.name]
    if file.name == "saved_model.pb":
        parts += [name for name in contract.files if name.startswith("variables/")]
    known = [name for name in parts if name in contract.files]
    return [name for name in known if digest(file.parent / name) != contract.files[name]]
