"""The predictions table and what it comes to: accuracy by split and by label, confusion. Pure functions on tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .calibration import cross_entropies, softmax
from .intervals import accuracy, difference_interval, shares

SPLITS = ("train", "validation", "test")


def predictions(table: pd.DataFrame, logits: np.ndarray, labels: list[str]) -> pd.DataFrame:
    """Make the predictions table: path, label, split, predicted, probability, logits (float32, in label order).

    `table`: at least path, label, split; one row an image. `logits`: float32 [n, labels].
    """
    known = table[["path", "label", "split"]].reset_index(drop=True)
    predicted = np.array(labels, dtype=object)[logits.argmax(axis=1)]
    sure = softmax(logits).max(axis=1)
    return known.assign(predicted=predicted, probability=sure, logits=list(logits.astype(np.float32)))


def summarise(predicted: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """Compute what metrics.json says of the three splits and the gap, from the predictions table and nothing else.

    Every figure is plain accuracy, or mean cross-entropy in nats, over the whole split, so they can be compared.

    Returns:
        {"train": {n, accuracy, interval, cross_entropy}, "validation": ..., "test": ..., "gap": {accuracy,
        interval}}. The gap is train minus validation accuracy. A split without images has None for its figures.
    """
    figures: dict[str, Any] = {}
    right = {}
    for name in SPLITS:
        rows = predicted[predicted["split"] == name]
        right[name] = (rows["label"] == rows["predicted"]).to_numpy(bool)
        loss = float(cross_entropies(*_logits(rows, labels)).mean()) if len(rows) else None
        figures[name] = accuracy(right[name]) | {"cross_entropy": loss}
    mine, held = right["train"], right["validation"]
    figures["gap"] = {"accuracy": None, "interval": None}
    if len(mine) and len(held):
        ends = difference_interval(mine.sum(), len(mine), held.sum(), len(held))
        figures["gap"] = {"accuracy": float(mine.mean() - held.mean()), "interval": list(ends)}
    return figures


def _logits(predicted: pd.DataFrame, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Stack the logits of predictions, [n, labels], and find the class of each image's own label, int [n]."""
    return np.stack(list(predicted["logits"])), pd.Index(labels).get_indexer(predicted["label"])


def accuracy_table(figures: Mapping[str, Any]) -> pd.DataFrame:
    """Lay out what `summarise` returned: one row a split, columns n, accuracy, low, high, cross_entropy."""
    table = pd.DataFrame([figures[name] for name in SPLITS], pd.Index(SPLITS, name="split"))
    table[["low", "high"]] = [interval or (np.nan, np.nan) for interval in table["interval"]]
    return table[["n", "accuracy", "low", "high", "cross_entropy"]].astype(float).astype({"n": int})


def correct(logits: np.ndarray, label: pd.Series, labels: list[str]) -> np.ndarray:
    """Say of each image whether its own label has the largest logit: bool [n]."""
    return np.array(labels, dtype=object)[logits.argmax(axis=1)] == label.to_numpy()


def per_label(predicted: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Accuracy of each label (its recall) with its 95% interval: columns n, accuracy, low, high; label order."""
    right = (predicted["label"] == predicted["predicted"]).groupby(predicted["label"])
    return shares(right.sum().reindex(labels, fill_value=0), right.size().reindex(labels, fill_value=0))


def both_ways(predicted: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Tell how each label is got wrong: when it is not said of its own images, and when it is said of others.

    Returns:
        By label, the one that is found least first: n (its images), found (recall), low, high; said (how often it is),
        right when said (precision; NaN where never), F1 (their harmonic mean), taken for (what its images are mostly
        taken for instead; "" for none).
    """
    counts = confusion(predicted, labels)
    right = pd.Series(np.diag(counts), labels)
    table = per_label(predicted, labels).rename(columns={"accuracy": "found"})
    table["said"] = counts.sum(axis=0)
    table["right when said"] = right / table["said"].replace(0, np.nan)
    table["F1"] = 2 * right / (table["n"] + table["said"]).replace(0, np.nan)
    wrong = counts.mask(np.eye(len(counts), dtype=bool), 0)
    table["taken for"] = wrong.idxmax(axis=1).where(wrong.max(axis=1) > 0, "")
    return table[table["n"] + table["said"] > 0].sort_values("found", kind="stable")


def baseline(predicted: pd.DataFrame, labels: list[str]) -> str:
    """Say in two sentences what accuracy hides: what guessing would give, and which label is got wrong most often."""
    counts = predicted["label"].value_counts()
    table = per_label(predicted, labels)
    weakest = table["accuracy"].idxmin()
    n, accuracy, low, high = table.loc[weakest]
    said = (
        f"Always answering '{counts.index[0]}' would be right for {counts.iloc[0] / counts.sum():.1%} of these images."
    )
    if accuracy == 1:
        return f"{said} No label is got wrong."
    right = f"{round(n * accuracy)} of {int(n)} right, {accuracy:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{said} Weakest label: '{weakest}', {right}."


def confusion(predicted: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Count images by label (rows) and predicted label (columns), both in label order."""
    counts = pd.crosstab(predicted["label"], predicted["predicted"])
    return counts.reindex(index=labels, columns=labels, fill_value=0)


def top_k_accuracy(predicted: pd.DataFrame, labels: list[str], k: int = 5) -> float:
    """Share of images whose own label is among the k most probable ones; NaN without images."""
    if predicted.empty:
        return float("nan")
    # not scikit-learn's top_k_accuracy_score: it refuses the logits of two labels
    logits, classes = _logits(predicted, labels)
    own = logits[np.arange(len(classes)), classes][:, None]
    return float(((logits > own).sum(axis=1) < k).mean())


def memorised(train_hits: np.ndarray, hits: np.ndarray, labels: Sequence[str] | np.ndarray) -> pd.DataFrame:
    """Count, label by label, the images that are right in training and wrong out of fold: remembered, not understood.

    An image counts if heads that trained on it mostly get it right, and heads that did not mostly get it wrong (after
    Feldman & Zhang 2020, arxiv.org/abs/2008.03703).

    Args:
        train_hits: float [n], the share of re-splits with the image in training that got it right; NaN for none.
        hits: float [n], the same of those with the image out of training.

    Returns:
        One row a label: n (images known both ways), memorised (their share), low, high (its 95% interval); worst first,
        by `low`, so that a label of one image does not lead. Labels without such images have NaN and come last.
    """
    known = ~(np.isnan(train_hits) | np.isnan(hits))
    table = pd.DataFrame({"label": labels, "known": known, "both": known & (train_hits > 0.5) & (hits < 0.5)})
    counts = table.groupby("label")[["known", "both"]].sum().astype(int)
    found = shares(counts["both"], counts["known"]).rename(columns={"accuracy": "memorised"})
    return found.sort_values(["low", "memorised"], ascending=False, kind="stable", na_position="last")
