"""Processes that are killed at a step of what they do to files: `python killed.py WHAT FOLDER`, once for every step.

A step is what Python tells its auditors before it is done: opening a file to write, renaming, removing, and the like.
"""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from retrainlab import asides, files, publishing

OLD = {"metrics.json": "old", "images.parquet": "old", "run.json": "old", "logs/train/events": "old", "model/a": "old",
       "model/gone": "old", "labels.csv": "a person's"}  # fmt: skip
NEW = {name: text.replace("old", "new") for name, text in OLD.items() if name != "model/gone"} | {"model/b": "new"}
_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def write(folder: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    """All files below a folder, hidden ones too, but for locks."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != ".held")
    return {str(file.relative_to(folder)): file.read_text() for file in files}


def at_step(step: int, do: Callable[[Path], object], folder: Path) -> bool:
    """Do it in a process of its own that is killed before that step; tells whether it was done by then."""
    if not (child := os.fork()):
        steps = itertools.count()

        def audit(event: str, arguments: tuple) -> None:
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (writes or event in _STEPS) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(audit)
        do(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def train(folder: Path) -> None:
    """Publish a training, as NewTraining does."""
    made, _ = asides.begin(folder / "training", folder=True)
    write(made, {name: text for name, text in NEW.items() if name != "labels.csv"})
    publishing.publish(folder, made)


def export(folder: Path) -> None:
    with files.replacing_folder(folder / "model") as aside:
        write(aside, {"a": "new", "b": "new"})


def table(folder: Path) -> None:
    with files.replacing(folder / "images.parquet") as aside:
        aside.write_text("new")


def main(what: str, root: Path) -> None:
    """Kill at every step; with "train twice", kill what completes the training then at every step, too."""
    for step in itertools.count():
        folder = root / f"{step}"
        write(folder, OLD)
        if at_step(step, {"export": export, "table": table}.get(what, train), folder):
            break
        for again in itertools.count():
            if what != "train twice" or not (folder / ".published").exists():
                break
            copied = shutil.copytree(folder, root / f"{step} and {again}")
            if at_step(again, publishing.settle, copied):
                break


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
