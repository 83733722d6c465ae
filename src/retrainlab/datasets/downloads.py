"""Archives from the network: fetched with resuming, checked by size and digest, unpacked into their folder only."""

import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import time
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from .. import __version__
from ..errors import RetrainLabError

_TIMEOUT = 15  # seconds without a byte
_BLOCK = 1 << 18
_TIMES, _AT_LEAST = 20, 1 << 28  # the size of an archive, what it holds at most; and bytes that any may hold
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)  # what reading archives raises
_PASSING = {408, 416, 425, 429, 500, 502, 503, 504}  # answers of a server that may do better when asked again


@dataclass(frozen=True)
class Source:
    """A file on the network and what it must turn out to be.

    The digest pins the content, so resuming needs no ETag: parts of two different files cannot pass for one.
    """

    url: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The name that the file is kept under: the last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name


class _Interrupted(Exception):
    """What went wrong on the way, in words; another try may mend it."""


def download(source: Source, folder: Path, pauses: Sequence[float] = (1, 2, 4)) -> Path:
    """Fetch a file into a folder, going on where an earlier try was cut off; a file already there is only checked.

    Args:
        folder: made if missing. What has arrived so far is `<name>.part`.
        pauses: seconds to wait before each further try.

    Raises:
        RetrainLabError: it cannot be reached, is not what was expected (it is then set aside as `<name>.bad`), or
            the connection was cut off in every try; what has arrived stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / source.name
    if not file.exists():
        part = folder / f"{source.name}.part"
        for pause in (*pauses, None):
            try:
                _append(source, part)
                break
            except _Interrupted as error:
                if pause is None:
                    raise _failure(source, part, str(error)) from error
                time.sleep(pause)
        part.replace(file)
    _check(source, file)
    return file


def _append(source: Source, part: Path) -> None:
    """Fetch what `part` still lacks, in one request."""
    have = part.stat().st_size if part.exists() else 0
    if have == source.bytes:
        return
    with _request(source, part, have) as response:
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise _Interrupted("the server answered with another range than was asked for")
        start = have if resumed else 0  # some servers know no ranges and send everything, with status 200
        if response.length is not None and start + response.length != source.bytes:
            offered = f"the server offers {start + response.length:,} bytes, {source.bytes:,} were expected"
            raise _failure(source, part, f"{offered}; the file has changed, or this is some other page")
        bar = tqdm(None, source.name, source.bytes, unit="B", unit_scale=True, initial=start, leave=False, disable=None)
        with bar, part.open("ab" if resumed else "wb") as file:
            while file.tell() <= source.bytes:  # without a Content-Length it could go on for ever
                with _on_the_way():  # writing is not: a full disk is no bad connection
                    block = response.read(_BLOCK)
                if not block:
                    break
                file.write(block)
                bar.update(len(block))
            if file.tell() < source.bytes:
                raise _Interrupted("the connection was cut off")


def _request(source: Source, part: Path, have: int) -> Any:
    headers = {"User-Agent": f"retrainlab/{__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with _on_the_way():
            return urllib.request.urlopen(urllib.request.Request(source.url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        error.close()
        if error.code == 416:  # there is nothing from there on: what has arrived belongs to another file
            part.unlink(missing_ok=True)
        if error.code in _PASSING:
            raise _Interrupted(answer) from error
        raise _failure(source, part, answer) from error


@contextmanager
def _on_the_way() -> Iterator[None]:
    """Take what goes wrong on the way for something that another try may mend; a server's answer is none of it."""
    try:
        yield
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)  # urllib wraps what the socket said
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise _Interrupted(reason) from error


def _failure(source: Source, part: Path, reason: str) -> RetrainLabError:
    have = part.stat().st_size if part.exists() else 0
    kept = f" What has arrived, {have:,} of {source.bytes:,} bytes, is kept." if have else ""
    return RetrainLabError(
        f"{source.url} cannot be fetched: {reason}.{kept} Check the network and run this again; or get the file by "
        f"other means, put it at '{part.with_suffix('')}' and run this again."
    )


def _check(source: Source, file: Path) -> None:
    size = file.stat().st_size
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if (size, digest) == (source.bytes, source.sha256):
        return
    bad = file.replace(file.with_name(f"{file.name}.bad"))
    found = f"{size:,} bytes, expected {source.bytes:,}"
    if size == source.bytes:
        found = f"SHA-256 {digest}, expected {source.sha256}"
    raise RetrainLabError(
        f"'{file}' has {found}: it is damaged, or {source.url} has changed. It is set aside as '{bad.name}'; run this "
        "again to fetch it anew."
    )


# --------------------------------------------------------------------------------------------- unpacking


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a tar archive, compressed or not, of plain files and folders; returns `into`.

    Contents are written here rather than by tarfile's own extraction, so links, devices, owners and modes cannot come
    about at all, whatever the archive says.

    Raises:
        RetrainLabError: a member has an absolute name, a name with `..`, or is neither file nor folder; the files are
            far larger than the archive; or it is cut short or damaged. What was unpacked before lies inside `into`.
    """
    left = _room(archive.stat().st_size)
    try:
        with tarfile.open(archive) as tar:
            for member in tqdm(tar, f"unpack {archive.name}", unit=" files", leave=False, disable=None):
                left -= member.size
                if problem := _problem(member, left):
                    raise RetrainLabError(
                        f"'{archive}' is refused: its member '{member.name}' {problem}. Expected plain files and "
                        "folders below the archive's own top; get the archive from its publisher."
                    )
                target = into / member.name
                (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
                if content := tar.extractfile(member):  # a folder has none
                    with target.open("wb") as file:
                        shutil.copyfileobj(content, file)
    except _DAMAGE as error:
        said = f"'{archive}' is {_damage(error)}. Delete it, and run this again to fetch it anew."
        raise RetrainLabError(said) from error
    return into


def problem_of(archive: BinaryIO) -> str | None:
    """Read an archive to its end, and say why `unpack` would not take it: "is ...", "holds ..."; None if it would."""
    try:
        left = _room(archive.seek(0, os.SEEK_END))
        archive.seek(0)
        refused = None
        with tarfile.open(fileobj=archive) as tar:
            for member in tar:
                left -= member.size
                if problem := _problem(member, left):
                    refused = member.name, problem
                    break
    except _DAMAGE as error:
        return f"is {_damage(error)}"
    return f"holds '{refused[0]}', which {refused[1]}" if refused else None


def _damage(error: Exception) -> str:
    reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists how each kind of compression failed
    return f"cut short or damaged ({reason})"


def _room(size: int) -> int:
    """Tell how many bytes an archive of this size may hold: weights and photos hardly shrink, what bombs hold does."""
    return _TIMES * size + _AT_LEAST


def _problem(member: tarfile.TarInfo, left: int) -> str | None:
    """Say why a member must not be unpacked, if so: it is no plain file or folder, may lie elsewhere, or is a bomb."""
    if left < 0:
        return f"makes the files more than {_TIMES} times as large as the archive"
    path = PurePosixPath(member.name)
    if member.islnk() or member.issym():
        return f"is a link to '{member.linkname}'"
    if not (member.isreg() or member.isdir()):
        return "is neither a file nor a folder"
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        return "would lie outside its folder"
    return None
