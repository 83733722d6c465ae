"""The gap, the verdict by rules with written thresholds, and advice ranked by measured gains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.calibration import cross_entropies
from ..evaluation.intervals import clustered_mean, points, wilson_interval
from .learning_curve import Fit
from .regularisation import EarlyStopping, SettingsPath, describe
from .resampling import CrossValidation, corrected_interval, spread

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


# --------------------------------------------------------------------------------------------- the gap


def gaps(
    metrics: Mapping[str, Any],
    predicted: pd.DataFrame | None,
    others: Mapping[str, CrossValidation | None],
    groups: np.ndarray,
) -> pd.DataFrame:
    """Lay out training and validation figures and the gap between them, of a run and of re-splits.

    Args:
        metrics: of the run, as `evaluation.summarise` returned them.
        predicted: its predictions table; None leaves out its cross-entropy gap.
        others: what to call them -> re-splits; None is left out.
        groups: [n], of the images that were split again.

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
        loss, interval = np.nan, (np.nan, np.nan)
        if predicted is not None:
            loss, interval = _cross_entropy_gap(predicted, metrics["labels"], metrics.get("temperature", 1.0))
        rows["this run"] = row | _row("cross_entropy gap", loss, interval)
    for name, result in others.items():
        if result is not None:
            gap, losses = mean_gap(result, groups), result.members["cross_entropy gap"]
            row = _row("gap", gap["accuracy"], gap["interval"] or (np.nan, np.nan))
            row |= _row("cross_entropy gap", losses.mean(), corrected_interval(losses, result.share_validation))
            for split in ("train", "validation"):
                values = result.members[f"{split} accuracy"]
                row |= _row(split, values.mean(), spread(values))
            rows[f"{len(result.members)} {name}"] = row
    return pd.DataFrame.from_dict(rows, orient="index").astype(float)


def written(gaps: pd.DataFrame) -> pd.DataFrame:
    """Write what `gaps` returned for people: texts with their intervals."""
    rows = {}
    for name, row in gaps.iterrows():
        rows[name] = {
            "training accuracy": f"{row['train']:.1%}",
            "validation accuracy": f"{row['validation']:.1%}",
            "gap": points({"accuracy": row["gap"], "interval": [row["gap low"], row["gap high"]]}),
            "cross-entropy gap (nats)": _nats(*(row[f"cross_entropy gap{end}"] for end in ("", " low", " high"))),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _nats(gap: float, low: float, high: float) -> str:
    if np.isnan(gap):
        return "unknown"
    return f"{gap:+.3f} " + ("(interval unknown)" if np.isnan([low, high]).any() else f"[{low:.3f}, {high:.3f}]")


def mean_gap(result: CrossValidation, groups: np.ndarray) -> dict[str, Any]:
    """Train minus validation accuracy, mean over images: {"accuracy", "interval", "train", "validation"}.

    An image's own gap is how much more often heads get it right that have learnt from it than those that have not; the
    95% interval is that of `evaluation.clustered_mean`, widened for heads that share training images, by one over the
    root of the share that trains. On generated data it held the true gap in 92 to 100 of 100 cases; the corrected
    variance of re-splits (Nadeau & Bengio 2003) is up to seven times as wide, since it counts the luck of the
    validation images, which cancels out here.

    Args:
        groups: [n]; images of one group count as one.
    """
    gap = clustered_mean(result.train_hits - result.hits, groups)
    if gap["accuracy"] is None:
        return gap
    wider = (1 - result.share_validation) ** -0.5
    ends = [gap["accuracy"] + wider * (end - gap["accuracy"]) for end in gap["interval"]]
    low, high = np.clip(ends, -1, 1).tolist()
    known = ~np.isnan(result.train_hits - result.hits)
    train, validation = (float(hits[known].mean()) for hits in (result.train_hits, result.hits))
    return {"accuracy": gap["accuracy"], "interval": [low, high], "train": train, "validation": validation}


def learnt(result: CrossValidation, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Out-of-fold accuracy minus that of always answering with the most common label: {"accuracy", "interval"}."""
    judged = _judged(result, groups)
    if judged["accuracy"] is None:
        return {"accuracy": None, "interval": None}
    guess = float(pd.Series(labels[~np.isnan(result.hits)]).value_counts(normalize=True).max())
    return {"accuracy": judged["accuracy"] - guess, "interval": [end - guess for end in judged["interval"]]}


def _judged(result: CrossValidation, groups: np.ndarray) -> dict[str, Any]:
    """Out-of-fold accuracy with Wilson's interval, as if there were one image a group."""
    known = ~np.isnan(result.hits)
    n = len(set(np.asarray(groups)[known]))
    if n == 0:
        return {"accuracy": None, "interval": None}
    accuracy = float(result.hits[known].mean())
    return {"accuracy": accuracy, "interval": list(wilson_interval(accuracy * n, n))}


def _row(name: str, value: float, interval: Any) -> dict[str, float]:
    return {name: value, f"{name} low": interval[0], f"{name} high": interval[1]}


def _cross_entropy_gap(
    predicted: pd.DataFrame, labels: list[str], temperature: float
) -> tuple[float, tuple[float, float]]:
    """Validation minus train cross-entropy, and its 95% interval, of independent images (Welch, normal).

    Before temperature scaling: that was fitted on the validation images, and re-splits have none.
    """
    sides = []
    for split in ("validation", "train"):
        rows = predicted[predicted["split"] == split]
        logits = np.stack(list(rows["logits"])) * temperature
        sides.append(cross_entropies(logits, pd.Index(labels).get_indexer(rows["label"])))
    gap = float(sides[0].mean() - sides[1].mean())
    if min(map(len, sides)) < 2:
        return gap, (np.nan, np.nan)
    half = 1.96 * float(np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides)))
    return gap, (gap - half, gap + half)


