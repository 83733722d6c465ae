"""What a person can press in a notebook."""

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from .. import plots
from ..errors import RetrainLabError
from ..images import relabeling, scanning
from ..images.decoding import read_many, read_pixels
from ..labeling import labelers


def label_uploads(labeler: labelers.Labeler, top: int = 5) -> ipywidgets.Widget:
    """Return a button to choose photos with; their labels appear under it, with bars."""
    button = ipywidgets.FileUpload(accept="image/*", multiple=True, description="Choose photos")
    shown = ipywidgets.Output()

    def label(_: Any) -> None:
        photos = {file["name"]: bytes(file["content"]) for file in button.value}
        table, problems = labelers.label(labeler, photos, top)
        shown.clear_output()
        with shown:
            for name, problem in problems.items():
                print(f"{name}: {problem}.")
            if len(table):
                pictures = read_many(list(photos.values()), (160, 160))
                plots.label_bars(table, dict(zip(photos, pictures, strict=True)))
                plt.show()

    button.observe(label, "value")
    return ipywidgets.VBox([button, shown])


def review_suspects(
    table: pd.DataFrame, image_dir: Path | str, folder: Path | str, labels: Sequence[str]
) -> ipywidgets.Widget:
    """Show suspects one after another, for a person to say which label is right; each click is written at once.

    It begins at the first image without a decision, so that a review may be spread over several sittings.

    Args:
        table: of `suspects.find`, with paths, and with the column sha256 of the images table.
        image_dir: where the images are.
        folder: the run's; decisions go to its `labels.csv`.
        labels: all labels, to pick another from; those that the suspects' folders give are added.
    """
    if table.empty:
        return ipywidgets.HTML("No label is suspected of being wrong: there is nothing to review.")
    rows = table[["path", "sha256", "label", "suggested"]].astype(str).to_dict("records")
    progress, picture = ipywidgets.HTML(), ipywidgets.VBox()
    use, keep, leave, back = (
        ipywidgets.Button(layout={"width": "auto"}, button_style=style)
        for style in ("success", "primary", "warning", "")
    )
    leave.description, leave.tooltip = "Leave it out", "Neither: no head is trained or measured on this image"
    back.description, back.tooltip = "Back", "Show the image before, to decide again"
    options = sorted({*labels, *(scanning.given_label(row["path"]) for row in rows)})
    other = ipywidgets.Dropdown(options=options, layout={"width": "auto"})
    pick = ipywidgets.Button(description="Use this label", layout={"width": "auto"})
    buttons = ipywidgets.HBox(
        [use, keep, ipywidgets.HBox([other, pick]), leave, back], layout={"flex_flow": "row wrap"}
    )
    at = 0

    def decided() -> dict[str, str]:
        known = relabeling.current(table, relabeling.read(folder))
        return known.set_index("path")["decided"].to_dict()

    def show() -> None:
        known = decided()
        for button in (use, keep, other, pick, leave):
            button.disabled = at == len(rows)
        back.disabled = at == 0
        if at == len(rows):
            told = [known[row["path"]] == row["label"] for row in rows if row["path"] in known]
            picture.children = ()
            progress.value = (
                f"All {len(rows)} are reviewed: {told.count(True)} keep their label, {told.count(False)} do not. "
                f"{relabeling.DECISIONS} holds the decisions; the next run takes them into account."
            )
            return
        row = rows[at]
        given = scanning.given_label(row["path"])
        changed = "" if given == row["label"] else f" by a decision (<b>{html.escape(given)}</b> by its folder)"
        earlier = known.get(row["path"])
        said = "" if earlier is None else f" &middot; decided: <b>{html.escape(earlier or 'leave it out')}</b>"
        progress.value = (
            f"{at + 1} of {len(rows)} &middot; {html.escape(row['path'])}<br>labelled "
            f"<b>{html.escape(row['label'])}</b>{changed}, suggested <b>{html.escape(row['suggested'])}</b>{said}"
        )
        use.description, keep.description = f"Change to '{row['suggested']}'", f"Keep '{row['label']}'"
        picture.children = (_picture(Path(image_dir, row["path"])),)

    def choose(label: str | None) -> None:
        nonlocal at
        row = rows[at]
        try:
            relabeling.decide(folder, row["path"], row["sha256"], label)
        except RetrainLabError as error:
            progress.value = html.escape(str(error))
            return
        at += 1
        show()

    def go_back() -> None:
        nonlocal at
        at -= 1
        show()

    use.on_click(lambda _: choose(rows[at]["suggested"]))
    keep.on_click(lambda _: choose(rows[at]["label"]))
    pick.on_click(lambda _: choose(other.value))
    leave.on_click(lambda _: choose(None))
    back.on_click(lambda _: go_back())
    known = decided()
    at = next((number for number, row in enumerate(rows) if row["path"] not in known), len(rows))
    show()
    return ipywidgets.VBox([progress, picture, buttons])


def _picture(path: Path) -> ipywidgets.Widget:
    try:
        image = Image.fromarray(read_pixels(path))
    except RetrainLabError as error:
        return ipywidgets.HTML(f"The picture cannot be shown: {html.escape(str(error))}.")
    image.thumbnail((480, 480))
    data = io.BytesIO()
    image.save(data, "PNG")
    size = {"width": f"{image.width}px", "height": f"{image.height}px"}  # else it would be stretched
    return ipywidgets.Image(value=data.getvalue(), format="png", layout=size)
