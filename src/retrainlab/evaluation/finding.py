"""What an analysis found: a question, and its answer as sentence, numbers, table and figure; or why there is none.

A Finding shows itself in a notebook and on a page. Verdict, advice, metrics.json, TensorBoard and the index are made
from its numbers, never from its words.
"""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any

import pandas as pd

from ..errors import RetrainLabError


@dataclass(frozen=True)
class Finding:
    """The answer to one question."""

    question: str  # as the beginning of a sentence: "What stopping earlier would win"
    sentence: str = ""  # what was found, with its numbers; one line a paragraph. Where it cannot be told, the reason
    told: bool = True  # whether there is an answer
    numbers: Mapping[str, Any] = field(default_factory=dict)  # by name, for metrics.json; or {"accuracy", "interval"}
    table: Any = None  # to show beside the sentence; a DataFrame, or one with a style
    draw: Callable[[], Any] | None = None  # makes the figure and returns its Axes, or an array of them; None for none
    details: Any = None  # what further analyses go on from

    def __bool__(self) -> bool:
        return self.told

    def __str__(self) -> str:
        return self.sentence if self.told else f"{self.question} cannot be told. {self.sentence}".strip()

    def plot(self) -> Any:
        """Draw the figure and return it; None where there is none."""
        if self.draw is None:
            return None
        axes = self.draw()
        return (axes.flat[0] if hasattr(axes, "flat") else axes).figure

    @cached_property
    def picture(self) -> bytes | None:
        """The figure as a PNG file, of twice as many pixels as a page gives it; None where there is none."""
        import matplotlib.pyplot as plt
        from IPython.core.pylabtools import print_figure

        if (figure := self.plot()) is None:
            return None
        plt.close(figure)  # a notebook would show once more what is left open
        return print_figure(figure, "retina")

    def _repr_html_(self) -> str:
        said = [f"<p>{html.escape(line)}</p>" for line in str(self).splitlines() if line]
        if isinstance(self.table, pd.DataFrame):
            said.append(self.table.to_html(notebook=True))
        elif self.table is not None:  # one with a style, which leaves names as they are: labels may be markup
            said.append(self.table.format_index(escape="html").format_index(escape="html", axis=1).to_html())
        return "\n".join(said)

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, Image, display

        if shown := self._repr_html_():
            display(HTML(shown))
        if self.picture is not None:
            display(Image(self.picture, retina=True))


def finding(question: str) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Decorate a function that answers a question: where it raises a RetrainLabError, the Finding says why.

    Whatever the function itself calls it, that is the question of the Finding.

    One question that these images cannot answer must not stop the others.
    """

    def decorate(function: Callable[..., Finding]) -> Callable[..., Finding]:
        @wraps(function)
        def ask(*arguments: Any, **named: Any) -> Finding:
            try:
                return replace(function(*arguments, **named), question=question)
            except RetrainLabError as error:
                return Finding(question, str(error), told=False)

        return ask

    return decorate
