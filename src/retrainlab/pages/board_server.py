"""TensorBoard's server as runs need it: `python -m retrainlab.pages.board_server REPORTS_DIR [OPTION]...`

It is TensorBoard's own, but for six things: it does without TensorFlow, whose import takes seconds and ten lines; it
says where it is in one line; runs are called as on the index page; HParams lists the settings that differ between runs;
the projector begins with colours; fonts are found behind a proxy.
"""

import io
import os
import sys
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import Any

# By default TensorBoard shows a sample of what was written, 10 images a tag for instance. These numbers are larger than
# what any run writes. 0 is documented as "all", but its fast loader takes it as "none".
_KEEP_ALL = "scalars=1000000,histograms=10000,images=10000,text=10000,pr_curves=10000"
_SECONDS = 2  # between two looks for new runs
_COLOUR = b"label"  # the column of the projector's table that colours it; one with more than 50 labels, it cannot
_FONTS = b"url(/font-roboto/"  # from the root of the host, where a proxy has something else
_BEGIN_WITH_COLOURS = b"""
;(function begin() {
  const dashboard = document.querySelector('vz-projector-dashboard');
  const projector = dashboard && dashboard.shadowRoot && dashboard.shadowRoot.querySelector('vz-projector');
  const panel = projector && projector.dataPanel;
  const columns = panel && panel.colorOptions || [];
  if (columns.some(column => column.name == '%s')) panel.selectedColorOptionName = '%s';
  else if (columns.length < 2) setTimeout(begin, 50);
})();
""".replace(b"%s", _COLOUR)  # once its table is there


def serve(reports_dir: Path, options: Sequence[str] = ()) -> int:
    """Serve the logs of all runs, also of those that are still to come, until it is interrupted.

    Args:
        reports_dir: the folder of the runs.
        options: TensorBoard's own, such as --port.

    Returns:
        The exit code.
    """
    sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # how TensorBoard is told to use its stub
    from tensorboard import program

    class Board(program.TensorBoard):
        def _make_data_ingester(self) -> Any:
            with redirect_stderr(io.StringIO()):  # three lines that say how to turn its fast loader off
                return super()._make_data_ingester()

    class Server(program.WerkzeugServer):
        def print_serving_message(self) -> None:
            print(f"TensorBoard: {self.get_url()} (Ctrl+C ends it)", flush=True)

    with tempfile.TemporaryDirectory(prefix="tensorboard") as folder:
        logs = ["--logdir", folder, "--samples_per_plugin", _KEEP_ALL, "--window_title", "Retrain Lab"]
        board = Board(_plugins(), _assets, program.with_port_scanning(Server))
        board.configure(["", *logs, *options])
        _follow(reports_dir, Path(folder))
        try:
            return board.main()
        except KeyboardInterrupt:  # before it serves: then it takes it itself
            return 0


def link(reports_dir: Path, folder: Path) -> None:
    """Make a folder hold a link to the logs of each run, by the run's name: TensorBoard calls runs by their paths."""
    there = reports_dir.resolve()
    runs = {f"{logs.parents[1].name}, being trained": logs for logs in there.glob("*/.training.*/logs")}
    runs |= {logs.parent.name: logs for logs in there.glob("*/logs")}
    for old in folder.iterdir():
        if old.name not in runs:
            old.unlink()
    for name in runs.keys() - {old.name for old in folder.iterdir()}:
        (folder / name).symlink_to(runs[name])


def _follow(reports_dir: Path, folder: Path) -> None:
    """Link the runs now, and those to come."""

    def go_on() -> None:
        while not ended.wait(_SECONDS):
            if not folder.exists():
                return
            link(reports_dir, folder)

    ended = threading.Event()
    link(reports_dir, folder)
    threading.Thread(target=go_on, daemon=True).start()


def _assets() -> io.BytesIO:
    """TensorBoard's files, with fonts that are looked for beside its page."""
    from tensorboard import assets

    with assets.get_default_assets_zip_provider()() as file:
        content = io.BytesIO(file.read())
    with zipfile.ZipFile(content, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is there already: the later one counts
        archive.writestr("index.html", archive.read("index.html").replace(_FONTS, b"url(font-roboto/"))
    content.seek(0)
    return content


def _plugins() -> list[Any]:
    """TensorBoard's plugins, two of them replaced."""
    from tensorboard import default
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
    from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin

    replaced = {HParamsPlugin: _what_differs(HParamsPlugin), ProjectorPlugin: _coloured(ProjectorPlugin)}
    return [replaced.get(plugin, plugin) for plugin in default.get_plugins()]


def _what_differs(plugin: Any) -> Any:
    """Of HParams: settings that differ between runs are listed, all where none does. Its page ticks the first five."""

    class WhatDiffers(plugin):
        def __init__(self, context: Any) -> None:
            super().__init__(context)
            whole = self._context.experiment_from_metadata

            def of_what_differs(*given: Any) -> Any:
                found = whole(*given)
                if differing := [info for info in found.hparam_infos if info.differs]:
                    del found.hparam_infos[:]
                    found.hparam_infos.extend(differing)
                return found

            self._context.experiment_from_metadata = of_what_differs

    return WhatDiffers


def _coloured(plugin: Any) -> Any:
    """Of the projector: with colours from the beginning."""
    from tensorboard.backend.http_util import Respond
    from werkzeug import wrappers

    def file(name: str, kind: str, before: bytes, after: bytes, more: bytes) -> Any:
        path = Path(sys.modules[plugin.__module__].__file__ or "").parent / "tf_projector_plugin" / name
        content = path.read_bytes().replace(before, after) + more
        return wrappers.Request.application(lambda request: Respond(request, content, kind))

    class Coloured(plugin):
        def get_plugin_apps(self) -> dict[str, Any]:
            page = file("projector_binary.html", "text/html", _FONTS, b"url(../../../font-roboto/", b"")
            script = file("projector_binary.js", "application/javascript", b"\0", b"", _BEGIN_WITH_COLOURS)
            return super().get_plugin_apps() | {"/projector_binary.html": page, "/projector_binary.js": script}

    return Coloured


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    sys.exit(serve(Path(sys.argv[1]), sys.argv[2:]))
