"""Handles that are an address on TF Hub or Kaggle: their modules are fetched once, and kept.

Modules lie where tensorflow_hub would put them, but it is not used to fetch them: it unpacks what it streams, takes
the half of an archive for the whole, and waits without end for a server that has gone silent or for the lock of a
process that was killed. Here an archive arrives as a whole, with a bar, or not at all.
"""

import hashlib
import os
import re
import shutil
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from tqdm.auto import tqdm

from ..datasets import downloads
from ..errors import RetrainLabError
from . import embedded, modules
from .kinds import Kind

_TIMEOUT = 30  # seconds without a byte
_CHINA = "https://hub.tensorflow.google.cn/"
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
    kept = Path(os.environ.get("TFHUB_CACHE_DIR") or "~/.cache/retrainlab/modules").expanduser()
    module = kept / hashlib.sha1(address.encode()).hexdigest()  # the name that tensorflow_hub gives it
    if (module / "saved_model.pb").exists():
        return module
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as place:
            archive, unpacked = Path(place, "archive"), Path(place, "module")
            _download(address, archive)
            downloads.unpack(archive, unpacked)
            if not (unpacked / "saved_model.pb").exists():
                raise OSError("what was sent holds no saved_model.pb")
            if not (module / "saved_model.pb").exists():  # another process may have been quicker
                forget(module)
                unpacked.rename(module)
    except (OSError, HTTPException, ValueError) as error:
        raise RetrainLabError(
            f"The module {handle} could not be fetched: {_reason(error)}. Check the address and the network; "
            "or fetch and unpack it elsewhere and give the folder of its SavedModel as tfhub_module; or use an "
            f"embedded backbone, which needs no network: {', '.join(embedded.NETWORKS)}."
        ) from error
    return module


def _download(address: str, archive: Path) -> None:
    """Download an archive with a bar; OSError if the connection is cut off or the archive is not sound."""
    asked = f"{address}{'&' if '?' in address else '?'}tf-hub-format=compressed"
    if address.startswith(_CHINA):  # where the archives themselves lie under another name
        asked = f"https://gcs.tensorflow.google.cn/tfhub-modules/{address.removeprefix(_CHINA)}.tar.gz"
    with urllib.request.urlopen(asked, timeout=_TIMEOUT) as response, archive.open("w+b") as whole:
        expected = int(response.headers.get("Content-Length") or 0)
        with tqdm.wrapattr(response, "read", expected, desc="module", leave=False, disable=None) as content:
            shutil.copyfileobj(content, whole)
        if whole.tell() < expected:
            raise OSError(f"the connection was cut off after {whole.tell():,} of {expected:,} bytes; run again")
        whole.seek(0)
        if problem := downloads.problem_of(whole):
            raise OSError(f"what was sent {problem}")


def _reason(error: Exception) -> str:
    cause = error.reason if type(error) is URLError else error  # urllib wraps what the socket said
    return (getattr(cause, "strerror", None) or str(cause)).rstrip(".")


def forget(module: Path) -> None:
    """Remove a fetched module that turned out broken, so that the next call fetches it again."""
    shutil.rmtree(module, ignore_errors=True)


def _address(handle: str) -> str:
    if not _KAGGLE.match(handle):
        return handle
    owner, model, framework, variation, *version = handle.split("/")
    if not version:
        raise RetrainLabError(f"The module {handle} does not say which version; add one, such as {handle}/1.")
    parts = [owner, model, "frameworks", framework, "variations", variation, "versions", *version]
    return "https://www.kaggle.com/models/" + "/".join(parts)


KIND = Kind(
    order=2,
    listed=("the address of a TF Hub module (https://...)", "a Kaggle handle (owner/model/framework/variation/1)"),
    recognises=is_handle,
    digest=lambda handle: modules.digest(fetch(handle)),  # an address alone says nothing of what lies there
    module=lambda handle, place: fetch(handle),
    forget=forget,
)
