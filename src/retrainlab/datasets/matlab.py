"""Lists of texts out of MATLAB's files: just that of the format, so that SciPy is not needed."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import RetrainLabError

_MATRIX, _COMPRESSED = 14, 15  # types of elements
_CELL, _CHAR = 1, 4  # classes of matrices
_ENCODINGS = {1: "ascii", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}  # int8, uint8, uint16, utf8, utf16


def read_cell_texts(file: Path, variable: str) -> list[str]:
    """Read a cell array of texts from a MATLAB 5 file (MATLAB 5 to 7, compressed or not).

    Source: The MathWorks, MAT-File Format, "Level 5 MAT-Files".

    Raises:
        RetrainLabError: the file is damaged or of another format, or has no such variable.
    """
    data = file.read_bytes()
    try:
        order = {b"IM": "<", b"MI": ">"}[data[126:128]]  # the number 'MI', as the writing machine laid it down
        for kind, content in _elements(data[128:], order):
            if kind == _COMPRESSED:
                ((kind, content),) = _elements(zlib.decompress(content), order)
            (_, flags), _, (_, name), *cells = _elements(content, order)
            if kind == _MATRIX and name.decode() == variable and _class(flags, order) == _CELL:
                return [_text(cell, order) for _, cell in cells]
        problem = f"it holds no cell array '{variable}'"
    except (KeyError, ValueError, struct.error, zlib.error) as error:
        problem = f"{type(error).__name__}: {error}"
    raise RetrainLabError(
        f"'{file.name}' cannot be read ({problem}). Expected a MATLAB 5 file with the cell array '{variable}' of texts."
    )


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Walk over the elements that lie one behind the other: type, content."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small one: its size and type share four bytes, and its content the next four
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            if at + 8 + size > len(data):
                raise ValueError("it is cut short")
            yield kind, data[at + 8 : at + 8 + size]
            at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _class(flags: bytes, order: str) -> int:
    return struct.unpack(f"{order}II", flags)[0] & 0xFF


def _text(matrix: bytes, order: str) -> str:
    (_, flags), _, _, (kind, content) = _elements(matrix, order)
    if _class(flags, order) != _CHAR:
        raise ValueError("a cell is no text")
    encoding = _ENCODINGS[kind]
    return content.decode(encoding + {"<": "-le", ">": "-be"}[order] if encoding == "utf-16" else encoding)
