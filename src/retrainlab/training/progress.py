"""What fine-tuning has come to, on disk after each epoch: an interruption loses at most one."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from .. import sealing
from ..errors import writing
from ..files import replacing

_COLUMNS = ["step", "split", "accuracy", "cross_entropy"]


class Progress:
    """The history, and the states of the last epoch and of the best one."""

    def __init__(self, place: Path, key: str) -> None:
        """Open what was kept under a key; what lies in `place` of another one is of another training, and goes."""
        self._folder, self.history, self.epoch, self.best = place / key[:16], pd.DataFrame(columns=_COLUMNS), -1, 0
        for other in place.glob("*") if place.is_dir() else ():
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)

    def load(self) -> list[np.ndarray] | None:
        """Go on from the last epoch: its state; None where there is none, or it is damaged."""
        try:
            history = sealing.read_frame(self._folder / "history.parquet", _COLUMNS)[_COLUMNS]
            state = self.state(int(history["step"].max()))
            self.history, self.epoch = history, int(history["step"].max())
            self.best = _best(history)
            self.state(self.best)
        except (OSError, ValueError, KeyError):
            self.history, self.epoch, self.best = pd.DataFrame(columns=_COLUMNS), -1, 0
            return None
        return state

    def add(self, epoch: int, found: pd.DataFrame, state: list[np.ndarray]) -> None:
        """Keep an epoch: what it came to, and the state after it; of earlier ones, only the best stays."""
        self.history = found if self.history.empty else pd.concat([self.history, found], ignore_index=True)
        self.epoch, self.best = epoch, _best(self.history)
        with writing(
            f"The state of fine-tuning in '{self._folder}'", "Make room, and run again: it goes on from there."
        ):
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._file(epoch)) as aside, aside.open("wb") as content:
                np.savez(content, *state, count=np.array(len(state)))  # a damaged archive may hold fewer
            with replacing(self._folder / "history.parquet") as aside:
                aside.write_bytes(sealing.frame_bytes(self.history))
        for old in self._folder.glob("*.npz"):
            if old not in (self._file(epoch), self._file(self.best)):
                old.unlink(missing_ok=True)

    def state(self, epoch: int) -> list[np.ndarray]:
        """Read the state after an epoch: the last one, or the best."""
        arrays = sealing.read_arrays(self._file(epoch))
        return [arrays[f"arr_{number}"] for number in range(int(arrays["count"]))]

    def _file(self, epoch: int) -> Path:
        return self._folder / f"epoch {epoch}.npz"


def _best(history: pd.DataFrame) -> int:
    """The epoch with the lowest validation cross-entropy; without validation images, the last."""
    held = history[history["split"] == "validation"]
    return int(held.loc[held["cross_entropy"].idxmin(), "step"] if len(held) else history["step"].max())
