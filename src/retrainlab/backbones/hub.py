"""A TF Hub or Kaggle handle -> the folder of its SavedModel, fetched by tensorflow_hub and kept.

tensorflow_hub unpacks what it streams, takes the half of an archive for the whole, waits without end for a server that
has gone silent, and keeps modules in the system's temporary folder, which gets emptied. Here an archive arrives as a
whole, with a bar, or not at all, and modules lie in a lasting place, from where they are used without a network.
"""

import contextlib
import os
import re
import shutil
import socket
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tqdm.auto import tqdm

from ..datasets import downloads
from ..errors import RetrainLabError
from . import embedded
from .kinds import Kind
from .runtimes import tensorflow_hub

_TIMEOUT = 30  # seconds without a byte
_KAGGLE = re.compile(r"[\w.-]+(/[\w.-]+){3,4}$")  # owner/model/framework/variation, and its version


def is_handle(text: str) -> bool:
    """Say whether a text is an address (https://...) or a Kaggle handle (owner/model/framework/variation/version)."""
    return bool(re.match(r"https?://", text) or _KAGGLE.match(text))


def fetch(handle: str) -> Path:
    """Fetch a module, or find it where an earlier call put it: `TFHUB_CACHE_DIR`, else `~/.cache/retrainlab/modules`.

    Raises:
        RetrainLabError: it cannot be had; the message says by what other means.
    """
    address = _address(handle)
    os.environ.setdefault("TFHUB_CACHE_DIR", str(Path("~/.cache/retrainlab/modules").expanduser()))
    _break_dead_locks(Path(os.environ["TFHUB_CACHE_DIR"]))
    hub = tensorflow_hub()
    from tensorflow_hub.compressed_module_resolver import HttpCompressedFileResolver

    class Resolver(HttpCompressedFileResolver):
        """Unpacks an archive that has arrived as a whole, instead of what a connection happens to give."""

        def _call_urlopen(self, request: Any) -> Any:
            return _whole(request, self._context)

    registered = hub.registry.resolver
    before = list(registered._impls)  # there is no public way to take an implementation out again
    registered.add_implementation(Resolver())
    try:
        module = Path(hub.resolve(address))
        if not (module / "saved_model.pb").exists():
            forget(module)
            raise OSError("what was sent holds no saved_model.pb")
        return module
    except Exception as error:  # hub passes on whatever urllib, tarfile or the disk raise
        raise RetrainLabError(
            f"The module {handle} could not be fetched: {_reason(error)}. Check the address and the network; "
            "or fetch and unpack it elsewhere and give the folder of its SavedModel as tfhub_module; or use an "
            f"embedded backbone, which needs no network: {', '.join(embedded.NETWORKS)}."
        ) from error
    finally:
        registered._impls = before


def _whole(request: Any, context: Any) -> Any:
    """Download into a temporary file with a bar; OSError if the connection is cut off or the archive is not sound."""
    whole = tempfile.TemporaryFile()  # noqa: SIM115 (whoever reads it closes it)
    with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as response:
        expected = int(response.headers.get("Content-Length") or 0)
        bar = tqdm.wrapattr(response, "read", expected, desc="module", leave=False, disable=None)
        with bar as content:
            shutil.copyfileobj(content, whole)
    if whole.tell() < expected:
        raise OSError(f"the connection was cut off after {whole.tell():,} of {expected:,} bytes; run again")
    whole.seek(0)
    if problem := downloads.problem_of(whole):
        raise OSError(f"what was sent {problem}")
    whole.seek(0)
    return whole


def _reason(error: Exception) -> str:
    cause = error.reason if type(error) is URLError else error  # urllib wraps what the socket said
    return (getattr(cause, "strerror", None) or str(cause)).rstrip(".")


def forget(module: Path) -> None:
    """Remove a fetched module that turned out broken, so that the next call fetches it again."""
    shutil.rmtree(module, ignore_errors=True)
    module.with_name(f"{module.name}.descriptor.txt").unlink(missing_ok=True)


def _address(handle: str) -> str:
    if not _KAGGLE.match(handle):
        return handle
    owner, model, framework, variation, *version = handle.split("/")
    if not version:
        raise RetrainLabError(f"The module {handle} does not say which version; add one, such as {handle}/1.")
    parts = [owner, model, "frameworks", framework, "variations", variation, "versions", *version]
    return "https://www.kaggle.com/models/" + "/".join(parts)


def _break_dead_locks(modules: Path) -> None:
    """Remove the locks of processes that were killed: tensorflow_hub would wait ten minutes for each."""
    for lock in modules.glob("*.lock"):
        with contextlib.suppress(OSError, ValueError):
            host, process, task = lock.read_text().rsplit(".", 2)
            if host != socket.gethostname():
                continue  # on another machine, whose processes cannot be seen
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                lock.unlink()
                shutil.rmtree(f"{str(lock).removesuffix('.lock')}.{task}.tmp", ignore_errors=True)


KIND = Kind(
    order=2,
    listed=("the address of a TF Hub module (https://...)", "a Kaggle handle (owner/model/framework/variation/1)"),
    recognises=is_handle,
    digest=lambda handle: None,  # an address says nothing of what lies there
    module=lambda handle, place: fetch(handle),
    forget=forget,
)
