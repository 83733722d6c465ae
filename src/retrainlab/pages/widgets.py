"""What a person can press in a notebook."""

import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from PIL import Image

from ..errors import RetrainLabError
from ..images import relabeling
from ..labeling import answering
from ..labeling.labelers import Labeler
from ..pixels.decoding import ImageFolder


def label_uploads(labeler: Labeler, top: int = 5) -> ipywidgets.Widget:
    """Return a button to choose photos with; their labels appear under it, with bars."""
    button = ipywidgets.FileUpload(accept="image/*", multiple=True, description="Choose photos")
    shown = ipywidgets.Output()

    def label(_: Any) -> None:
        photos = {file["name"]: bytes(file["content"]) for file in button.value}
        told = answering.answer(labeler, photos, top)
        shown.clear_output()
        with shown:
            display(told)
            plt.show()

    button.observe(label, "value")
    return ipywidgets.VBox([button, shown])


def review_suspects(
    table: pd.DataFrame, photos: ImageFolder, folder: Path | str, labels: Sequence[str]
) -> ipywidgets.Widget:
    """Show suspects one after another, for a person to say which label is right; each click is written at once.

    It begins at the first image without a decision, so that a review may be spread over several sittings.

    Args:
        table: of `suspects.find`, with the columns path, sha256 and given of the images table.
        photos: where the images are.
        folder: the run's; decisions go to its `labels.csv`.
        labels: all labels, to pick another from; those that the suspects were given are added.
    """
    if table.empty:
        return ipywidgets.HTML("No label is suspected of being wrong: there is nothing to review.")
    return _Review(table, photos, Path(folder), labels).widget


class _Review:
    """What `review_suspects` shows: one row of the suspects at a time, from `at` on."""

    def __init__(self, table: pd.DataFrame, photos: ImageFolder, folder: Path, labels: Sequence[str]) -> None:
        self._table, self._photos, self._folder = table, photos, folder
        self._rows = table[["path", "sha256", "label", "given", "suggested"]].astype(str).to_dict("records")
        self._progress, self._picture = ipywidgets.HTML(), ipywidgets.VBox()
        options = sorted({*labels, *(row["given"] for row in self._rows)})
        self._other = ipywidgets.Dropdown(options=options, layout={"width": "auto"})
        self._use = _button(lambda: self._choose(self._row["suggested"]), "success")
        self._keep = _button(lambda: self._choose(self._row["label"]), "primary")
        pick = _button(lambda: self._choose(self._other.value), "", "Use this label")
        neither = "Neither: no head is trained or measured on this image"
        leave = _button(lambda: self._choose(None), "warning", "Leave it out", neither)
        self._back = _button(lambda: self._show(self._at - 1), "", "Back", "Show the image before, to decide again")
        self._deciding = (self._use, self._keep, self._other, pick, leave)
        buttons = [self._use, self._keep, ipywidgets.HBox([self._other, pick]), leave, self._back]
        row = ipywidgets.HBox(buttons, layout={"flex_flow": "row wrap"})
        self.widget = ipywidgets.VBox([self._progress, self._picture, row])
        known = self._decided()
        undecided = (number for number, row in enumerate(self._rows) if row["path"] not in known)
        self._show(next(undecided, len(self._rows)))

    @property
    def _row(self) -> dict[str, str]:
        return self._rows[self._at]

    def _decided(self) -> dict[str, str]:
        known = relabeling.current(self._table, relabeling.read(self._folder))
        return known.set_index("path")["decided"].to_dict()

    def _choose(self, label: str | None) -> None:
        try:
            relabeling.decide(self._folder, self._row["path"], self._row["sha256"], self._row["given"], label)
        except RetrainLabError as error:
            self._progress.value = html.escape(str(error))
            return
        self._show(self._at + 1)

    def _show(self, at: int) -> None:
        self._at, known = at, self._decided()
        ended = at == len(self._rows)
        for button in self._deciding:
            button.disabled = ended
        self._back.disabled = at == 0
        self._progress.value = self._summary(known) if ended else self._question(known)
        self._picture.children = () if ended else (_picture(self._photos, self._row["path"]),)
        if not ended:
            self._use.description = f"Change to '{self._row['suggested']}'"
            self._keep.description = f"Keep '{self._row['label']}'"

    def _question(self, known: dict[str, str]) -> str:
        path, label, suggested = (html.escape(self._row[name]) for name in ("path", "label", "suggested"))
        given, earlier = self._row["given"], known.get(self._row["path"])
        changed = "" if given == self._row["label"] else f" by a decision (<b>{html.escape(given)}</b> as given)"
        said = "" if earlier is None else f" &middot; decided: <b>{html.escape(earlier or 'leave it out')}</b>"
        place = f"{self._at + 1} of {len(self._rows)} &middot; {path}"
        return f"{place}<br>labelled <b>{label}</b>{changed}, suggested <b>{suggested}</b>{said}"

    def _summary(self, known: dict[str, str]) -> str:
        told = [known[row["path"]] == row["label"] for row in self._rows if row["path"] in known]
        return (
            f"All {len(self._rows)} are reviewed: {told.count(True)} keep their label, {told.count(False)} do not. "
            f"{relabeling.DECISIONS} holds the decisions; the next run takes them into account."
        )


def _button(act: Callable[[], None], style: str, description: str = "", tooltip: str = "") -> ipywidgets.Button:
    button = ipywidgets.Button(description=description, tooltip=tooltip, button_style=style, layout={"width": "auto"})
    button.on_click(lambda _: act())
    return button


def _picture(photos: ImageFolder, path: str) -> ipywidgets.Widget:
    try:
        image = Image.fromarray(photos.read(path))
    except RetrainLabError as error:
        return ipywidgets.HTML(f"The picture cannot be shown: {html.escape(str(error))}.")
    image.thumbnail((480, 480))
    data = io.BytesIO()
    image.save(data, "PNG")
    size = {"width": f"{image.width}px", "height": f"{image.height}px"}  # else it would be stretched
    return ipywidgets.Image(value=data.getvalue(), format="png", layout=size)
