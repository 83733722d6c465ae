"""The one error a person is meant to read."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class RetrainLabError(Exception):
    """What was found, what was expected and what to do, in one sentence.

    The command prints it after `Error:` and ends with code 1. A notebook shows the sentence alone: IPython calls
    `_render_traceback_` where an exception has it.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Error: {self}"]


@contextmanager
def writing(what: str, advice: str) -> Iterator[None]:
    """Say in a sentence what went wrong while files were written: "`what` cannot be written: REASON. `advice`".

    Raises:
        RetrainLabError: a full disk, a folder of somebody else's, and the like.
    """
    try:
        yield
    except _disk_errors() as error:
        # TensorFlow says which node of a graph and which file of its own it was, too, and Arrow that it wrote bytes
        said = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*|.*; |.*Detail: \[errno \d+\] ", "", said)
        raise RetrainLabError(f"{what} cannot be written: {reason}. {advice}") from error


def _disk_errors() -> tuple[type[Exception], ...]:
    """TensorFlow writes files itself and has errors of its own; if it is not imported yet, it has not."""
    tensorflow = sys.modules.get("tensorflow")
    return (OSError,) if tensorflow is None else (OSError, tensorflow.errors.OpError)
