"""The gap, the verdict by rules with written thresholds, and advice ranked by measured gains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .evaluation import cross_entropies, points
from .resampling import CrossValidation, corrected_interval, spread

# The thresholds of the rules. A gap is training minus validation accuracy.
SMALL_GAP = 0.02  # nobody acts on a smaller one
LARGE_GAP = 0.05  # as long as the true one may be larger than this, nobody should call it small
LEAKING = 0.01  # share of validation images with a near-duplicate in training, from which on it matters

RULES = f"""\
The first rule that applies decides; intervals hold 95%.

1. **leaks**: at least {LEAKING:.0%} of the validation images have a near-duplicate in training, and keeping such images
   together lowers validation accuracy by more than chance (the interval of the price lies above 0).
2. **underfits**: other settings raise validation accuracy by more than chance, and training accuracy by at least
   {100 * SMALL_GAP:.0f} points.
3. **overfits**: the gap is larger than {100 * SMALL_GAP:.0f} points by more than chance (its interval lies above that).
4. **fits**: the gap is at most {100 * LARGE_GAP:.0f} points by more than chance (its interval ends below that).
5. **too few images to tell**: everything else."""


# --------------------------------------------------------------------------------------------- the gap


def gaps(
    metrics: Mapping[str, Any], predicted: pd.DataFrame | None, others: Mapping[str, CrossValidation | None]
) -> pd.DataFrame:
    """Lay out training and validation figures and the gap between them, of a run and of re-splits.

    Args:
        metrics: of the run, as `evaluation.summarise` returned them.
        predicted: its predictions table; None leaves out the interval of its cross-entropy gap.
        others: what to call them -> re-splits; None is left out.

    Returns:
        A row each: train, validation (accuracy), and of both `<split> low`, `<split> high`: the 95% interval for the
        run, and between which 95% lie for re-splits. Then gap (train minus validation accuracy) and cross_entropy gap
        (validation minus train, nats) with `... low` and `... high`: 95% intervals, of the mean for re-splits.
    """
    rows: dict[str, dict[str, Any]] = {}
    if metrics["gap"]["accuracy"] is not None:
        row = _row("gap", metrics["gap"]["accuracy"], metrics["gap"]["interval"])
        for split in ("train", "validation"):
            row |= _row(split, metrics[split]["accuracy"], metrics[split]["interval"])
        low, high = _cross_entropy_gap(predicted, metrics["labels"]) if predicted is not None else (np.nan, np.nan)
        loss = metrics["validation"]["cross_entropy"] - metrics["train"]["cross_entropy"]
        rows["this run"] = row | _row("cross_entropy gap", loss, (low, high))
    for name, result in others.items():
        if result is not None:
            row = {}
            for column in ("gap", "cross_entropy gap"):
                values = result.members[column]
                row |= _row(column, values.mean(), corrected_interval(values, result.share_validation))
            for split in ("train", "validation"):
                values = result.members[f"{split} accuracy"]
                row |= _row(split, values.mean(), spread(values))
            rows[f"{len(result.members)} {name}"] = row
    return pd.DataFrame.from_dict(rows, orient="index").astype(float)


def written(gaps: pd.DataFrame) -> pd.DataFrame:
    """Write what `gaps` returned for people: texts with their intervals."""
    rows = {}
    for name, row in gaps.iterrows():
        low, high = row["cross_entropy gap low"], row["cross_entropy gap high"]
        rows[name] = {
            "training accuracy": f"{row['train']:.1%}",
            "validation accuracy": f"{row['validation']:.1%}",
            "gap": points({"accuracy": row["gap"], "interval": [row["gap low"], row["gap high"]]}),
            "cross-entropy gap (nats)": f"{row['cross_entropy gap']:+.3f} [{low:.3f}, {high:.3f}]",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def mean_gap(result: CrossValidation) -> dict[str, Any]:
    """Train minus validation accuracy, mean over re-splits: {"accuracy", "interval", "train", "validation"}."""
    values = result.members["gap"]
    train, validation = (float(result.members[f"{split} accuracy"].mean()) for split in ("train", "validation"))
    interval = list(corrected_interval(values, result.share_validation))
    return {"accuracy": float(values.mean()), "interval": interval, "train": train, "validation": validation}


def _row(name: str, value: float, interval: Any) -> dict[str, float]:
    return {name: value, f"{name} low": interval[0], f"{name} high": interval[1]}


def _cross_entropy_gap(predicted: pd.DataFrame, labels: list[str]) -> tuple[float, float]:
    """95% interval of validation minus train cross-entropy, of independent images (Welch, normal)."""
    sides = []
    for split in ("validation", "train"):
        rows = predicted[predicted["split"] == split]
        sides.append(cross_entropies(np.stack(list(rows["logits"])), pd.Index(labels).get_indexer(rows["label"])))
    gap = sides[0].mean() - sides[1].mean()
    half = 1.96 * float(np.sqrt(sum(side.var() / len(side) for side in sides)))
    return float(gap - half), float(gap + half)


# --------------------------------------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class Evidence:
    """What the verdict is made from; None where it could not be measured.

    Differences are in shares, as {"accuracy": value, "interval": [low, high]}.

    Attributes:
        gap: training minus validation accuracy, mean over re-splits; with both of them, "train" and "validation".
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
    if "train" in gap:
        said = (
            f"layers trained like this one are right for {gap['train']:.1%} of the images that they have learnt from "
            f"and for {gap['validation']:.1%} of others; the gap is {points(gap)}"
        )
    low, high = gap["interval"]
    if settings and settings["interval"][0] > 0 and (evidence.settings_train or 0) >= SMALL_GAP:
        return Verdict(
            "underfits",
            f"It underfits: other settings raise validation accuracy by {points(settings)}, and training accuracy by "
            f"{100 * (evidence.settings_train or 0):.1f} points as well; the layer is held back too much, or stopped "
            "too early.",
        )
    if low > SMALL_GAP:
        return Verdict("overfits", f"It overfits: {said}, surely above the {100 * SMALL_GAP:.0f} that are tolerated.")
    if high <= LARGE_GAP:
        return Verdict("fits", f"It fits: {said}, so new images are labelled nearly as well as those learnt from.")
    return Verdict(
        "too few images to tell",
        f"There are too few images to tell whether it overfits: {said}, so the true gap may be anything from "
        f"{100 * low:.1f} to {100 * high:.1f} points.",
    )


