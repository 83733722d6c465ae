"""What a page shows of an executed notebook: the answer first, then what it stands on, with teaching text folded away.

A notebook is read from its beginning to its end, a page from its answer on. So its cells tagged `summary` come first,
text that explains can be unfolded, and what has nothing to show is left out, with the text that would explain it.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from itertools import takewhile
from typing import Any

from nbformat.v4 import new_markdown_cell

_WIDGET = "application/vnd.jupyter.widget-view+json"
_HEADING = re.compile(r"(#+) .*")
_READ = "*How to read it:*"
_NEXT = "**Next:**"


def arranged(cells: Sequence[Any]) -> list[Any]:
    """Choose and order the cells of an executed notebook, the first of which is its title, for its page."""
    title, *cells = [_shown(cell) for cell in deepcopy(list(cells))]
    heading, *about = _parted(title, "About this page")
    summary = [cell for cell in cells if is_summary(cell)]
    others = _told([cell for cell in cells if not is_summary(cell)])
    return _folded([heading, *summary, *about, *(part for cell in others for part in _parted(cell, "What this is"))])


def is_summary(cell: Any) -> bool:
    return "summary" in cell.metadata.get("tags", [])


def _shown(cell: Any) -> Any:
    """Take progress bars out, which are for those who watch; and let notebooks link to pages, as on a page they do."""
    if cell.cell_type == "code":
        cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
    if cell.cell_type == "markdown":
        cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb\)", r"](\1.html)", cell.source)
    return cell


def _told(cells: list[Any]) -> list[Any]:
    """Leave out sections that show nothing, and explanations of figures that are not there."""
    kept, shows = list[Any](), True
    for number, cell in enumerate(cells):
        if _depth(cell):
            shows = _shows(cells, number)
        if cell.cell_type == "markdown" and cell.source.startswith(_READ) and not _is_pictured(cells, number):
            _, _, cell.source = cell.source.partition("\n\n")
        if cell.cell_type == "markdown" and not _depth(cell) and not cell.source.startswith((_READ, _NEXT)):
            cell.source *= _leads_somewhere(cells, number)
        if cell.source and (shows or cell.source.startswith(_NEXT)):
            kept.append(cell)
    return kept


def _depth(cell: Any) -> int:
    """Count the signs of a heading; 0 where a cell begins with none."""
    found = _HEADING.match(cell.source) if cell.cell_type == "markdown" else None
    return len(found[1]) if found else 0


def _shows(cells: list[Any], number: int) -> bool:
    """Tell whether anything comes of the section that begins with this heading, sections below it included."""
    for cell in cells[number + 1 :]:
        if 0 < _depth(cell) <= _depth(cells[number]):
            return False
        if cell.cell_type == "code" and cell.outputs:
            return True
    return False


def _leads_somewhere(cells: list[Any], number: int) -> bool:
    """Tell whether anything comes of the code that follows a text, if there is any."""
    code = list(takewhile(lambda cell: cell.cell_type == "code", cells[number + 1 :]))
    return not code or any(cell.outputs for cell in code)


def _is_pictured(cells: list[Any], number: int) -> bool:
    """Tell whether there is a figure or a table between this text and the one before it."""
    for cell in reversed(cells[:number]):
        if cell.cell_type == "markdown":
            return False
        for output in cell.outputs:
            if "image/png" in output.get("data", {}) or "<table" in output.get("data", {}).get("text/html", ""):
                return True
    return False


def _parted(cell: Any, name: str) -> list[Any]:
    """Part a text that explains from its heading, to be unfolded by this name; where one may go from here, stays."""
    if cell.cell_type != "markdown" or cell.source.startswith(_NEXT):
        return [cell]
    heading, text = cell.source.partition("\n")[::2] if _depth(cell) else ("", cell.source)
    if text.startswith(_READ):
        text = text.removeprefix(_READ).strip()
        name, text = "How to read it", text[:1].upper() + text[1:]
    parts = [new_markdown_cell(heading, id=cell.id)] if heading else []
    if text.strip():
        metadata = {"unfolded by": name}
        parts.append(new_markdown_cell(text.strip(), id=f"{cell.id}-{len(parts)}", metadata=metadata))
    return parts


def _folded(cells: list[Any]) -> list[Any]:
    """Join neighbouring code cells that show nothing into one: on a page they are one thing to unfold."""
    joined: list[Any] = []
    for cell in cells:
        before = joined[-1] if joined else None
        if before and before.cell_type == cell.cell_type == "code" and not before.outputs and not is_summary(before):
            before.source += f"\n\n{cell.source}"
            before.outputs = cell.outputs
        else:
            joined.append(cell)
    return joined
