"""Open what `export` wrote, and hold it to the contract beside it; if it does not keep that, say what would fit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backbones.runtimes import litert, tensorflow, without_wildcards
from ..errors import RetrainLabError
from ..export import contracts
from ..export.contracts import Contract, Preprocessing
from ..files import opened
from ..pixels.decoding import read_pixels
from ..pixels.deep import Deep
from ..pixels.levels import OWN, Levels
from ..pixels.opening import open_image
from . import graphs, guarding
from .guarding import Guarded

_Size = tuple[int | None, int | None]
_Run = Callable[[np.ndarray], np.ndarray]
_TOLERANCE = 0.02  # of a probability; formats differ by less than 1e-3, mistakes by tenths
_USUAL = [contracts.from_range(*span, channels) for channels in ("RGB", "BGR") for span in ((0, 1), (-1, 1), (0, 255))]


@dataclass(frozen=True)
class Labeler:
    """A classifier, ready to use.

    Attributes:
        labels: in class order.
        image_size: (height, width) of the pixels that it takes; None where it takes images as they are.
        probabilities: uint8 [height, width, 3], RGB -> float32 [labels]. Raises RetrainLabError where it fails.
        note: what was found out or assumed about a graph that nobody described, or from which probability on a label
            is said; else empty.
        levels: the scale that it has learnt images on which are not of 8 bits.
        guarded: the same with an opinion of each answer; None where the model does not carry what that needs.
    """

    labels: list[str]
    image_size: tuple[int, int] | None
    probabilities: Callable[[np.ndarray], np.ndarray]
    note: str = ""
    levels: Levels = OWN
    guarded: Guarded | None = None

    def read(self, source: Path | str | bytes, name: str = "") -> tuple[np.ndarray, str]:
        """Read an image as it is to be given to `probabilities`: (pixels, what to say of its scale, or "").

        An image that is not of 8 bits is read on the scale of those that the classifier has learnt from. If there
        were none of its kind, nothing tells what is dark or bright there: its own values decide, and that is said.

        Args:
            name: the file's, where `source` is its content.

        Raises:
            RetrainLabError: it cannot be read as an image.
        """
        with open_image(source, self.image_size, name) as image:
            return image.pixels(self.image_size, self.levels), self._of_scale(image.deep)

    def _of_scale(self, deep: Deep | None) -> str:
        if deep is None:
            return ""
        if (known := self.levels.known(deep.dtype.name)) is None:
            return f"it holds {deep.dtype} values, and the model knows no scale for those: it is scaled by its own"
        _, high = deep.extremes
        if high > known[1]:
            return f"its values reach {high:,g}, and all from {known[1]:,g} up is white to the model"
        return ""


def load(model: Path | str) -> Labeler:
    """Open an exported model and hold it to its contract.

    Args:
        model: the exported folder, which opens what needs no TensorFlow (what the guard needs, or LiteRT), or one file
            in it: saved_model.pb, output_graph.pb or a .tflite file, none of which has opinions.

    Raises:
        RetrainLabError: nothing there, not an export of Retrain Lab, damaged, or not what its contract states.
    """
    path = Path(model).expanduser()
    if not path.exists():
        raise RetrainLabError(f"No model at '{path}'. Expected the model folder of a run, such as reports/demo/model.")
    folder = path if path.is_dir() else path.parent
    contract = contracts.read(folder)
    usual = [folder / "model.tflite", folder / "saved_model.pb"]
    file = next((file for file in ([path] if path.is_file() else usual) if file.exists()), None)
    if file is None:
        raise RetrainLabError(f"'{folder}' holds no model: neither model.tflite nor saved_model.pb.")
    guarded = guarding.load(folder, contract.preprocessing) if path.is_dir() else None
    size: _Size
    run: _Run
    if guarded is not None:
        size, run = contract.image_size, guarded.run
    elif file.name == "saved_model.pb":
        size, run = _saved_model(file)
    elif file.suffix == ".pb":
        graph = graphs.read(file, contract.input, contract.output)
        size, run = graph.size, graph.run
    elif file.suffix == ".tflite":
        size, run = _litert(file)
    else:
        raise RetrainLabError(f"'{file}' is no model. Expected saved_model.pb, output_graph.pb or model.tflite.")
    same_size(file, size, contract.image_size, "contract.json states")
    _same_labels(folder / "output_labels.txt", contract)
    check(file, contract, contract.preprocessing, run)

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        return run(contract.preprocessing(pixels))

    note = _of_threshold(contract, file, guarded is not None)
    return Labeler(contract.labels, contract.image_size, probabilities, note, contract.levels, guarded)


def _of_threshold(contract: Contract, file: Path, used: bool) -> str:
    if (chosen := contract.threshold) is None:
        return ""
    said = f"'{chosen.positive_label}' from a probability of {chosen.threshold:.1%} on"
    if used:
        return f"It says {said}, as was asked for in training; 'label' is still the most probable one."
    return f"In training it was asked to say {said}. {file.name} alone says the most probable label: name its folder."


def _litert(file: Path) -> tuple[_Size, _Run]:
    """Open a LiteRT model: (height, width) that it takes, and float32 [1, height, width, 3] -> float32 [labels]."""
    try:
        network = litert(file)
        from ai_edge_litert.interpreter import Interpreter

        shape = Interpreter(model_path=str(file)).get_input_details()[0]["shape"]
    except (ValueError, RuntimeError) as error:
        raise RetrainLabError(f"'{file}' is no whole LiteRT model ({error}). Export it again.") from error

    def run(images: np.ndarray) -> np.ndarray:
        try:
            return network(images)[0]
        except (ValueError, RuntimeError) as error:
            raise RetrainLabError(f"'{file}' cannot be run on an image: {error}") from error

    return (int(shape[1]), int(shape[2])) if len(shape) == 4 else (0, 0), run


def _saved_model(file: Path) -> tuple[_Size, _Run]:
    """Open a SavedModel, likewise."""
    tf = tensorflow()
    try:
        with without_wildcards(file.parent) as folder:
            loaded = tf.saved_model.load(str(folder))
        shape = loaded.signatures["serving_default"].structured_input_signature[1]["image"].shape
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise RetrainLabError(f"'{file.parent}' holds no whole SavedModel ({error}). Export it again.") from error

    def run(images: np.ndarray) -> np.ndarray:
        return loaded.signatures["serving_default"](image=tf.constant(images))["prediction"].numpy()[0]

    return (shape[1], shape[2]), run


def _same_labels(file: Path, contract: Contract) -> None:
    """Clients read the labels from output_labels.txt: it must list those of the contract, in their order."""
    if not file.exists():
        return
    found, expected = read_labels(file), [" ".join(label.splitlines()).rstrip() for label in contract.labels]
    if found != expected:
        how = "in another order" if sorted(found) == sorted(expected) else f"otherwise ({len(found)} of them)"
        raise RetrainLabError(
            f"'{file}' lists the labels {how} than contract.json ({len(expected)} labels), so one of the two was "
            "changed. Put back the one that was exported, or export again."
        )


def read_labels(file: Path) -> list[str]:
    """Read a file of labels, one a line, in class order; empty lines at its end do not count.

    Raises:
        RetrainLabError: it cannot be read.
    """
    try:
        with opened(file) as content:
            text = content.read().decode("utf-8-sig", "replace")
    except OSError as error:
        raise RetrainLabError(f"The labels file '{file}' cannot be read: {error.strerror}.") from error
    return [line.rstrip() for line in text.rstrip().split("\n")] if text.strip() else []


# --------------------------------------------------------------------------------------------- the contract


def check(file: Path, contract: Contract, preprocessing: Preprocessing, run: _Run) -> None:
    """Hold a model file to its contract: does it give the expected probabilities for the reference images?

    An 8-bit model is only held to being the file that was exported: it answers well to images like those it was made
    with, and strays by tenths on made-up ones.

    Args:
        preprocessing: as images are going to be fed to `run`, float32 [1, height, width, 3] -> float32 [labels].

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
                f"The labels of '{folder / contracts.FILE}' are not those of its reference images. It was changed; "
                "export the model again."
            )
        try:
            pixels.append(read_pixels(folder / name))
        except RetrainLabError as error:
            raise RetrainLabError(f"The reference image '{folder / name}' cannot be read: {error}.") from error
        if pixels[-1].shape[:2] != contract.image_size:
            height, width = contract.image_size
            raise RetrainLabError(
                f"'{folder / contracts.FILE}' states images of {height} x {width} pixels, but its reference images "
                f"have {pixels[-1].shape[0]} x {pixels[-1].shape[1]}, which is what the model was exported for."
            )
    rows = [[chances[label] for label in contract.labels] for chances in contract.reference.values()]
    return pixels, np.array(rows)