def _known(difference: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return difference if difference and difference["accuracy"] is not None else None


def found(evidence: Evidence, verdict: Verdict) -> str:
    """Say what the rules were applied to, rule by rule, in Markdown."""
    gap, price, settings = (_known(e) for e in (evidence.gap, evidence.price, evidence.settings))
    leaking = f"{evidence.leaking:.1%} of the validation images have a near-duplicate in training"
    cost = f"; keeping them together lowers accuracy by {points(price)}" if price else ""
    moved = f"training accuracy by {100 * (evidence.settings_train or 0):+.1f} points"
    said = [
        f"Rule 1: {leaking}{cost}.",
        f"Rule 2: other settings change validation accuracy by {points(settings)} and {moved}." if settings else "",
        f"Rules 3 and 4: the gap is {points(gap)}." if gap else "",
        f"So the verdict is **{verdict.name}**.",
    ]
    return "\n".join(["Found here:", "", *(f"- {sentence}" for sentence in said if sentence)])


def markdown(verdict: Verdict, advice: Sequence[str], baseline: str = "", doubtful: int = 0) -> str:
    """Say a verdict and what would help, in Markdown, for the top of a page.

    Args:
        baseline: what guessing would give, and the weakest label.
        doubtful: labels that are in doubt; what mending them would bring is known only afterwards.
    """
    said = [f"**{verdict.sentence}** {baseline}", ""]
    if advice:
        said += [
            "What was tried, and what it changes, the largest gain first:",
            "",
            *(f"1. {sentence}" for sentence in advice),
        ]
    if doubtful:
        said += ["", f"{doubtful:,} labels are in doubt. Reviewing them is the cheapest experiment that is left."]
    return "\n".join(said)


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
        low, high = (round(100 * end, 1) for end in (low, high))  # as they are shown
        sure = "" if low > 0 else "; it would make things worse" if high < 0 else "; not beyond chance"
        said.append(f"{what}: validation accuracy {points(gain)}{sure}.")
    return said
