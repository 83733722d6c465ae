"""What a person decided about labels in doubt: `labels.csv` beside a run, and what it makes of an images table.

Its columns are path, label (as it was given), decided (the label that is right from now on; the given one to keep that;
empty to leave the image out) and sha256 (of the file that was decided on; where it is empty or the column is missing,
whatever lies at that path is meant). Image files are never touched.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import RetrainLabError, writing
from ..files import replacing
from . import edited

DECISIONS = "labels.csv"
_COLUMNS = ["path", "label", "decided", "sha256"]
_NEEDED = _COLUMNS[:3]


def read(folder: Path | str) -> pd.DataFrame:
    """Read the `labels.csv` of a run's folder: its four columns; one row a path, the latest; none without a file.

    Raises:
        RetrainLabError: `labels.csv` cannot be read, or is not such a table.
    """
    file = Path(folder, DECISIONS)
    table = edited.read(file, _COLUMNS, _NEEDED)
    blank = (table["path"] == "") | (table["label"] == "")
    if blank.any():
        raise RetrainLabError(
            f"{file} has no path or no label in line {blank.to_numpy().argmax() + 2}. {edited.expected(_NEEDED)}"
        )
    return table.drop_duplicates("path", keep="last", ignore_index=True)


def read_all(folders: Sequence[Path | str]) -> pd.DataFrame:
    """Read the decisions of several runs; `apply` takes the last on a path that holds, so that later folders win."""
    return pd.concat(map(read, folders)).drop_duplicates(keep="last", ignore_index=True)


def decide(folder: Path | str, path: str, sha256: str, given: str, label: str | None) -> None:
    """Write a decision on an image to a run's folder; it replaces an earlier one on the same path.

    Args:
        sha256: of the image; the decision counts as long as the file has it.
        given: the label that the image has by its folder, or by a table.
        label: the one that is right: the given one to keep that, another to replace it, None to leave the image out.
    """
    earlier = read(folder)
    row = pd.DataFrame([[path, given, label or "", sha256]], columns=_COLUMNS)
    file = Path(folder, DECISIONS)
    with writing(f"{file}", "Choose a reports_dir that can be written."), replacing(file) as aside:
        pd.concat([earlier[earlier["path"] != path], row]).to_csv(aside, index=False)


def apply(images: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Put decisions into an images table: labels are replaced, and what is left out has a `problem` and no split.

    Byte-identical copies of the same given label follow, unless they have a decision of their own. Decisions on paths
    that the table does not hold, or on files that have changed since, are passed over; `notes` names them.
    """
    decided = _decided(images, decisions).where(images["problem"].isna())
    table = images.assign(label=images["label"].mask(decided.notna() & (decided != ""), decided))
    table.loc[decided == "", ["problem", "split"]] = f"left out by a decision in {DECISIONS}", None
    return table


def current(images: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Keep the decisions on files that are there and have not changed since: one row a path, the last that holds."""
    now = decisions["path"].map(dict(zip(images["path"], images["sha256"], strict=True)))
    same = (decisions["sha256"] == "") | (decisions["sha256"] == now)
    return decisions[decisions["path"].isin(images["path"]) & same].drop_duplicates("path", keep="last")


def notes(images: pd.DataFrame, decisions: pd.DataFrame) -> list[str]:
    """Say in sentences what `apply` does to these images, and what it passes over."""
    if decisions.empty:
        return []
    decided, given = _decided(images, decisions)[images["problem"].isna()].dropna(), images["given"]
    out, kept = (decided == "").sum(), (decided == given[decided.index]).sum()
    said = [
        f"By {DECISIONS}, {len(decided) - out - kept} images have another label than the given one, {out} are left "
        f"out and {kept} keep theirs."
    ]
    if unknown := sorted(set(decisions["path"]) - set(images["path"])):
        said.append(f"{DECISIONS} names {_some(unknown)}, which the image folder does not hold: passed over.")
    if changed_since := sorted(set(decisions["path"]) - set(unknown) - set(current(images, decisions)["path"])):
        said.append(
            f"{len(changed_since)} decisions in {DECISIONS} are about files that have changed since, "
            f"{_some(changed_since)}: passed over."
        )
    if new := sorted(set(decided) - set(given[images["problem"].isna()]) - {""}):
        said.append(f"{DECISIONS} gives the label {_some(new)}, which no image was given: check the spelling.")
    return said


def _decided(images: pd.DataFrame, decisions: pd.DataFrame) -> pd.Series:
    """Look up the decision on each image or its copy; NaN where there is none."""
    holding = current(images, decisions)[_NEEDED]
    own = images["path"].map(holding.set_index("path")["decided"])
    holding = holding.rename(columns={"label": "given"})
    same = ["sha256", "given"]
    known = holding.merge(images[["path", "sha256"]].dropna(), on="path").drop_duplicates(same, keep="last")
    copies = images[same].merge(known, on=same, how="left")["decided"]
    return own.where(own.notna(), copies.set_axis(images.index))


def _some(names: Sequence[str]) -> str:
    return f"'{names[0]}'" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
