"""Small tables beside a run that a person may edit, too: read as text, and refused in words where they are others."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import RetrainLabError
from ..files import opened


def read(file: Path, columns: Sequence[str], needed: Sequence[str]) -> pd.DataFrame:
    """Read such a table with these columns, all cells as text; no rows without a file.

    Args:
        columns: what is returned; cells of a column that the file lacks are "".
        needed: those of them that it must have.

    Raises:
        RetrainLabError: it cannot be read, or lacks a column that is needed.
    """
    try:
        with opened(file) as content:
            table = pd.read_csv(content, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        return pd.DataFrame(columns=columns, dtype=str)
    except (OSError, ValueError) as error:
        raise RetrainLabError(f"{file} cannot be read as a table ({error}). {expected(needed)}") from error
    if not set(needed) <= set(table.columns):
        raise RetrainLabError(f"{file} has the columns {', '.join(map(str, table.columns))}. {expected(needed)}")
    return table.reindex(columns=columns, fill_value="")


def expected(needed: Sequence[str]) -> str:
    """Say what such a table must have, and what to do with another."""
    return f"Expected the columns {','.join(needed)}; correct it, or move it elsewhere."
