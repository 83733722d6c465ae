"""What a sweep found, and the words that say it on a terminal."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from .grids import SWEPT, texts

_LINES, _PROBLEMS, _COMPARED = 40, 5, 200  # that are printed, or compared, at most


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        table: index run; the settings that were varied, weight_decay, then n, validation (accuracy), low, high and
            cross_entropy of the validation images, and train (accuracy).
        chosen: the run with the lowest validation cross-entropy; None without validation images.
        command: how to run the chosen settings in full; "" if none was chosen.
        problems: sentences on settings that could not be trained.
    """

    table: pd.DataFrame
    chosen: str | None
    command: str
    problems: list[str]

    @property
    def compared(self) -> list[str]:
        """The runs to set side by side: all, or of a large grid the best, since pairs grow with the square."""
        best = set(self.table.sort_values("cross_entropy", kind="stable").index[:_COMPARED])
        return [name for name in self.table.index if name in best]


def describe(swept: Swept) -> list[str]:
    """Say what a sweep found in lines for a terminal: a table, the best first, and what was chosen and why."""
    table = swept.table.sort_values("cross_entropy", kind="stable")
    names = [name for name in table if name in SWEPT]
    cells = {"run": list(table.index)}
    for name in names:
        brief = dict(zip(table[name].unique(), texts(table[name].unique()), strict=True))
        cells[name] = [brief[value] for value in table[name]]
    rows = table.to_dict("records")
    cells["train"] = [_percent(row["train"]) for row in rows]
    cells["validation [95% interval]"] = [_percent(row["validation"], row["low"], row["high"]) for row in rows]
    cells["cross-entropy"] = [_nats(row["cross_entropy"]) for row in rows]
    lines = _columns(cells)
    if len(lines) > _LINES + 1:
        lines[_LINES + 1 :] = [f"... and {len(lines) - _LINES - 1:,} more."]
    lines += ["", *(f"Left out: {problem}" for problem in swept.problems[:_PROBLEMS])]
    if len(swept.problems) > _PROBLEMS:
        lines.append(f"Left out as well: {len(swept.problems) - _PROBLEMS:,} more.")
    if swept.chosen is None:
        return [*lines, "There are no validation images, so none of these can be chosen. Raise validation_percentage."]
    settings = ", ".join(f"{name} {cells[name][0]}" for name in names)
    return [
        *lines,
        f"Chosen: {swept.chosen} ({settings}), for the lowest cross-entropy on {rows[0]['n']:,.0f} validation images.",
        *([f"As the best of {len(table):,}, it owes something to luck."] if len(table) > 1 else []),
        "Test images took no part. To see what they say of it, run it in full:",
        f"  {swept.command}",
    ]


def _percent(accuracy: float | None, low: float | None = None, high: float | None = None) -> str:
    if accuracy is None or pd.isna(accuracy):
        return "–"
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{accuracy:.1%}{interval}"


def _nats(cross_entropy: float | None) -> str:
    if cross_entropy is None or pd.isna(cross_entropy):
        return "–"
    return f"{cross_entropy:.3f}" if cross_entropy < 1000 else f"{cross_entropy:.3g}"


def _columns(cells: Mapping[str, list[str]]) -> list[str]:
    """Line cells up under their names: the first column from the left, the others from the right."""
    columns: list[list[str]] = []
    for name, column in cells.items():
        width = max(map(len, [name, *column]))
        columns.append([f"{cell:{'<' if not columns else '>'}{width}}" for cell in [name, *column]])
    return ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