# --------------------------------------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class Evidence:
    """What the verdict is made from; None where it could not be measured.

    Differences are in shares, as {"accuracy": value, "interval": [low, high]}.

    Attributes:
        gap: training minus validation accuracy, mean over re-splits; with both of them, "train" and "validation".
        leaking: share of validation images with a near-duplicate in training, 0 to 1.
        price: accuracy as split, minus accuracy with near-duplicates kept together; None where they cannot be.
        settings: what the best settings found change in validation accuracy.
        settings_train: what they change in training accuracy, a number.
        learnt: accuracy on images that were not learnt from, minus that of the most common label.
    """

    gap: Mapping[str, Any] | None
    leaking: float = 0.0
    price: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None
    settings_train: float | None = None
    learnt: Mapping[str, Any] | None = None


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
    if evidence.learnt and evidence.learnt["interval"][0] <= 0:
        return Verdict(
            "too few images to tell",
            f"That it has learnt anything cannot be shown: {said}, but always answering with the most common label "
            "would do about as well on new images.",
        )
    if high <= LARGE_GAP and evidence.leaking >= LEAKING and not price:
        return Verdict(
            "too few images to tell",
            f"Whether it fits cannot be told: {said}, but {evidence.leaking:.1%} of the validation images have a "
            "near-duplicate among the training images, and how much better that makes accuracy look is unknown.",
        )
    if high <= LARGE_GAP:
        return Verdict("fits", f"It fits: {said}, so new images are labelled nearly as well as those learnt from.")
    return Verdict(
        "too few images to tell",
        f"There are too few images to tell whether it overfits: {said}, so the true gap may be anything from "
        f"{100 * low:.1f} to {100 * high:.1f} points.",
    )


