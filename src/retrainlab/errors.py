"""The one error a person is meant to read."""


class RetrainLabError(Exception):
    """What was found, what was expected and what to do, in one sentence.

    The command prints it after `Error:` and ends with code 1. A notebook shows the sentence alone: IPython calls
    `_render_traceback_` where an exception has it.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Error: {self}"]
