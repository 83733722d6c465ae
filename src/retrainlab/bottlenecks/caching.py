"""The content-addressed bottleneck cache.

`bottleneck_dir/<backbone digest>/` holds immutable Arrow IPC files with the columns sha256 (of the image file),
variant (0 = undistorted) and bottleneck (float32 [dim]). Each is named by the SHA-256 of its own content, written
aside and renamed: a crash loses at most the part in the making, and two processes can fill one cache.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..backbones.registry import Backbone
from ..errors import RetrainLabError


@dataclass
class Cache:
    """The bottlenecks of one backbone, memory-mapped.

    Attributes:
        folder: where the parts lie.
        dim: length of a bottleneck.
        damaged: parts that were found damaged on opening; they are set aside under these names.
    """

    folder: Path
    dim: int
    damaged: list[Path] = field(default_factory=list)
    _parts: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # part -> [rows, dim]
    _index: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._index

    @property
    def bytes(self) -> int:
        """Size of all parts on disk."""
        return sum(part.stat().st_size for part in self.folder.glob("*.arrow"))

    def refresh(self) -> None:
        """Open the parts that were not seen yet; set damaged ones aside."""
        for part in sorted(self.folder.glob("*.arrow")):
            if part.name not in self._parts:
                try:
                    self._open(part)
                except (FileNotFoundError, PermissionError):
                    continue  # another process has just set it aside; or it is somebody's who does not share it
                except (pa.ArrowException, ValueError, KeyError):
                    aside = part.with_suffix(".damaged")
                    with contextlib.suppress(OSError):  # likewise, or a cache that only others may write
                        part.replace(aside)
                    self.damaged.append(aside)

    def _open(self, part: Path) -> None:
        with part.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != part.stem:
                raise ValueError("content does not match the name")
        table = pa.ipc.open_file(pa.memory_map(str(part))).read_all().combine_chunks()
        column = table["bottleneck"].chunk(0)
        self._parts[part.name] = column.flatten().to_numpy().reshape(-1, self.dim)
        keys = zip(table["sha256"].to_pylist(), table["variant"].to_pylist(), strict=True)
        self._index.update((key, (part.name, row)) for row, key in enumerate(keys))

    def add(self, keys: list[tuple[str, int]], rows: np.ndarray) -> None:
        """Write one part.

        Args:
            keys: (sha256, variant), one a row.
            rows: float32 [len(keys), dim].
        """
        if not keys:
            return
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float32()), self.dim)
        table = pa.table(
            {
                "sha256": pa.array([sha256 for sha256, _ in keys]),
                "variant": pa.array([variant for _, variant in keys], pa.int32()),
                "bottleneck": values,
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=len(keys))
        content = sink.getvalue()
        part = self.folder / f"{hashlib.sha256(content).hexdigest()}.arrow"
        aside = part.with_suffix(f".{os.getpid()}")
        try:
            aside.write_bytes(content)
            aside.replace(part)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise RetrainLabError(
                f"Bottlenecks could not be written to '{self.folder}': {error.strerror}. What was written before is "
                "kept; make room or set bottleneck_dir, and run again."
            ) from error
        self._open(part)

    def load(self, sha256: Iterable[str], variant: int = 0) -> np.ndarray:
        """Gather bottlenecks by image content: float32 [len(sha256), dim]. KeyError if one is missing."""
        places = [self._index[digest, variant] for digest in sha256]
        matrix = np.empty((len(places), self.dim), np.float32)
        owner = np.array([part for part, _ in places], dtype=object)
        row = np.array([row for _, row in places], dtype=np.int64)
        for name, values in self._parts.items():
            mine = owner == name
            matrix[mine] = values[row[mine]]
        return matrix


def open_cache(backbone: Backbone) -> Cache:
    """Open a backbone's cache, checking every part against the hash that it is named by."""
    cache = Cache(backbone.folder, backbone.dim)
    cache.refresh()
    return cache
