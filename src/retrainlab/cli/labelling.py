"""How far `retrainlab label` is, in words for people."""

import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Progress:
    """How far the work is, for people.

    Attributes:
        output: the file that is written, as it was named.
        total: images asked for.
        known: those that the file had already.
        done: those that were answered now, also by a problem.
        problems: those of them that could not be labelled.
    """

    output: Path | None
    total: int = 0
    known: int = 0
    done: int = 0
    problems: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def summary(self) -> str:
        seconds = time.perf_counter() - self.started
        failed = f", {self.problems:,} could not be labelled" * bool(self.problems)
        return f"{_images(self.done)} in {seconds:.1f} s ({self.done / seconds:.0f} images/s){failed}."

    @property
    def found(self) -> str:
        """What the file had already."""
        if self.known == self.total:
            return f"{_images(self.total)}: {self.output} has them all already."
        return f"{_images(self.known)} {'is' if self.known == 1 else 'are'} in {self.output} already."

    @property
    def interrupted(self) -> str:
        if not self.total:
            return "Interrupted before the first image."
        said = f"Interrupted: {self.known + self.done:,} of {_images(self.total)} are labelled"
        return f"{said} and in {self.output}; the same command goes on with the others." if self.output else f"{said}."


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
