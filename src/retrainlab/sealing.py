"""Files that carry the hash of their own content: what is read is what was written, or it is said to be damaged.

JSON has it as its last key, a table in Parquet in its footer; other files of ours, which nobody else reads, before
their content. Whoever changes a JSON file by hand takes the line of its seal out: then its shape alone is checked.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from . import shapes

SEAL = "seal"
_HEX = 64  # digits of a SHA-256
_OPEN = b"0" * _HEX  # where a table's seal will stand, while its hash is taken
_IN_FOOTER = b"\x18\x04seal\x18" + bytes([_HEX])  # what stands before it: key and value, as Thrift writes texts
T = TypeVar("T")


class DamagedFile(ValueError):
    """A file is not what was written. The message says why, as the end of a sentence."""


def digest(file: Path) -> str:
    """Compute the SHA-256 of a file, in hex digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# --------------------------------------------------------------------------------------------- JSON


def json_text(values: Mapping[str, Any]) -> str:
    """Write names with values as JSON, sealed."""
    plain = json.loads(json.dumps({key: value for key, value in values.items() if key != SEAL}))
    return json.dumps(plain | {SEAL: _of_json(plain)}, indent=1, ensure_ascii=False) + "\n"


def read_json(file: Path, shape: type[T]) -> T:
    """Read names with values of a shape, as of `shapes.check`, without their seal.

    Raises:
        OSError: it is not there, or cannot be read.
        DamagedFile: its content is not what its seal says, or of another shape.
    """
    try:
        values = json.loads(file.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"it is no JSON: {error}") from error
    return checked(values, shape)


def checked(values: Any, shape: type[T]) -> T:
    """Hold what was read from JSON to its seal, if it has one, and to a shape; returns it without its seal.

    Raises:
        DamagedFile: see `read_json`.
    """
    if isinstance(values, dict) and SEAL in values:
        values = dict(values)
        if values.pop(SEAL) != _of_json(values):
            raise DamagedFile(f"its content is not what its seal says; if it was changed on purpose, take '{SEAL}' out")
    try:
        shapes.check(values, shape)
    except ValueError as error:
        raise DamagedFile(str(error)) from error
    return cast(T, values)


def _of_json(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


# --------------------------------------------------------------------------------------------- tables


def table_bytes(table: pa.Table) -> bytes:
    """Write a table as Parquet, sealed: any reader of Parquet takes it, and does not see the seal."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({SEAL: _OPEN.decode()})
    content, place = sink.getvalue(), _place(sink.getvalue())
    return content[:place] + _of_bytes(content) + content[place + _HEX :]


def frame_bytes(table: pd.DataFrame) -> bytes:
    """Write a table of pandas likewise, with its index."""
    return table_bytes(pa.Table.from_pandas(table))


def read_table(file: Path, columns: Sequence[str] = ()) -> pa.Table:
    """Read a table that has these columns, and maybe others.

    Raises:
        OSError: it is not there, or cannot be read.
        DamagedFile: its content is not what its seal says, it has none, or lacks a column.
    """
    content = file.read_bytes()
    place = _place(content)
    if place < 0 or _of_bytes(content[:place] + _OPEN + content[place + _HEX :]) != content[place : place + _HEX]:
        raise DamagedFile("its content is not what its seal says" if place >= 0 else "it is no sealed Parquet file")
    table = pq.read_table(pa.BufferReader(content))
    if missing := [name for name in columns if name not in table.column_names]:
        raise DamagedFile(f"it has no column '{missing[0]}'")
    return table


def read_frame(file: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of pandas likewise."""
    return read_table(file, columns).to_pandas()


def _place(content: bytes) -> int:
    """Where a table's seal stands, and -1 if it has none. It is in the footer: the last place that looks like one."""
    place = content.rfind(_IN_FOOTER)
    return place + len(_IN_FOOTER) if place >= 0 else place


def _of_bytes(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


# --------------------------------------------------------------------------------------------- other files


def with_seal(content: bytes, of: str) -> bytes:
    """Put its seal before what is to be written. `of`: what it belongs to, such as a digest, and nothing else."""
    return _of_bytes(of.encode() + content) + content


def read_bytes(file: Path, of: str) -> bytes:
    """Read what `with_seal` gave, of the same.

    Raises:
        OSError: it is not there, or cannot be read.
        DamagedFile: its content is not what its seal says.
    """
    written = file.read_bytes()
    if _of_bytes(of.encode() + written[_HEX:]) != written[:_HEX]:
        raise DamagedFile("its content is not what its seal says")
    return written[_HEX:]


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file, which carries a checksum of each; but not one of how many there are.

    Raises:
        OSError: it is not there, or cannot be read.
        DamagedFile: it is no such file, or not what was written.
    """
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, KeyError, EOFError, TypeError, AttributeError, SyntaxError, RuntimeError) as error:
        raise DamagedFile(f"it holds no arrays: {error}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OverflowError, MemoryError) as error:
        raise DamagedFile(f"it is no whole archive: {error}") from error
