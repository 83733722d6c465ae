"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `file` when all is written; else nothing is left of it.

    A reader sees the old file or the new one, never half of it; two processes do not meet.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield aside
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
