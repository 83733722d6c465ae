"""What is told of notebooks that run: on a terminal a line for each, rewritten as it goes on; else where each ends."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, RLock, Thread
from typing import TextIO

from tqdm.utils import disp_len, disp_trim

_SECONDS = 0.5  # between two looks at the clock
_LEAST = 12  # columns for what it is doing
_ABOVE, _CLEAR = "\x1b[1A", "\x1b[2K"  # what a terminal takes for: a line up; clear the line


class Watch:
    """Lines that stay, and below them, on a terminal, one for each notebook that is running."""

    def __init__(self, say: Callable[[str], None], screen: TextIO | None = None) -> None:
        """
        Args:
            say: told every line that stays.
            screen: the terminal on which they appear; None where there is none, as in a log file.
        """
        self._say, self._screen, self._lock = say, screen, RLock()
        self._running: dict[str, tuple[float, str, str]] = {}
        self._drawn, self._ended = 0, Event()

    def say(self, line: str) -> None:
        """Tell a line that stays."""
        with self._lock:
            self._wipe()
            self._say(line)
            self._draw()

    @contextmanager
    def running(self, name: str) -> Iterator[Callable[[str, str], None]]:
        """Tell how long a notebook runs, and what it is doing, which the function is told that this gives: (what, how
        far it is)."""
        began = time.monotonic()

        def tell(doing: str, how_far: str) -> None:
            self._running[name] = began, doing, how_far

        tell("Python is starting", "")
        if self._screen is None:
            self.say(f"{name}: running")
        how = "failed after "
        try:
            yield tell
            how = ""
        finally:
            del self._running[name]
            self.say(f"{name}: {how}{_said(time.monotonic() - began)}")

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Rewrite the lines of what is running, until the block ends."""
        self._ended.clear()
        clock = Thread(target=self._go_on, daemon=True)
        if self._screen is not None:
            clock.start()
        try:
            yield
        finally:
            self._ended.set()
            with self._lock:
                self._wipe()

    def _go_on(self) -> None:
        while not self._ended.wait(_SECONDS):
            with self._lock:
                if not self._ended.is_set():
                    self._wipe()
                    self._draw()

    def _wipe(self) -> None:
        if self._screen is not None:
            self._screen.write((_ABOVE + _CLEAR) * self._drawn + "\r")
            self._screen.flush()
            self._drawn = 0

    def _draw(self) -> None:
        if self._screen is None or self._ended.is_set():
            return
        wide = shutil.get_terminal_size().columns - 1  # a line that is broken would not be wiped whole
        for name, (began, doing, how_far) in list(self._running.items()):
            line, rest = f"{name}: {_said(time.monotonic() - began)}, ", f" ({how_far})" if how_far else ""
            line += disp_trim(doing, max(_LEAST, wide - len(line) - disp_len(rest))) + rest
            self._screen.write(disp_trim(line, wide) + "\n")
            self._drawn += 1
        self._screen.flush()


def _said(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
