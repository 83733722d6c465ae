"""The content-addressed bottleneck cache.

`bottleneck_dir/<backbone digest>/` holds immutable Arrow IPC files with the columns sha256 (of the image file; where it
is not of 8 bits, of that and its scale: `levels.Levels.identify`), variant (0 = undistorted) and bottleneck (float32
[dim], or float16 for activations). Each is named by the SHA-256 of its own content, written aside and renamed: a crash
loses at most the part in the making, and two processes can fill one cache. `checked.json` keeps size and time of change
of the parts that were found to be sound, so that a million rows are not read again whenever they are opened.
"""

import contextlib
import errno
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ..backbones.registry import Backbone
from ..errors import writing
from ..files import blocks, replacing, room
from ..pixels.levels import Levels
from .lookup import Index

_CHECKED = "checked.json"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass
class Cache:
    """The bottlenecks of one backbone, memory-mapped."""

    folder: Path  # where the parts lie
    dim: int  # length of a bottleneck
    dtype: type[np.floating] = np.float32  # of its numbers: float16 for activations, which are many
    damaged: list[Path] = field(default_factory=list)  # parts that were, on opening, under the names they have now
    parts: set[str] = field(default_factory=set, repr=False)  # names of those that are open
    unkept: str = ""  # why new bottlenecks are only in memory, where the folder may be read and not written
    _index: Index = field(default_factory=Index, repr=False)
    _parts: list[np.ndarray] = field(default_factory=list, repr=False)  # their values, [rows, dim], as they lie on disk

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
            if part.name not in self.parts:
                try:
                    self._open(part, checked)
                except (FileNotFoundError, PermissionError):
                    continue  # another process has just set it aside; or it is somebody's who does not share it
                except (pa.ArrowException, ValueError, KeyError):
                    aside = part.with_suffix(".damaged")
                    with contextlib.suppress(OSError):  # likewise, or a cache that only others may write
                        part.replace(aside)
                    self.damaged.append(aside)
        self._keep(checked)

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
        if checked.get(part.name) != now:
            with part.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != part.stem:
                    raise ValueError("content does not match the name")
        self._hold(pa.memory_map(str(part)))
        self.parts.add(part.name)
        checked[part.name] = now

    def _hold(self, content: pa.NativeFile | pa.Buffer) -> None:
        table = pa.ipc.open_file(content).read_all().combine_chunks()
        rows = table["bottleneck"].chunk(0).flatten().to_numpy().reshape(-1, self.dim)
        self._index.add(np.asarray(table["sha256"].to_numpy(), "S64"), table["variant"].to_numpy())
        self._parts.append(rows)

    def _checked(self) -> dict[str, list[int]]:
        try:
            return dict(json.loads((self.folder / _CHECKED).read_text()))
        except (OSError, ValueError):
            return {}

    def _keep(self, checked: dict[str, list[int]]) -> None:
        """Write down what was checked; what processes beside this one check meanwhile may be checked once more."""
        here = {name: stamp for name, stamp in checked.items() if name in self.parts}
        if here != self._checked():
            with contextlib.suppress(OSError), replacing(self.folder / _CHECKED) as aside:  # a cache of others'
                aside.write_text(json.dumps(here))

    def add(self, keys: list[tuple[str, int]], rows: np.ndarray) -> None:
        """Write one part: its rows, float32 [len(keys), dim], and for each the key, (sha256, variant).

        Where the folder may only be read, they are kept in memory, and `unkept` says so.
        """
        if not keys:
            return
        sha256, variant = zip(*keys, strict=True)
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(self.dtype, copy=False).reshape(-1)), self.dim)
        table = pa.table({"sha256": sha256, "variant": pa.array(variant, pa.int32()), "bottleneck": values})
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
                self._hold(content)
                return
        self._open(part, {part.name: _stamp(part)})

    def load(self, digests: Sequence[str], variants: int | np.ndarray = 0) -> np.ndarray:
        """Gather bottlenecks by image content: float32 [n, dim], mapped where they are many; see `files.room`.

        Args:
            variants: one for all, or [n].

        Raises:
            KeyError: one is missing.
        """
        found = self._index.find(digests, variants)
        if (found < 0).any():
            raise KeyError(digests[int((found < 0).argmax())])
        matrix, ends = room((len(found), self.dim)), np.cumsum([len(part) for part in self._parts])
        for rows in blocks(*matrix.shape):
            own = found[rows]
            numbers = np.searchsorted(ends, own, "right")
            for number in np.unique(numbers):
                mine, part = numbers == number, self._parts[number]
                matrix[rows][mine] = part[own[mine] - (ends[number] - len(part))]
        return matrix

    def features(self, images: pd.DataFrame, levels: Levels) -> tuple[np.ndarray, pd.DataFrame]:
        """Load the bottlenecks of all usable images that the cache knows: float32 [n, dim], and their rows of `images`.

        Both are aligned; the index of the rows is 0 to n - 1. `levels`: the scale that the images were read on.
        """
        table = images[images["problem"].isna()]
        table = table[self.knows(digests(table, levels))].reset_index(drop=True)
        return self.load(digests(table, levels)), table


def _stamp(part: Path) -> list[int]:
    stat = part.stat()
    return [stat.st_size, stat.st_mtime_ns]


def digests(images: pd.DataFrame, levels: Levels) -> list[str]:
    """Tell what the cache knows images by that are read on a scale: 64 hex digits a row."""
    dtypes = images["dtype"] if "dtype" in images else [None] * len(images)
    return [levels.identify(*row) for row in zip(images["sha256"], dtypes, strict=True)]


def open_cache(backbone: Backbone, dtype: type[np.floating] = np.float32) -> Cache:
    """Open a backbone's cache, checking every part against the hash that it is named by."""
    cache = Cache(backbone.folder, backbone.dim, dtype)
    cache.refresh()
    return cache
