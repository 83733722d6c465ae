"""What the difference between training and validation means: pure functions on tables."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from .evaluation import points

_RISE = 0.01  # nats of validation cross-entropy above its lowest, below which a rise is not worth a word


@dataclass(frozen=True)
class Finding:
    """A short name, and the sentence that says it with its numbers."""

    name: str
    sentence: str


@dataclass(frozen=True)
class TurningPoint:
    """The step with the lowest validation cross-entropy (None without validation images), and a sentence."""

    step: int | None
    sentence: str


def verdict(metrics: dict[str, Any]) -> Finding:
    """Say in one sentence whether the gap is more than chance.

    Overfits: the 95% interval of train minus validation accuracy lies above 0. Otherwise the images cannot tell, and
    the sentence says how large a gap they would still allow. `metrics`: what `evaluation.summarise` returned.
    """
    gap = metrics["gap"]
    if gap["accuracy"] is None:
        return Finding("unknown", "Whether it overfits cannot be told: there are no validation images to compare with.")
    low, high = gap["interval"]
    said = f"train minus validation accuracy is {points(gap)}"
    count = metrics["validation"]["n"]
    if low > 0:
        return Finding("overfits", f"It overfits: {said}, more than chance explains.")
    if high < 0:
        return Finding("fits", f"It does not overfit: {said}; the validation images are the easier ones.")
    return Finding(
        "fits",
        f"No overfitting can be shown, and none excluded: train minus validation accuracy is "
        f"{100 * gap['accuracy']:+.1f} points, and with {count:,} validation images the true gap could be anywhere "
        f"from {100 * low:.1f} to {100 * high:.1f}.",
    )


def turning_point(history: pd.DataFrame) -> TurningPoint:
    """Find the step with the lowest validation cross-entropy, and say what came after it."""
    mine = history[history["split"] == "validation"].sort_values("step")
    if mine.empty:
        return TurningPoint(None, "Without validation images there is no telling when to stop.")
    best, last = mine.loc[mine["cross_entropy"].idxmin()], mine.iloc[-1]
    rise = last["cross_entropy"] - best["cross_entropy"]
    step = int(best["step"])
    if step == int(last["step"]) or rise < _RISE:
        said = (
            f"Validation cross-entropy did not turn up: it was lowest at step {step:,} ({best['cross_entropy']:.3f}) "
            f"and ended within {_RISE} of that ({last['cross_entropy']:.3f})."
        )
    else:
        said = (
            f"Validation cross-entropy was lowest, {best['cross_entropy']:.3f}, at step {step:,} and rose to "
            f"{last['cross_entropy']:.3f} by step {int(last['step']):,}: fewer steps or more weight decay would serve."
        )
    return TurningPoint(step, said)
