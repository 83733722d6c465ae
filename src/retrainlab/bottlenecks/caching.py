"""The content-addressed bottleneck cache.

`bottleneck_dir/<backbone digest>/` holds immutable Arrow IPC files with the columns sha256 (of the image file; where it
is not of 8 bits, of that and its scale: `levels.Levels.identify`), variant (0 = undistorted), bottleneck (float32
[dim], or float16 for activations) and check (a sum over all of these). Each is named by the SHA-256 of its own content,
written aside and renamed: a crash loses at most the part in the making, and two processes can fill one cache.

`checked.json` keeps size and time of change of the parts that were found to be sound, so that a million rows are not
read again whenever they are opened. Disks and copies damage files without changing either: so each row that is asked
for is held to its sum, which takes a quarter of the time that copying it does.
"""

import contextlib
import errno
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from .. import sealing
from ..backbones.registry import Backbone
from ..errors import RetrainLabError, writing
from ..files import blocks, replacing, room
from ..pixels.levels import Levels
from ..sealing import DamagedFile
from .lookup import Index, mixed

_CHECKED = "checked.json"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class DamagedPart(RetrainLabError):
    """A part was damaged since it had been opened; it is set aside, and the cache lacks what it held."""


@dataclass(frozen=True)
class _Part:
    """Rows as they lie on disk."""

    file: Path
    rows: np.ndarray  # [n, dim]
    checks: np.ndarray  # uint64 [n]


