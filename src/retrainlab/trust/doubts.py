"""What to watch out for with a classifier, in plain words, from what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..escaping import markdown as as_text
from ..evaluation.intervals import points
from .robustness import lost_beyond_chance

HARDLY = 0.9  # area under ROC below which images of an unknown label are said to pass for known ones
ALIKE = 0.8  # correlation of maps with those of a layer of chance from which on they are said to tell little
EARLY = 0.9  # share of answers by a threshold that are right, below which it is said
_GROUPS = 3  # of images that it fails on, that are named


def watch_out(numbers: Mapping[str, Any]) -> list[str]:
    """Say what is shown to go wrong, most harmful first; what could not be measured is missing.

    Args:
        numbers: of the findings of `Trust`, by name.
    """
    said = []
    if numbers.get("border_tells_labels"):
        border = numbers["accuracy_of_masked"]["only the border"]
        guessing = border["accuracy"] - border["over_guessing"]["accuracy"]
        said.append(
            "**It may go by the surroundings.** With the middle of every image hidden, labels can still be told in "
            f"{border['accuracy']:.0%} of cases; guessing is right in {guessing:.0%}. If your objects lie in the "
            "middle, try it before other backgrounds than those it has learnt from."
        )
    asked = numbers.get("asked_to_say")
    if asked and asked["right"]["n"] and asked["right"]["accuracy"] < EARLY:
        said.append(
            f"**It says “{as_text(asked['positive_label'])}” on little evidence.** It was asked to, from a probability "
            f"of {asked['threshold']:.1%} on, and such answers are right in {asked['right']['accuracy']:.0%} of cases."
        )
    changes = numbers.get("weakest_condition_changes")
    if changes and lost_beyond_chance(changes):
        said.append(
            f"**It suffers most from images that are “{numbers['weakest_condition']}”.** In the third of five "
            f"strengths accuracy falls by {_fall(changes)}."
        )
    said += _weak_groups(numbers.get("weak_groups", {}))
    unknown = numbers.get("unknown_label_area_under_roc")
    if unknown is not None and unknown < HARDLY:
        said.append(
            "**It may not notice what it has never learnt.** It gives every image one of its own labels. Of an image "
            f"of an unknown label and one of a known label, it finds the unknown one stranger in {unknown:.0%} of "
            "cases; guessing would in 50%."
        )
    if (alike := numbers.get("maps_correlate_with_chance") or 0) > ALIKE:
        said.append(
            "**Its maps of where it looks say little.** They are much like those of a layer that has learnt nothing: "
            f"they correlate by {alike:.2f}, where 1 is the same."
        )
    several = numbers.get("several_labels_likely")
    if several and several["accuracy"] is not None and several["accuracy"] > 0.1:
        said.append(
            f"**It is often unsure.** For {several['accuracy']:.0%} of the images, more than one label is likely. "
            "Let a person look at those."
        )
    return said


def _weak_groups(weak: Mapping[str, Mapping[str, Any]]) -> list[str]:
    said = [
        f"**It fails more often on some images.** Those of “{as_text(name)}” are right in {group['accuracy']:.0%} "
        f"of cases, others in {group['others']:.0%}: {_fall(group['difference'])} less."
        for name, group in list(weak.items())[:_GROUPS]
    ]
    if left := len(weak) - len(said):
        said[-1] += f" So it does on {left:,} more groups of images, named below."
    return said


def _fall(change: Mapping[str, Any]) -> str:
    """Say how much lower an accuracy is, from a difference below 0."""
    ends = change["interval"] and [-end for end in reversed(change["interval"])]
    return points({"accuracy": -change["accuracy"], "interval": ends}).lstrip("+")


def markdown(said: Sequence[str], untold: Sequence[str] = (), asked: int = 0) -> str:
    """Lay out what to watch out for, and those of the questions that were `asked` that could not be answered."""
    if untold and len(untold) == asked:
        return "**Nothing is known about single answers**: the images are too few, or too much alike. Below stands why."
    lines = ["Watch out for this, with this classifier:", "", *(f"1. {each}" for each in said)]
    if not said:
        lines = ["Nothing that could be looked into stands out."]
    if untold:
        names = "; ".join(name[:1].lower() + name[1:] for name in untold)
        lines += ["", f"**This is not known:** {names}. Below stands why. It may be well or not."]
    return "\n".join(lines)
