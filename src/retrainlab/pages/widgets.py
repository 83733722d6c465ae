"""What a person can press in a notebook."""

import html
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
from PIL import Image

from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..images import relabeling
from ..labeling import answering, labelled
from ..labeling.labelers import Labeler
from ..pixels.decoding import ImageFolder

_BUTTONS = 12  # labels: of more, one is sought by typing


def label_uploads(labeler: Labeler, top: int = 5) -> ipywidgets.Widget:
    """Return a button to choose photos with; their labels appear under it, with bars."""
    button = ipywidgets.FileUpload(accept="image/*", multiple=True, description="Choose photos")
    shown = ipywidgets.VBox()

    def label(_: Any) -> None:
        shown.children = (ipywidgets.HTML("They are being labelled ..."),)
        photos = {file["name"]: bytes(file["content"]) for file in button.value}
        told = answering.answer(labeler, photos, top)
        shown.children = (ipywidgets.HTML(told._repr_html_()), *_figure(told))

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


def label_next(
    asked: Finding, file: Path, labeler: Labeler, images: pd.DataFrame, image_dir: Path
) -> ipywidgets.Widget | None:
    """Show the images to label next one after another, with a button a label; each click is written at once.

    It begins at the first image without a label, so that labelling may be spread over several sittings.

    Args:
        asked: of `asking.to_label`, which wrote the file; where it has no images, there is nothing to press.
        file: its `to_label.csv`, where the labels go.
        labeler: whose labels there are to choose from.
        images, image_dir: of the run, as for `labelled.take_in`.
    """
    if asked.details is None:
        return None
    return _Labelling(file, labeler, lambda: labelled.take_in(file, images, image_dir)).widget


class _Labelling:
    """What `label_next` shows: one image at a time, from `at` on; those that have a label are passed over."""

    def __init__(self, file: Path, labeler: Labeler, take_in: Callable[[], str]) -> None:
        self._file, self._photos = file, ImageFolder(Path(), labeler.levels)
        self._rows, self._trail = labelled.read(file).to_dict("records"), list[int]()
        self._progress, self._picture, self._told = ipywidgets.HTML(), ipywidgets.VBox(), ipywidgets.HTML()
        names = labeler.labels if len(labeler.labels) <= _BUTTONS else []
        self._labels = {name: _button(partial(self._choose, name), "", name) for name in names}
        self._first = _button(lambda: self._choose(self._row["predicted"]), "primary")
        self._other = ipywidgets.Combobox(options=labeler.labels, placeholder="Another label: type to search")
        self._other.ensure_option = True
        pick = _button(lambda: self._choose(self._other.value), "", "Use this label")
        skip = _button(self._leave, "", "Skip", "Leave it without a label; it comes again when this is opened anew")
        self._undo = _button(self._take_back, "warning", "Undo", "Show the image before, and take its label back")
        copy = _button(lambda: self._tell(take_in), "success", "Copy what has a label to the training images")
        choice = list(self._labels.values()) or [self._first, self._other, pick]
        self._deciding = [*choice, skip]
        rows = [ipywidgets.HBox(each, layout={"flex_flow": "row wrap"}) for each in (choice, [skip, self._undo, copy])]
        self.widget = ipywidgets.VBox([self._progress, self._picture, *rows, self._told])
        self._show(0)

    @property
    def _row(self) -> dict[str, str]:
        return self._rows[self._at]

    def _choose(self, label: str) -> None:
        if label and self._written(label):
            self._leave()

    def _leave(self) -> None:
        self._trail.append(self._at)
        self._show(self._at + 1)

    def _take_back(self) -> None:
        self._at = self._trail[-1]
        if self._written(""):
            self._show(self._trail.pop())

    def _written(self, label: str) -> bool:
        try:
            labelled.give(self._file, self._row["path"], label)
        except RetrainLabError as error:
            self._progress.value = html.escape(str(error))
            return False
        return True

    def _tell(self, act: Callable[[], str]) -> None:
        try:
            said = act()
        except RetrainLabError as error:
            said = str(error)
        self._told.value = html.escape(said)

    def _show(self, at: int) -> None:
        """Show the first image from a place on that has no label."""
        table = labelled.read(self._file)
        known = set(table["path"][table["label"] != ""])
        left = (place for place in range(at, len(self._rows)) if self._rows[place]["path"] not in known)
        self._at = next(left, len(self._rows))
        ended, self._other.value = self._at == len(self._rows), ""
        for control in self._deciding:
            control.disabled = ended
        self._undo.disabled = not self._trail
        self._picture.children = () if ended else (_picture(self._photos, self._row["path"]),)
        count = f"{len(known)} of {len(self._rows)} have a label"
        if ended:
            rest = len(known) < len(self._rows)
            self._progress.value = f"{count}." + " Those that were skipped come when this is opened again." * rest
            return
        path, predicted = (html.escape(self._row[name]) for name in ("path", "predicted"))
        sure = f"{float(self._row['probability'] or 0):.0%}"
        self._progress.value = f"{count} &middot; {path}<br>it would say <b>{predicted}</b>, {sure}"
        self._first.description = self._row["predicted"]
        for name, button in self._labels.items():
            button.button_style = "primary" if name == self._row["predicted"] else ""


def _button(act: Callable[[], None], style: str, description: str = "", tooltip: str = "") -> ipywidgets.Button:
    button = ipywidgets.Button(description=description, tooltip=tooltip, button_style=style, layout={"width": "auto"})
    button.on_click(lambda _: act())
    return button


def _figure(told: Finding) -> list[ipywidgets.Widget]:
    if told.picture is None:
        return []
    width = Image.open(io.BytesIO(told.picture)).width // 2  # it has twice as many pixels
    return [ipywidgets.Image(value=told.picture, format="png", layout={"width": f"{width}px", "max_width": "100%"})]


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