@dataclass
class Cache:
    """The bottlenecks of one backbone, memory-mapped."""

    folder: Path  # where the parts lie
    dim: int  # length of a bottleneck
    dtype: type[np.floating] = np.float32  # of its numbers: float16 for activations, which are many
    damaged: list[Path] = field(default_factory=list)  # parts that were, on opening, under the names they have now
    parts: set[str] = field(default_factory=set, repr=False)  # names of those that are open
    unkept: str = ""  # why new bottlenecks are only in memory, where the folder may be read and not written
    _refused: set[str] = field(default_factory=set, repr=False)  # names of those that were damaged
    _index: Index = field(default_factory=Index, repr=False)
    _parts: list[_Part] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self._index)

    def knows(self, digests: Sequence[str], variant: int = 0) -> np.ndarray:
        """Say of each image whether its bottleneck is here: bool [n]."""
        return self._index.find(digests, variant) >= 0

    @property
    def bytes(self) -> int:
        """Size of all parts on disk."""
        return sum(part.stat().st_size for part in self.folder.glob("*.arrow"))

    def refresh(self) -> None:
        """Open the parts that were not seen yet; set damaged ones aside."""
        checked = self._checked()
        for part in sorted(self.folder.glob("*.arrow")):
            if part.name not in self.parts | self._refused:
                try:
                    self._open(part, checked)
                except (FileNotFoundError, PermissionError):
                    continue  # another process has just set it aside; or it is somebody's who does not share it
                except (pa.ArrowException, OSError, ValueError, KeyError):
                    self._set_aside(part)
        self._keep(checked)

    def _set_aside(self, part: Path) -> None:
        aside = part.with_suffix(".damaged")
        with contextlib.suppress(OSError):  # another process has, or it is a cache that only others may write
            part.replace(aside)
        self.damaged.append(aside)
        self._refused.add(part.name)

    def take(self, parts: Iterable[str]) -> None:
        """Open parts that another process has just written, by name: a shared drive may list them only later.

        Raises:
            FileNotFoundError: one is not here.
        """
        for name in parts:
            self._open(self.folder / name, {})

    def _open(self, part: Path, checked: dict[str, list[int]]) -> None:
        """Open a part, unless it is damaged; adds to `checked` what was read for that."""
        now = _stamp(part)
        if checked.get(part.name) != now and sealing.digest(part) != part.stem:
            raise ValueError("content does not match the name")
        self._hold(pa.memory_map(str(part)), part)
        self.parts.add(part.name)
        self._refused.discard(part.name)
        checked[part.name] = now

    def _hold(self, content: pa.NativeFile | pa.Buffer, file: Path) -> None:
        table = pa.ipc.open_file(content).read_all().combine_chunks()
        table.validate(full=True)  # places within it that lie outside would end the process
        rows = table["bottleneck"].chunk(0).flatten().to_numpy().reshape(-1, self.dim)
        checks, names = table["check"].to_numpy(), np.asarray(table["sha256"].to_numpy(), "S64")
        if rows.dtype != self.dtype or checks.dtype != np.uint64 or not len(rows) == len(checks) == len(names):
            raise ValueError("rows of another kind")
        self._index.add(names, table["variant"].to_numpy().astype(np.int32))
        self._parts.append(_Part(file, rows, checks))

    def _checked(self) -> dict[str, list[int]]:
        try:
            return sealing.read_json(self.folder / _CHECKED, dict[str, list[int]])
        except (OSError, DamagedFile):
            return {}

    def _keep(self, checked: dict[str, list[int]]) -> None:
        """Write down what was checked; what processes beside this one check meanwhile may be checked once more."""
        here = {name: stamp for name, stamp in checked.items() if name in self.parts}
        if here != self._checked():
            with contextlib.suppress(OSError), replacing(self.folder / _CHECKED) as aside:  # a cache of others'
                aside.write_text(sealing.json_text(here))

    def add(self, keys: list[tuple[str, int]], rows: np.ndarray) -> None:
        """Write one part: its rows, float32 [len(keys), dim], and for each the key, (sha256, variant).

        Where the folder may only be read, they are kept in memory, and `unkept` says so.
        """
        if not keys:
            return
        sha256, variant = zip(*keys, strict=True)
        rows = np.ascontiguousarray(rows, self.dtype)
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), self.dim)
        columns = {"sha256": sha256, "variant": pa.array(variant, pa.int32()), "bottleneck": values}
        table = pa.table(columns | {"check": _checks(np.array(sha256, "S64"), np.array(variant, np.int32), rows)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=len(keys))
        content = sink.getvalue()
        part = self.folder / f"{hashlib.sha256(content).hexdigest()}.arrow"
        advice = "What was written before is kept; make room or set bottleneck_dir, and run again."
        with writing(f"The bottlenecks in '{self.folder}'", advice):
            try:
                with replacing(part) as aside:
                    aside.write_bytes(content)
            except OSError as error:
                if error.errno not in _READ_ONLY:
                    raise
                self.unkept = f"'{self.folder}' cannot be written ({error.strerror})"
                self._hold(content, part)
                return
        self._open(part, {part.name: _stamp(part)})

    def load(self, digests: Sequence[str], variants: int | np.ndarray = 0) -> np.ndarray:
        """Gather bottlenecks by image content: float32 [n, dim], mapped where they are many; see `files.room`.

        Args:
            variants: one for all, or [n].

        Raises:
            KeyError: one is missing.
            DamagedPart: one is not what was written.
        """
        names, numbers = np.asarray(digests, "S64"), np.broadcast_to(np.asarray(variants, np.int32), len(digests))
        found = self._index.find(names, numbers)
        if (found < 0).any():
            raise KeyError(digests[int((found < 0).argmax())])
        matrix, ends = room((len(found), self.dim)), np.cumsum([len(part.rows) for part in self._parts])
        for block in blocks(*matrix.shape):
            of_part = np.searchsorted(ends, found[block], "right")
            for number in np.unique(of_part):
                mine, part = block.start + np.flatnonzero(of_part == number), self._parts[number]
                places = found[mine] - (ends[number] - len(part.rows))
                rows = part.rows[places]
                if (_checks(names[mine], numbers[mine], rows) != part.checks[places]).any():
                    self._lose(part.file)
                    raise DamagedPart(
                        f"'{part.file}' has been damaged since it was last checked. It is set aside: run again, and "
                        "what it held is computed anew."
                    )
                matrix[mine] = rows
        return matrix

    def _lose(self, part: Path) -> None:
        """Set a part aside that is open, and open the others anew."""
        self._set_aside(part)
        self.parts, self._index, self._parts = set(), Index(), []
        self.refresh()

    def features(self, images: pd.DataFrame, levels: Levels) -> tuple[np.ndarray, pd.DataFrame]:
        """Load the bottlenecks of all usable images that the cache knows: float32 [n, dim], and their rows of `images`.

        Both are aligned; the index of the rows is 0 to n - 1. `levels`: the scale that the images were read on.
        """
        table = images[images["problem"].isna()]
        table = table[self.knows(digests(table, levels))].reset_index(drop=True)
        return self.load(digests(table, levels)), table


def _checks(names: np.ndarray, variants: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sum rows up with what they are known by: uint64 [n], which one changed bit changes, and a row that is another's.

    Every 8 bytes count by an odd number of their own, so that none is taken for its neighbour.
    """
    content = rows.view(np.uint8).reshape(len(rows), -1)
    content = np.pad(content, ((0, 0), (0, -content.shape[1] % 8))) if content.shape[1] % 8 else content
    words = content.view(np.uint64)
    weights = np.uint64(0x9E3779B97F4A7C15) * (2 * np.arange(words.shape[1], dtype=np.uint64) + 1)
    return np.einsum("nw,w->n", words, weights) ^ mixed(names, variants)


def _stamp(part: Path) -> list[int]:
    stat = part.stat()
    return [stat.st_size, stat.st_mtime_ns]


def digests(images: pd.DataFrame, levels: Levels) -> list[str]:
    """Tell what the cache knows images by that are read on a scale: 64 hex digits a row."""
    dtypes = images["dtype"] if "dtype" in images else [None] * len(images)
    return [levels.identify(*row) for row in zip(images["sha256"], dtypes, strict=True)]


def open_cache(backbone: Backbone, dtype: type[np.floating] = np.float32) -> Cache:
    """Open a backbone's cache, checking every part that is new or has changed against the hash that it is named by."""
    cache = Cache(backbone.folder, backbone.dim, dtype)
    cache.refresh()
    return cache
