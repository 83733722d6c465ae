"""A SavedModel of TF Hub's formats -> a function from images to vectors, or what is wrong with it.

Handles that are the folder of one are a kind of their own: it is used where it lies.
"""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import RetrainLabError
from ..files import replacing
from . import foreign
from .backbone import Kind
from .runtimes import tensorflow, tensorflow_hub, without_wildcards


class DamagedModule(RetrainLabError):
    """A module that TensorFlow cannot load: a sound one, of whatever kind, is not worth fetching again."""


def digest(module: Path) -> str:
    """Identify the content of a SavedModel's folder: 64 hex digits.

    Raises:
        RetrainLabError: it is the folder of something else.
    """
    if not (module / "saved_model.pb").exists():
        raise RetrainLabError(f"'{module}' is no SavedModel: {foreign.instead(module)}")
    found = hashlib.sha256()
    for file in sorted(path for path in module.rglob("*") if path.is_file()):
        found.update(file.relative_to(module).as_posix().encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()


def seal(module: Path) -> None:
    """Write down, beside a SavedModel that was built or fetched, what is in it: so `is_whole` can tell."""
    with replacing(_sealed(module)) as aside:
        aside.write_text(digest(module))


def is_whole(module: Path) -> bool:
    """Tell whether a SavedModel is there as it was sealed; one that was not sealed may be cut off."""
    try:
        return _sealed(module).read_bytes() == digest(module).encode()
    except (OSError, RetrainLabError):
        return False


def is_sealed(module: Path) -> bool:
    """Tell whether a SavedModel was sealed: what a person put into its place was not."""
    return _sealed(module).exists()


def _sealed(module: Path) -> Path:
    return module.with_name(f"{module.name}.sha256")


def load_module(module: Path) -> tuple[Any, Any]:
    """Load a TF1- or TF2-format image feature vector module with TensorFlow.

    Returns:
        (function, module): the function maps float32 [n, h, w, 3] in [0, 1] to float32 [n, dim]; the module must be
        kept alive as long as the function is used, since it owns the variables.

    Raises:
        RetrainLabError: the module maps no images to vectors; DamagedModule where it cannot be loaded at all.
    """
    tf = tensorflow()
    try:
        with without_wildcards(module) as place:
            tags = _tags(str(place))
            loaded = tensorflow_hub().load(str(place), tags)
            apply = _applying(loaded, str(place), tags)
    except (OSError, ValueError, RuntimeError, IndexError, tf.errors.OpError) as error:
        raise DamagedModule(
            f"The module in '{module}' cannot be loaded ({str(error).strip().splitlines()[0]}). It may be damaged or "
            "incomplete; fetch it again."
        ) from error
    is_no_vector = f"The module in '{module}' is no image feature vector"
    if apply is None:
        raise RetrainLabError(
            f"{is_no_vector}: it can neither be called nor has it a signature `default` or `serving_default` from "
            f"images to one array. It has: {', '.join(_signatures(loaded)) or 'no signature'}."
        )
    taken = [spec for function in _functions(loaded) for spec in _inputs(function)]
    if not any(map(_takes_images, taken)):
        what = ", ".join(dict.fromkeys(f"{spec.dtype.name} {spec.shape}" for spec in taken))
        raise RetrainLabError(
            f"{is_no_vector}: it takes {what or 'nothing'}. Expected one that takes float32 [images, height, width, 3]."
        )

    asks = callable(loaded) and "training" in inspect.signature(loaded.__call__).parameters
    told = {"training": False} if asks else {}  # not every module has a default for it

    def features(images: Any) -> Any:
        found = apply(images, **told)
        if isinstance(found, dict) and len(found) == 1:
            found = next(iter(found.values()))
        if not isinstance(found, tf.Tensor):
            named = f" of {', '.join(sorted(map(str, found)))}" if isinstance(found, dict) else ""
            raise RetrainLabError(
                f"{is_no_vector}: it returns a {type(found).__name__}{named}. Expected one array, [images, numbers]."
            )
        return found

    return features, loaded


def own_size(loaded: Any) -> tuple[int, int] | None:
    """Tell the (height, width) that a module says it takes; None where it takes any size, or does not say."""
    functions = (*_functions(loaded), *_signatures(loaded).values())
    shapes = (spec.shape for function in functions for spec in _inputs(function) if _takes_images(spec))
    return next(((shape[1], shape[2]) for shape in shapes if shape.rank == 4 and shape[1] and shape[2]), None)


def _signatures(loaded: Any) -> dict[str, Any]:
    return dict(getattr(loaded, "signatures", {}))


def _functions(loaded: Any) -> list[Any]:
    """List what `load_module` has a choice of: the traces of a callable module, or the one signature for images."""
    if callable(loaded):
        return list(getattr(loaded.__call__, "concrete_functions", [loaded.__call__]))
    chosen = _signature(loaded)
    return [_signatures(loaded)[chosen[0]]] if chosen else []


def _signature(loaded: Any) -> tuple[str, str, str] | None:
    """Choose a signature: its name, what it calls the images, and what the vectors; None where none will do.

    Hub modules of TF1 have `default`, from `images` to `default`, maybe beside named layers; `export` of a Keras 3
    model leaves `serving_default`, from one array to one.
    """
    for name in ("default", "serving_default"):
        if signature := _signatures(loaded).get(name):
            takes, gives = list(signature.structured_input_signature[1]), list(signature.structured_outputs)
            if "images" in takes and "default" in gives:
                return name, "images", "default"
            if len(takes) == len(gives) == 1:
                return name, takes[0], gives[0]
    return None


def _applying(loaded: Any, place: str, tags: list[str]) -> Callable[..., Any] | None:
    """Make a module a function of images, if it can be one.

    The reference variables of TF1 become constants, by TF1's own means: LiteRT's converter does not know them.
    """
    tf = tensorflow()
    chosen = None if callable(loaded) else _signature(loaded)
    if chosen is None:
        return loaded if callable(loaded) else None
    name, takes, gives = chosen
    signature = _signatures(loaded)[name]
    if not any(operation.type in ("Variable", "VariableV2") for operation in signature.graph.get_operations()):
        return lambda images: signature(**{takes: images})[gives]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        found = tf.compat.v1.saved_model.load(session, tags, place).signature_def[name]
        fed, fetched = found.inputs[takes].name, found.outputs[gives].name
        node = [fetched.partition(":")[0]]
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, session.graph_def, node)
    return lambda images: tf.graph_util.import_graph_def(frozen, {fed: images}, [fetched])[0]


def _tags(place: str) -> list[str]:
    """Tell the tags of a SavedModel's graph for inference: modules of TF1 hold one for training besides."""
    graphs = tensorflow().__internal__.saved_model.parse_saved_model(place).meta_graphs
    found = [list(graph.meta_info_def.tags) for graph in graphs]
    return next((tags for tags in found if "train" not in tags), found[0])


def _inputs(function: Any) -> list[Any]:
    """List the tensors that a function takes: dtype and shape."""
    tf = tensorflow()
    return [s for s in tf.nest.flatten(function.structured_input_signature) if isinstance(s, tf.TensorSpec)]


def _takes_images(spec: Any) -> bool:
    shape = spec.shape
    return spec.dtype.name == "float32" and (shape.rank is None or (shape.rank == 4 and shape[3] in (None, 3)))


def _place(handle: str) -> Path:
    return Path(handle).expanduser().resolve()


KIND = Kind(
    order=1,
    listed=("the folder of a SavedModel",),
    recognises=lambda handle: _place(handle).exists(),
    digest=lambda handle: digest(_place(handle)),
    module=lambda handle, _: _place(handle),
)
