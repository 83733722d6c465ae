"""Papermill's engine, that also tells what a notebook is doing: the heading above the cell that runs, and its bar."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger

NAME = "telling"
Tell = Callable[[str, str], None]  # what is told: the heading above the cell that runs, and its bar; each may be empty
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


class Bars:
    """The progress bars of a cell, as tqdm draws them in a notebook: a box of a text, a bar and a text."""

    def __init__(self) -> None:
        self._widgets: dict[str, dict[str, Any]] = {}

    def take(self, message: dict[str, Any]) -> None:
        """Take what a kernel says of its widgets; any other message changes nothing."""
        kind, content = message["msg_type"], message["content"]
        if kind in ("comm_open", "comm_msg"):
            self._widgets.setdefault(content["comm_id"], {}).update(content["data"].get("state", {}))
        elif kind == "comm_close":
            self._widgets.pop(content["comm_id"], None)

    def __str__(self) -> str:
        """What stands left and right of the latest bar that is open, in one line; empty without one."""
        for box in reversed(self._widgets.values()):
            parts = [self._widgets.get(str(name).removeprefix("IPY_MODEL_"), {}) for name in box.get("children", [])]
            if [part.get("_model_name") for part in parts] == ["HTMLModel", "FloatProgressModel", "HTMLModel"]:
                return " ".join(unescape(f"{parts[0].get('value', '')} {parts[2].get('value', '')}").split())
        return ""


class _Client(PapermillNotebookClient):
    def __init__(self, nb_man: Any, tell: Tell, **options: Any) -> None:
        super().__init__(nb_man, **options)
        self._tell, self._bars, self._cell, self._above = tell, Bars(), -1, ""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if cell_index != self._cell:
            texts = (one.source for one in self.nb.cells[:cell_index] if one.cell_type == "markdown")
            headings = [heading for text in texts for heading in _HEADING.findall(text)]
            self._bars, self._cell, self._above = Bars(), cell_index, headings[-1] if headings else ""
        self._bars.take(msg)
        self._tell(self._above, str(self._bars))
        return super().process_message(msg, cell, cell_index)


class _Engine(NBClientEngine):
    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, tell: Tell, km: Any, start_timeout: int, **_: Any
    ) -> Any:
        options = {"km": km, "kernel_name": kernel_name, "startup_timeout": start_timeout, "timeout": None}
        return _Client(nb_man, tell, log=logger, **options).execute()


papermill_engines.register(NAME, _Engine)
