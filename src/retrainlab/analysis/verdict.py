"""The verdict: rules with written thresholds on numbers that were measured."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..evaluation.intervals import points

# The thresholds of the rules. A gap is training minus validation accuracy.
SMALL_GAP = 0.02  # nobody acts on a smaller one
LARGE_GAP = 0.05  # as long as the true one may be larger than this, nobody should call it small
LEAKING = 0.01  # share of validation images with a near-duplicate in training, from which on it matters

RULES = f"""\
The first rule that applies decides; intervals hold 95%.

1. **leaks**: at least {LEAKING:.0%} of the validation images have a near-duplicate in training, and keeping such images
   together lowers accuracy by more than chance (the interval of what they change lies above 0).
2. **underfits**: other settings raise validation accuracy by more than chance, and training accuracy by at least
   {100 * SMALL_GAP:.0f} points.
3. **overfits**: the gap is larger than {100 * SMALL_GAP:.0f} points by more than chance (its interval lies above that).
4. **fits**: the gap may be small, and is surely at most {100 * LARGE_GAP:.0f} points (its interval ends below that);
   new images are labelled better than by always answering with the most common label, by more than chance; and fewer
   than {LEAKING:.0%} of the validation images have a near-duplicate in training, or what such images change is known.
5. **too few images to tell**: everything else."""


class Verdict(NamedTuple):
    """underfits, fits, overfits, leaks, or too few images to tell; and the sentence that says it with numbers."""

    name: str
    sentence: str


def judge(numbers: Mapping[str, Any]) -> Verdict:
    """Apply `RULES` to what was measured.

    Args:
        numbers: by name; what could not be measured is missing, or has no accuracy. Differences are in shares, as
            {"accuracy": value, "interval": [low, high]}: gap, training minus validation accuracy, mean over re-splits,
            with both of them, "train" and "validation"; price, accuracy as split minus accuracy with near-duplicates
            kept together; settings, what the best settings found change in validation accuracy; learnt, accuracy on
            images that were not learnt from minus that of the most common label. Numbers: leaking, the share of
            validation images with a near-duplicate in training, 0 to 1; settings_train, what the best settings change
            in training accuracy.
    """
    gap, price, settings, learnt = (known(numbers.get(name)) for name in ("gap", "price", "settings", "learnt"))
    leaking, moved = numbers.get("leaking", 0.0), numbers.get("settings_train", 0.0)
    near = f"{leaking:.1%} of the validation images have a near-duplicate among the training images"
    unsure = "too few images to tell"
    if leaking >= LEAKING and price and price["interval"][0] > 0:
        return Verdict("leaks", f"It leaks: {near}, which makes accuracy look better by {points(price)}.")
    if gap is None:
        return Verdict(unsure, "Whether it overfits cannot be told: there is nothing to compare with.")
    if settings and settings["interval"][0] > 0 and moved >= SMALL_GAP:
        more = f"validation accuracy by {points(settings)}, and training accuracy by {100 * moved:.1f} points as well"
        why = "the layer is held back too much, or stopped too early"
        return Verdict("underfits", f"It underfits: other settings raise {more}; {why}.")
    low, high = gap["interval"]
    said = f"training minus validation accuracy is {points(gap)}"
    if "train" in gap:
        of = f"{gap['train']:.1%} of the images that they have learnt from and for {gap['validation']:.1%} of others"
        said = f"layers trained like this one are right for {of}; the gap is {points(gap)}"
    if low > SMALL_GAP:
        return Verdict("overfits", f"It overfits: {said}, surely above the {100 * SMALL_GAP:.0f} that are tolerated.")
    if learnt and learnt["interval"][0] <= 0:
        guess = "always answering with the most common label would do about as well on new images"
        return Verdict(unsure, f"That it has learnt anything cannot be shown: {said}, but {guess}.")
    if high > LARGE_GAP:
        ends = f"the true gap may be anything from {100 * low:.1f} to {100 * high:.1f} points"
        return Verdict(unsure, f"There are too few images to tell whether it overfits: {said}, so {ends}.")
    if leaking >= LEAKING and not price:
        but = f"{near}, and how much better that makes accuracy look is unknown"
        return Verdict(unsure, f"Whether it fits cannot be told: {said}, but {but}.")
    return Verdict("fits", f"It fits: {said}, so new images are labelled nearly as well as those learnt from.")


def known(difference: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Keep a difference that was measured, with its interval."""
    fine = difference and difference["accuracy"] is not None and np.isfinite([*difference["interval"]]).all()
    return difference if fine else None


def applied(numbers: Mapping[str, Any], verdict: Verdict) -> str:
    """Say what the rules were applied to, rule by rule, in Markdown; `numbers` as of `judge`."""
    gap, price, settings, learnt = (known(numbers.get(name)) for name in ("gap", "price", "settings", "learnt"))
    leaking, moved = numbers.get("leaking", 0.0), numbers.get("settings_train", 0.0)
    cost = "; what they change is unknown" if leaking else ""
    cost = f"; they change accuracy by {points(price)}" if price else cost
    said = [f"Rule 1: {leaking:.1%} of the validation images have a near-duplicate in training{cost}."]
    if settings:
        changes = f"validation accuracy by {points(settings)} and training accuracy by {100 * moved:+.1f} points"
        said.append(f"Rule 2: other settings change {changes}.")
    if gap:
        said.append(f"Rules 3 and 4: the gap is {points(gap)}.")
    if learnt:
        said.append(f"Rule 4: new images are labelled better than by the most common label by {points(learnt)}.")
    said.append(f"So the verdict is **{verdict.name}**.")
    return "\n".join(["Found here:", "", *(f"- {sentence}" for sentence in said)])
