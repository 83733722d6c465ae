"""The generalisation gap: training minus validation accuracy, of one run and over re-splits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.calibration import cross_entropies
from ..evaluation.intervals import clustered_mean, points, wilson_interval
from .resampling import CrossValidation, corrected_interval


def of_run(metrics: Mapping[str, Any], predicted: pd.DataFrame | None) -> dict[str, Any]:
    """Training and validation accuracy of a run, and the gap between them; empty without validation images.

    Args:
        metrics: of the run, as `scores.summarise` returned them; may be empty.
        predicted: its predictions table; without it, its cross-entropy gap is unknown.

    Returns:
        train, validation, gap: {"accuracy", "interval"}, 95% intervals; nats: the cross-entropy gap, validation minus
        train, as {"value", "interval"}.
    """
    if metrics.get("gap", {}).get("accuracy") is None:
        return {}
    nats = {"value": np.nan, "interval": (np.nan, np.nan)}
    if predicted is not None:
        nats = _cross_entropy_gap(predicted, metrics["labels"], metrics.get("temperature", 1.0))
    return {name: metrics[name] for name in ("train", "validation", "gap")} | {"nats": nats}


def of_resplits(result: CrossValidation, groups: np.ndarray) -> dict[str, Any]:
    """The same over re-splits, as means; the intervals of train and validation hold 95% of the re-splits."""
    members, row = result.members, {}
    for name in ("train", "validation"):
        values = members[f"{name} accuracy"]
        row[name] = {"accuracy": values.mean(), "interval": np.nanquantile(values, [0.025, 0.975])}
    losses = members["cross_entropy gap"]
    nats = {"value": losses.mean(), "interval": corrected_interval(losses, result.share_validation)}
    return row | {"gap": mean_gap(result, groups), "nats": nats}


def written(rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Write rows of `of_run` and `of_resplits` for people: texts with their intervals."""
    columns = {
        name: {
            "training accuracy": f"{row['train']['accuracy']:.1%}",
            "validation accuracy": f"{row['validation']['accuracy']:.1%}",
            "gap": points(row["gap"]),
            "cross-entropy gap (nats)": _nats(row["nats"]["value"], *row["nats"]["interval"]),
        }
        for name, row in rows.items()
    }
    return pd.DataFrame.from_dict(columns, orient="index")


def _nats(gap: float, low: float, high: float) -> str:
    if np.isnan(gap):
        return "unknown"
    return f"{gap:+.3f} " + ("(interval unknown)" if np.isnan([low, high]).any() else f"[{low:.3f}, {high:.3f}]")


def mean_gap(result: CrossValidation, groups: np.ndarray) -> dict[str, Any]:
    """Train minus validation accuracy, mean over images: {"accuracy", "interval", "train", "validation"}.

    An image's own gap is how much more often heads get it right that have learnt from it than those that have not; the
    95% interval is that of `intervals.clustered_mean`, widened for heads that share training images, by one over the
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
    ends = gap["accuracy"] + wider * (np.array(gap["interval"]) - gap["accuracy"])
    known = ~np.isnan(result.train_hits - result.hits)
    train, validation = (float(hits[known].mean()) for hits in (result.train_hits, result.hits))
    return gap | {"interval": np.clip(ends, -1, 1).tolist(), "train": train, "validation": validation}


def learnt(result: CrossValidation, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Out-of-fold accuracy minus the majority baseline, always the most common label: {"accuracy", "interval"}.

    The interval is Wilson's, as if there were one image a group.
    """
    known = ~np.isnan(result.hits)
    n = len(set(groups[known]))
    if n == 0:
        return {"accuracy": None, "interval": None}
    accuracy = float(result.hits[known].mean())
    baseline = float(pd.Series(labels[known]).value_counts(normalize=True).max())
    interval = [end - baseline for end in wilson_interval(accuracy * n, n)]
    return {"accuracy": accuracy - baseline, "interval": interval}


def _cross_entropy_gap(predicted: pd.DataFrame, labels: list[str], temperature: float) -> dict[str, Any]:
    """Validation minus train cross-entropy, and its 95% interval, of independent images (Welch).

    Before temperature scaling: that was fitted on the validation images, and re-splits have none.
    """
    from scipy.stats import ttest_ind

    sides = []
    for split in ("validation", "train"):
        rows = predicted[predicted["split"] == split]
        logits = np.stack(list(rows["logits"])) * temperature
        sides.append(cross_entropies(logits, pd.Index(labels).get_indexer(rows["label"])))
    gap = float(sides[0].mean() - sides[1].mean())
    if min(map(len, sides)) < 2:
        return {"value": gap, "interval": (np.nan, np.nan)}
    return {"value": gap, "interval": tuple(ttest_ind(*sides, equal_var=False).confidence_interval())}