def _order(expected: np.ndarray, found: np.ndarray) -> list[int] | None:
    """Find the order of labels, as places in class order, in which the probabilities found would be those expected."""
    from scipy.optimize import linear_sum_assignment

    apart = np.abs(found[:, :, None] - expected[:, None]).max(axis=0)
    apart[~(apart <= _TOLERANCE)] = len(apart)  # nor what is no number: more than all that fit together
    outputs, order = linear_sum_assignment(apart)
    return order.tolist() if apart[outputs, order].sum() < len(apart) else None


def _changed(file: Path, contract: Contract) -> list[str]:
    """List which files of a model are not what was exported: a SavedModel's variables are files of their own."""
    parts = [name for name in contract.files if name == file.name]
    if file.name == "saved_model.pb":
        parts += [name for name in contract.files if name.startswith("variables/")]
    return [name for name in parts if contracts.digest(file.parent / name) != contract.files[name]]


def same_size(file: Path, own: _Size, asked: tuple[int, int], who: str) -> None:
    """Refuse to feed a network images of another size than it takes; None stands for any."""
    if any(side is not None and side != other for side, other in zip(own, asked, strict=True)):
        raise RetrainLabError(
            f"'{file}' takes images of {own[0] or 'any'} x {own[1] or 'any'} pixels (height x width), but {who} "
            f"{asked[0]} x {asked[1]}."
        )
