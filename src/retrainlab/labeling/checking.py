"""Whether a model keeps what the contract beside it states; if not, what would make it fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import RetrainLabError
from ..export.contracts import FILE, Contract, Preprocessing, digest, from_range
from ..images.decoding import read_pixels

_TOLERANCE = 0.02  # of a probability; formats differ by less than 1e-3, mistakes by tenths
_USUAL = [from_range(*span, channels) for channels in ("RGB", "BGR") for span in ((0, 1), (-1, 1), (0, 255))]


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
    pixels, expected = _reference(file.parent, contract)

    def answers(how: Preprocessing) -> np.ndarray:
        rows = np.stack([run(how(image)) for image in pixels])
        if rows.shape != expected.shape:
            raise RetrainLabError(
                f"'{file}' gives {rows.shape[1]} probabilities, but contract.json lists {len(contract.labels)} labels. "
                "One of the two belongs to another export. Export the model again."
            )
        return rows

    rows = answers(preprocessing)
    if (off := np.abs(rows - expected).max()) <= _TOLERANCE:
        return
    fitting = next((how for how in _USUAL if np.abs(answers(how) - expected).max() <= _TOLERANCE), None)
    raise RetrainLabError(
        f"'{file}', fed with {preprocessing}, does not give the probabilities that contract.json states for its "
        f"reference images (off by {off:.2g}). {_advice(file, contract, fitting, _order(expected, rows))}"
    )


def _advice(file: Path, contract: Contract, fitting: Preprocessing | None, order: list[int] | None) -> str:
    """Say what would make a model fit: other preprocessing, another order of labels, or a new export."""
    if fitting:
        stated = "as contract.json states" if fitting == contract.preprocessing else "and state that in contract.json"
        return f"They fit with {fitting} (mean {fitting.mean:g}, std {fitting.std:g}): feed it so, {stated}."
    if order:
        names = ", ".join(contract.labels[place] for place in order[:8])
        return (
            f"They fit with the labels in another order: {names}{', ...' if len(order) > 8 else ''}. Put back the "
            "contract.json and output_labels.txt that were exported with it, or export it again."
        )
    reason = "The model is as it was exported, so contract.json was changed, or this machine computes otherwise."
    for name in _changed(file, contract)[:1]:
        reason = f"{name} is not the file that was exported: it was damaged or replaced. Export it again."
    return f"No usual range, order of channels or order of labels makes them fit. {reason}"


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
    parts = [name for name in contract.files if name == file.name]
    if file.name == "saved_model.pb":
        parts += [name for name in contract.files if name.startswith("variables/")]
    return [name for name in parts if digest(file.parent / name) != contract.files[name]]


def same_size(file: Path, own: tuple[int | None, int | None], asked: tuple[int, int], who: str) -> None:
    """Refuse to feed a network images of another size than it takes; None stands for any."""
    if any(side is not None and side != other for side, other in zip(own, asked, strict=True)):
        raise RetrainLabError(
            f"'{file}' takes images of {own[0] or 'any'} x {own[1] or 'any'} pixels (height x width), but {who} "
            f"{asked[0]} x {asked[1]}."
        )
