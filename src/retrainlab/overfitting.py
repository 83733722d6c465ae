"""The verdict on a classifier, by rules with written thresholds, and advice ranked by measured gains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .evaluation import points

# The thresholds of the rules. A gap is training minus validation accuracy.
SMALL_GAP = 0.02  # nobody acts on a smaller one
LARGE_GAP = 0.05  # as long as the true one may be larger than this, nobody should call it small
LEAKING = 0.01  # share of validation images with a near-duplicate in training, from which on it matters

RULES = f"""\
The first rule that applies decides; intervals hold 95%.

1. **leaks**: at least {LEAKING:.0%} of the validation images have a near-duplicate in training, and keeping such images
   together lowers validation accuracy by more than chance (the interval of the price lies above 0).
2. **underfits**: other settings raise validation accuracy by more than chance and raise training accuracy as well.
3. **overfits**: the gap is larger than {100 * SMALL_GAP:.0f} points by more than chance (its interval lies above that).
4. **fits**: the gap is at most {100 * LARGE_GAP:.0f} points by more than chance (its interval ends below that).
5. **too few images to tell**: everything else."""


@dataclass(frozen=True)
class Evidence:
    """What the verdict is made from; None where it could not be measured.

    Differences are in shares, as {"accuracy": value, "interval": [low, high]}.

    Attributes:
        gap: training minus validation accuracy, mean over re-splits.
        leaking: share of validation images with a near-duplicate in training, 0 to 1.
        price: accuracy as split, minus accuracy with near-duplicates kept together.
        settings: what the best settings found change in validation accuracy.
        settings_train: what they change in training accuracy, a number.
    """

    gap: Mapping[str, Any] | None
    leaking: float = 0.0
    price: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None
    settings_train: float | None = None


@dataclass(frozen=True)
class Verdict:
    """underfits, fits, overfits, leaks, or too few images to tell; and the sentences that say it with numbers."""

    name: str
    sentence: str


def judge(evidence: Evidence) -> Verdict:
    """Apply `RULES`."""
    gap, price, settings = (_known(e) for e in (evidence.gap, evidence.price, evidence.settings))
    if evidence.leaking >= LEAKING and price and price["interval"][0] > 0:
        return Verdict(
            "leaks",
            f"It leaks: {evidence.leaking:.1%} of the validation images have a near-duplicate among the training "
            f"images, which makes accuracy look better by {points(price)}.",
        )
    if gap is None:
        return Verdict(
            "too few images to tell", "Whether it overfits cannot be told: there is nothing to compare with."
        )
    said = f"training minus validation accuracy is {points(gap)}"
    low, high = gap["interval"]
    if settings and settings["interval"][0] > 0 and (evidence.settings_train or 0) > 0:
        return Verdict(
            "underfits",
            f"It underfits: other settings raise validation accuracy by {points(settings)}, and training accuracy by "
            f"{100 * (evidence.settings_train or 0):.1f} points as well; the layer is held back too much, or stopped "
            "too early.",
        )
    if low > SMALL_GAP:
        cure = "Other settings, or more images, can close it; see the advice."
        return Verdict("overfits", f"It overfits: {said}, which is more than {100 * SMALL_GAP:.0f} points. {cure}")
    if high <= LARGE_GAP:
        return Verdict("fits", f"It fits: {said}; new images will be labelled nearly as well as the training images.")
    return Verdict(
        "too few images to tell",
        f"There are too few images to tell whether it overfits: {said}, so the true gap may be anything from "
        f"{100 * low:.1f} to {100 * high:.1f} points.",
    )


def _known(difference: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return difference if difference and difference["accuracy"] is not None else None


def advise(gains: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Rank what could be done by what it gained when it was tried: sentences, the largest gain first.

    Args:
        gains: what to do -> the measured change of validation accuracy, {"accuracy", "interval"}; None or without an
            accuracy where it could not be measured: such are left out.
    """
    known = [(what, gain) for what, gain in gains.items() if gain and gain["accuracy"] is not None]
    said = []
    for what, gain in sorted(known, key=lambda item: -item[1]["accuracy"]):
        low, high = gain["interval"]
        sure = "" if low > 0 else "; it would make things worse" if high < 0 else "; not beyond chance"
        said.append(f"{what}: validation accuracy {points(gain)}{sure}.")
    return said
