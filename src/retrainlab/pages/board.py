"""TensorBoard on the reports: as a command, as a tile in JupyterLab's launcher, and inside a notebook."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import project
from . import board_server

_ICON = Path(__file__).parent / "templates" / "tensorboard.svg"
_PROXY_PATH = "tensorboard"  # under which the entry point of that name in pyproject.toml appears in JupyterLab


def command(reports_dir: str | Path = "reports", *options: str) -> list[str]:
    """Return the command line that serves the logs of all runs, also of those that are still to come."""
    return [sys.executable, "-m", "retrainlab.pages.board_server", str(project.place(reports_dir)), *options]


def serve(reports_dir: str | Path, options: Sequence[str] = ()) -> int:
    """Do what `command` does, in this process; see `board_server.serve`."""
    return board_server.serve(project.place(reports_dir), options)


def note(reports_dir: str | Path = "reports") -> str:
    """Say that a folder holds no logs, since TensorBoard takes any without a word and shows it empty; else ""."""
    folder = project.place(reports_dir)
    if next(folder.glob("*/logs"), None):
        return ""
    found = "holds no runs" if folder.is_dir() else "is not there"
    return f"'{folder}' {found} yet; TensorBoard shows them as they come."


def jupyter_server() -> dict[str, Any]:
    """Tell jupyter-server-proxy how to start TensorBoard: behind JupyterHub too, where `%tensorboard` fails."""
    return {
        "command": command("reports", "--port", "{port}", "--host", "127.0.0.1"),
        "timeout": 60,
        "launcher_entry": {"title": "TensorBoard", "enabled": True, "icon_path": str(_ICON)},
    }


def show(wanted: bool = True, height: int = 800) -> Any:
    """Show TensorBoard inside a notebook that runs in JupyterLab, through the proxy; nothing where it is not wanted."""
    if not wanted:
        return None
    from IPython.display import IFrame

    base = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or _running_base_url()
    return IFrame(f"{base.rstrip('/')}/{_PROXY_PATH}/", "100%", height)


def _running_base_url() -> str:
    """Find the address under which the JupyterLab that this notebook runs in serves its pages."""
    from jupyter_server.serverapp import list_running_servers

    mine = {os.getppid(), os.getpid()}  # a kernel is started by its server
    found = [server["base_url"] for server in list_running_servers() if server["pid"] in mine]
    return found[0] if found else "/"
