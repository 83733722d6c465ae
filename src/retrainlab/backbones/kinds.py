"""The kinds of handles that a backbone may be named by. Each is one module of this folder; `registry` finds its `KIND`.

To add one, say for `.keras` files, write a module such as `keras_files.py` beside this one. Nothing else changes:

    KIND = Kind(
        order=1,
        listed=("a .keras file",),
        recognises=lambda handle: handle.endswith(".keras") and Path(handle).is_file(),
        digest=lambda handle: hashlib.sha256(Path(handle).read_bytes()).hexdigest(),
        module=build,  # writes the SavedModel place / "saved_model", unless it is there, and returns that path
        forget=shutil.rmtree,
    )
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A kind of handle: what is known of a backbone before TensorFlow has seen it.

    Attributes:
        order: whose turn it is: names (0) are asked before what lies on this disk (1), and that before addresses (2).
        listed: how an error message lists what may be given, in one part or more.
        recognises: handle -> whether it is of this kind.
        digest: handle -> 64 hex digits that identify the network's content, before anything is built.
        module: (handle, place) -> the folder of its SavedModel. It is fetched if need be, or built within the folder
            `place`, unless it is there already. RetrainLabError where it cannot be had.
        forget: removes a SavedModel that cannot be loaded, so that the next call fetches or builds it anew. What is a
            person's own is left alone.
    """

    order: int
    listed: tuple[str, ...]
    recognises: Callable[[str], bool]
    digest: Callable[[str], str]
    module: Callable[[str, Path], Path]
    forget: Callable[[Path], None] = lambda module: None
