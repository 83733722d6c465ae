"""Handles that are a `.keras` file: Keras loads it and exports it once; from then on it is a module like any other."""

from pathlib import Path

from ..errors import RetrainLabError
from ..files import replacing_folder
from ..sealing import digest
from . import modules
from .backbone import Kind
from .runtimes import quiet, tensorflow


def build(file: Path, place: Path) -> Path:
    """Export a Keras model to `place`/saved_model, unless it is there, and whole.

    Raises:
        RetrainLabError: Keras cannot load it, such as one with layers of somebody's own.
    """
    folder = place / "saved_model"
    if modules.is_whole(folder):
        return folder
    keras = tensorflow().keras
    try:
        with quiet():
            model = keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras raises nearly anything on files that it does not know
        raise RetrainLabError(
            f"Keras cannot load '{file}' ({str(error).strip().splitlines()[0][:200]}). Expected a model that "
            "`model.save` has written, with Keras's own layers; of others, give the folder that `model.export` writes."
        ) from error
    with replacing_folder(folder) as aside, quiet():
        model.export(str(aside), verbose=False)
    modules.seal(folder)
    return folder


def _place(handle: str) -> Path:
    return Path(handle).expanduser().resolve()


KIND = Kind(
    order=1,
    listed=("a .keras file",),
    recognises=lambda handle: handle.endswith(".keras") and _place(handle).is_file(),
    digest=lambda handle: digest(_place(handle)),
    module=lambda handle, place: build(_place(handle), place),
    renewable=True,
)