def _known(difference: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    known = difference and difference["accuracy"] is not None and np.isfinite([*difference["interval"]]).all()
    return difference if known else None


def found(evidence: Evidence, verdict: Verdict) -> str:
    """Say what the rules were applied to, rule by rule, in Markdown."""
    found = (evidence.gap, evidence.price, evidence.settings, evidence.learnt)
    gap, price, settings, learnt = (_known(difference) for difference in found)
    leaking = f"{evidence.leaking:.1%} of the validation images have a near-duplicate in training"
    cost = "; what they change is unknown" if evidence.leaking else ""
    cost = f"; they change accuracy by {points(price)}" if price else cost
    moved = f"training accuracy by {100 * (evidence.settings_train or 0):+.1f} points"
    said = [
        f"Rule 1: {leaking}{cost}.",
        f"Rule 2: other settings change validation accuracy by {points(settings)} and {moved}." if settings else "",
        f"Rules 3 and 4: the gap is {points(gap)}." if gap else "",
        f"Rule 4: new images are labelled better than by the most common label by {points(learnt)}." if learnt else "",
        f"So the verdict is **{verdict.name}**.",
    ]
    return "\n".join(["Found here:", "", *(f"- {sentence}" for sentence in said if sentence)])


@dataclass(frozen=True)
class Advice:
    """What could be done, as sentences with the gain that was found for it.

    Attributes:
        to_try: what is likelier to help than not, the surest gain first (by the lower end of its interval).
        no_help: what gained nothing.
        shown: whether anything is shown to help: beyond chance.
    """

    to_try: list[str]
    no_help: list[str]
    shown: bool


def candidates(
    path: SettingsPath | None, early: EarlyStopping | None, more: Fit | None
) -> dict[str, Mapping[str, Any] | None]:
    """Name what could be done, each with its gain in validation accuracy, {"accuracy", "interval"}; for `advise`.

    What would change nothing is left out: other settings where those as they are were chosen, and stopping at the last
    step.
    """
    gains: dict[str, Mapping[str, Any] | None] = {}
    if path and not path.chosen.equals(path.current):
        gains[f"Other settings ({describe(path.chosen)})"] = path.accuracy
    if early and early.step < early.last:
        what = f"Stopping at step {early.step:,}, with the settings as they are"
        gains[what] = {"accuracy": early.accuracy[0], "interval": early.accuracy[1:]}
    if more and more.tells:
        what = "Twice the training images (extrapolated from fewer, not tried)"
        gains[what] = {"accuracy": more.gain, "interval": more.gain_interval}
    return gains


def advise(gains: Mapping[str, Mapping[str, Any] | None]) -> Advice:
    """Rank what could be done by what it gained: the surest gain first (by its lower end).

    Args:
        gains: what to do -> the change of validation accuracy, {"accuracy", "interval"}; None or without an accuracy
            where it could not be measured: such are left out.
    """
    known = [(what, found) for what, gain in gains.items() if (found := _known(gain))]
    advice = Advice([], [], any(_rounded(gain)[1] > 0 for _, gain in known))
    for what, gain in sorted(known, key=lambda item: -item[1]["interval"][0]):
        change, low, high = _rounded(gain)
        sure = "" if low > 0 else "; it would make things worse" if high < 0 else "; not beyond chance"
        (advice.to_try if change > 0 else advice.no_help).append(f"{what}: validation accuracy {points(gain)}{sure}.")
    return advice


def _rounded(gain: Mapping[str, Any]) -> list[float]:
    """Value, low and high of a difference in points, as `points` shows them."""
    return [round(100 * value, 1) for value in (gain["accuracy"], *gain["interval"])]


def markdown(verdict: Verdict, advice: Advice, baseline: str = "", doubtful: int = 0) -> str:
    """Say a verdict and what would help, in Markdown, for the top of a page.

    Args:
        baseline: what guessing would give, and the weakest label.
        doubtful: labels that are in doubt; what mending them would bring is known only afterwards.
    """
    said = [f"**{verdict.sentence}** {baseline}".strip(), ""]
    if (advice.to_try or advice.no_help) and not advice.shown:
        said += ["Nothing that was looked into is shown to help.", ""]
    if advice.to_try:
        said += [
            "To try next, the surest gain in accuracy first (by the lower end of its interval):",
            "",
            *(f"1. {sentence}" for sentence in advice.to_try),
            "",
        ]
    if advice.no_help:
        said += ["Looked into, and no help:", "", *(f"- {sentence}" for sentence in advice.no_help), ""]
    if doubtful:
        said.append(
            f"At most {doubtful:,} labels are in doubt: mistakes on images that are hard to tell count as well."
        )
    return "\n".join(said)
