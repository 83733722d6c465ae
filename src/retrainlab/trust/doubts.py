"""What to watch out for with a classifier, in plain words, from what was measured."""

import html
from collections.abc import Mapping
from typing import Any

from ..evaluation.intervals import points

HARDLY = 0.9  # area under ROC below which images of an unknown label are said to pass for known ones


def watch_out(numbers: Mapping[str, Any]) -> list[str]:
    """Say what is shown to go wrong, most harmful first; what could not be measured is missing.

    Args:
        numbers: of the findings of `Trust`, by name.
    """
    said = []
    if numbers.get("shortcut"):
        border = numbers["masked"]["only the border"]["over_guessing"]
        said.append(
            f"**It goes by what surrounds the object, too**: with the middle hidden it still does better than guessing "
            f"by {points(border)}. Unless the object fills the image, try it where the surroundings are others."
        )
    costs = numbers.get("costs")
    if costs and costs["interval"] and costs["interval"][1] < 0:
        said.append(
            f"**Weakest spot: {numbers['weakest']} images**. A middling case of it changes accuracy by {points(costs)}."
        )
    for name, weak in numbers.get("weak", {}).items():
        said.append(f"**It fails more often on some images**: {html.escape(name)}, {points(weak['difference'])}.")
    left = numbers.get("left_out")
    if left is not None and left == left and left < HARDLY:
        said.append(
            "**A label that it has never seen may pass for one that it knows**: such images are told from others with "
            f"an area under ROC of {left:.2f} (0.5 is guessing)."
        )
    several = numbers.get("several")
    if several and several["accuracy"] is not None and several["accuracy"] > 0.1:
        said.append(
            f"**It is often unsure**: for {several['accuracy']:.0%} of the images more than one label is likely. "
            "Have a person look at those."
        )
    return said


def markdown(said: list[str]) -> str:
    """Lay out what to watch out for."""
    if not said:
        return "Nothing that was looked into stands out. What could not be told is said below."
    return "\n".join(["Watch out for this, with this classifier:", "", *(f"1. {each}" for each in said)])
