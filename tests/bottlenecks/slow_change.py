"""What the workers of `test_cluster` import: a change that takes time."""

import os
import signal
import time
from pathlib import Path


class Slow:
    """A change that takes a while, says who makes it, and kills the worker at the image `deadly`."""

    what = "slow images"

    def __init__(self, log: Path, deadly: str = "", seconds: float = 0.05):
        self.log, self.deadly, self.seconds = log, deadly, seconds

    def variant(self, number):
        return 7

    def make(self, read, size, sha256, number):
        (self.log / str(os.getpid())).touch()
        if sha256 == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        return 255 - read(size)
