"""The address of a module's archive -> the folder of its SavedModel; or, in words, what came instead.

Servers that refuse, log-in pages, proxies and archives of another make are what people meet most; each has its words.
"""

import shutil
import socket
import ssl
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from .. import __version__
from ..datasets import downloads
from . import foreign

_TIMEOUT = 30  # seconds without a byte


class NotFetched(Exception):
    """Why a module could not be fetched, as the end of a sentence."""


def fetch(address: str, module: Path) -> None:
    """Fetch and unpack an archive, so that `module` becomes a SavedModel's folder; other fetches may go on beside it.

    The SavedModel may lie one folder below the archive's top, if it is the only one there.

    Raises:
        NotFetched: it cannot be had, or something else came. Nothing is left of it.
    """
    try:
        module.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=module.parent) as place:
            archive, unpacked = Path(place, "archive"), Path(place, "module")
            _download(address, archive)
            downloads.unpack(archive, unpacked)
            found = [unpacked] if (unpacked / "saved_model.pb").exists() else foreign.nearby(unpacked)
            if len(found) != 1:
                raise NotFetched(f"what was sent holds {'several SavedModels' if found else 'no saved_model.pb'}")
            if not (module / "saved_model.pb").exists():  # another process may have been quicker
                shutil.rmtree(module, ignore_errors=True)
                found[0].rename(module)
    except (OSError, HTTPException, ValueError) as error:
        raise NotFetched(_reason(error, address)) from error


def _download(address: str, archive: Path) -> None:
    """Download an archive with a bar; NotFetched if the connection is cut off or the archive is not sound."""
    request = urllib.request.Request(address, headers={"User-Agent": f"retrainlab/{__version__}"})
    opener = urllib.request.build_opener(_Redirects)
    with opener.open(request, timeout=_TIMEOUT) as response, archive.open("w+b") as whole:
        expected = int(response.headers.get("Content-Length") or 0)
        with tqdm.wrapattr(response, "read", expected, desc="module", leave=False, disable=None) as content:
            shutil.copyfileobj(content, whole)
        if whole.tell() < expected:
            raise NotFetched(f"the connection was cut off after {whole.tell():,} of {expected:,} bytes; run again")
        whole.flush()
        came = foreign.recognise(archive)
        if came and came.name != "a tar archive":
            elsewhere = response.url.partition("?")[0]
            source = "" if elsewhere == address.partition("?")[0] else f" from {elsewhere}"
            raise NotFetched(f"{came.name} came{source} instead of an archive of a SavedModel")
        whole.seek(0)
        if problem := downloads.problem_of(whole):
            raise NotFetched(f"what was sent {problem}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow a redirect, but not out of an encrypted connection."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise URLError(f"the server redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason(error: Exception, address: str) -> str:
    if isinstance(error, HTTPError):
        return _answer(error.code, str(error.reason))
    cause = error.reason if type(error) is URLError else error  # urllib wraps what the socket said
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"the server speaks no TLS that this machine accepts ({cause.reason})"
    if isinstance(cause, socket.gaierror):
        return f"there is no way to {urlsplit(address).hostname} from here ({cause.strerror})"
    said = (getattr(cause, "strerror", None) or str(cause)).rstrip(".")
    return said.replace("Tunnel connection failed:", "the proxy refused it:")


def _answer(code: int, phrase: str) -> str:
    """Say what an HTTP status means for a person."""
    said = f"{code} {phrase}".strip()
    if code in (404, 410):
        return f"the server does not have it ({said})"
    if code == 407:
        return f"the proxy asks for a login ({said})"
    if code == 429:
        return f"the server has had too many requests ({said}); try again later"
    if 300 <= code < 400:  # urllib's phrase is a paragraph
        return f"the address redirects in a circle, or to nowhere ({code})"
    if 400 <= code < 500:
        return f"the server refused it ({said})"
    return f"the server failed ({said}); try again later"
