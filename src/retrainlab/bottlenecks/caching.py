"""The content-addressed bottleneck cache.

`bottleneck_dir/<backbone digest>/` holds immutable Arrow IPC files with the columns sha256 (of the image file; where it
is not of 8 bits, of that and its scale: `levels.Levels.identify`), variant (0 = undistorted) and bottleneck (float32
[dim], or float16 for activations). Each is named by the SHA-256 of its own content, written aside and renamed: a crash
loses at most the part in the making, and two processes can fill one cache.
"""

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ..backbones.registry import Backbone
from ..errors import writing
from ..files import replacing
from ..pixels.levels import Levels


@dataclass
class Cache:
    """The bottlenecks of one backbone, memory-mapped."""

    folder: Path  # where the parts lie
    dim: int  # length of a bottleneck
    dtype: type[np.floating] = np.float32  # of its numbers: float16 for activations, which are many
    damaged: list[Path] = field(default_factory=list)  # parts that were, on opening, under the names they have now
    parts: set[str] = field(default_factory=set, repr=False)  # names of those that are open
    _rows: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False)  # views of them, [dim]

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._rows

    @property
    def bytes(self) -> int:
        """Size of all parts on disk."""
        return sum(part.stat().st_size for part in self.folder.glob("*.arrow"))

    def refresh(self) -> None:
        """Open the parts that were not seen yet; set damaged ones aside."""
        for part in sorted(self.folder.glob("*.arrow")):
            if part.name not in self.parts:
                try:
                    self._open(part)
                except (FileNotFoundError, PermissionError):
                    continue  # another process has just set it aside; or it is somebody's who does not share it
                except (pa.ArrowException, ValueError, KeyError):
                    aside = part.with_suffix(".damaged")
                    with contextlib.suppress(OSError):  # likewise, or a cache that only others may write
                        part.replace(aside)
                    self.damaged.append(aside)

    def take(self, parts: Iterable[str]) -> None:
        """Open parts that another process has just written, by name: a shared drive may list them only later.

        Raises:
            FileNotFoundError: one is not here.
        """
        for name in parts:
            self._open(self.folder / name)

    def _open(self, part: Path) -> None:
        with part.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != part.stem:
                raise ValueError("content does not match the name")
        table = pa.ipc.open_file(pa.memory_map(str(part))).read_all().combine_chunks()
        rows = table["bottleneck"].chunk(0).flatten().to_numpy().reshape(-1, self.dim)
        keys = zip(table["sha256"].to_pylist(), table["variant"].to_pylist(), strict=True)
        self._rows.update(zip(keys, rows, strict=True))
        self.parts.add(part.name)

    def add(self, keys: list[tuple[str, int]], rows: np.ndarray) -> None:
        """Write one part: its rows, float32 [len(keys), dim], and for each the key, (sha256, variant)."""
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
        with writing(f"The bottlenecks in '{self.folder}'", advice), replacing(part) as aside:
            aside.write_bytes(content)
        self._open(part)

    def row(self, digest: str, variant: int = 0) -> np.ndarray:
        """View one bottleneck, [dim] of `dtype`, where it lies on disk. KeyError if it is missing."""
        return self._rows[digest, variant]

    def load(self, digests: Iterable[str], variant: int = 0) -> np.ndarray:
        """Gather bottlenecks by image content: float32 [len(digests), dim]. KeyError if one is missing."""
        return np.array([self._rows[digest, variant] for digest in digests], np.float32).reshape(-1, self.dim)

    def features(self, images: pd.DataFrame, levels: Levels) -> tuple[np.ndarray, pd.DataFrame]:
        """Load the bottlenecks of all usable images that the cache knows: float32 [n, dim], and their rows of `images`.

        Both are aligned; the index of the rows is 0 to n - 1. `levels`: the scale that the images were read on.
        """
        known = np.array([(digest, 0) in self for digest in digests(images, levels)], bool)
        table = images[images["problem"].isna() & known].reset_index(drop=True)
        return self.load(digests(table, levels)), table


def digests(images: pd.DataFrame, levels: Levels) -> list[str]:
    """Tell what the cache knows images by that are read on a scale: 64 hex digits a row."""
    dtypes = images["dtype"] if "dtype" in images else [None] * len(images)
    return [levels.identify(*row) for row in zip(images["sha256"], dtypes, strict=True)]


def open_cache(backbone: Backbone, dtype: type[np.floating] = np.float32) -> Cache:
    """Open a backbone's cache, checking every part against the hash that it is named by."""
    cache = Cache(backbone.folder, backbone.dim, dtype)
    cache.refresh()
    return cache
