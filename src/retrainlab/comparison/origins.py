"""Where did the change from one run to another come from? On validation images only.

Each run's accuracy is judged by its own labels.
"""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .. import plots, project
from ..evaluation.finding import Finding
from ..evaluation.intervals import difference_interval, points
from ..runs.results import Result, shown
from .causes import varying
from .pairwise import align, identified

_DRAWS = 4000


def decompose(run: pd.DataFrame, against: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Divide a difference of validation accuracies into that on shared images and that from other images or labels.

    Args:
        run, against: predictions tables.

    Returns:
        {"n": images that both have under the same label, "relabelled": under different ones, "only": (n, n) of images
        that only one has, and "total" = "shared" + "other", each {"accuracy": run minus against, "interval": of 4,000
        bootstrap draws of images by `seed`}, whose values are None where there is no image to tell it by}.
    """
    answers = align({"run": run, "against": against}, "validation")
    (ours, theirs), right, same = answers.present, answers.right, answers.shared
    parts = [same, ours & theirs & ~same, ours & ~theirs, theirs & ~ours]
    shared, relabelled, *only = (int(part.sum()) for part in parts)
    found: dict[str, Any] = {"n": shared, "relabelled": relabelled, "only": tuple(only)}
    found |= {name: {"accuracy": None, "interval": None} for name in ("total", "shared", "other")}
    n, hits = answers.present.sum(axis=1), right.sum(axis=1)
    if not n.all():
        return found
    if not shared:
        interval = list(difference_interval(hits[0], n[0], hits[1], n[1]))
        return found | {"total": {"accuracy": float(hits[0] / n[0] - hits[1] / n[1]), "interval": interval}}
    # images that neither gets right, only `against`, only `run`, both
    gained, lost = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])

    def told(counts: np.ndarray) -> np.ndarray:  # [parts, .., 4] -> [total and shared and other, ..]
        total, change = counts.sum(axis=0) @ (gained / n[0] - lost / n[1]), counts[0] @ (gained - lost) / shared
        return np.array([total, change, total - change])

    # Drawing how many images of a kind there are in each part is the same as drawing images one by one, as
    # scipy.stats.bootstrap does, and costs no more for many
    counts = np.array([np.bincount(2 * right[0, part] + right[1, part], minlength=4) for part in parts])
    weights = counts + np.outer([1, 0, 0, 0], [0, 1, 1, 0])  # of the shared images, as in paired_difference
    shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    random = np.random.default_rng(seed)
    draws = [random.multinomial(part.sum(), row, _DRAWS) for part, row in zip(counts, shares, strict=True)]
    bounds = np.quantile(told(np.array(draws)), [0.025, 0.975], axis=1).T
    known = zip(("total", "shared", "other"), told(counts), bounds, strict=True)
    return found | {name: {"accuracy": float(value), "interval": ends.tolist()} for name, value, ends in known}


def explain(run: Result, against: Result) -> Finding:
    """Say what differs between two runs, and where the change of validation accuracy came from.

    The last line is what follows from the others.
    """
    question = f"Where the change from '{against.name}' to '{run.name}' came from"
    lines, causes = _differences(run, against)
    bare = [result.name for result in (run, against) if result.predictions is None]
    if bare:
        lines.append(f"'{bare[0]}' has no predictions, so where a change came from cannot be told.")
        return Finding(question, "\n".join(lines))
    parts = decompose(run.predictions, against.predictions)
    lines += _change(run.name, against.name, parts, causes)
    names = {"in all": "total", "on images that both have": "shared", "from other images": "other"}
    drawn = {name: parts[part] for name, part in names.items()}
    draw = partial(plots.differences, drawn, f"Validation accuracy of {run.name} minus that of {against.name}")
    apart = parts["n"] and (any(parts["only"]) or parts["relabelled"])
    return Finding(question, "\n".join(lines), numbers=parts, draw=draw if apart else None)


def _change(run: str, against: str, parts: dict[str, Any], causes: list[str]) -> list[str]:
    """Say in sentences what `decompose` found."""
    if parts["total"]["accuracy"] is None:
        return ["Not both have validation images, so a change of accuracy cannot be told."]
    change, shared = f"Validation accuracy of '{run}' minus that of '{against}'", points(parts["shared"])
    n, relabelled, (ours, theirs) = parts["n"], parts["relabelled"], parts["only"]
    if not (ours or theirs or relabelled):
        return [f"{change}, on the same {n:,} images: {shared}.", _because(parts, causes)]
    only = f"{ours:,} images are only in '{run}', {theirs:,} only in '{against}'"
    only += f", {relabelled:,} in both under different labels"
    total = f"{change}: {points(parts['total'])}."
    if not n:
        why = "how much of that comes from the classifier, and how much from the images, cannot be told"
        return [total, f"They share no validation image under the same label, so {why}: {only}."]
    return [
        total,
        f"On the {n:,} validation images that both have: {shared}.",
        f"From other images or labels comes the rest, {points(parts['other'])}: {only}.",
        _because(parts, causes),
    ]


def _because(parts: dict[str, Any], causes: list[str]) -> str:
    """Say what made the change on the images that two runs share."""
    (low, high), shared = parts["shared"]["interval"], points(parts["shared"])
    if low <= 0 <= high:
        return f"No change of the classifier can be shown: {shared} on the same images."
    if not causes:
        return f"Nothing differs that was recorded, so what made {shared} on the same images cannot be told."
    if len(causes) == 1:
        return f"Only one thing differs ({causes[0]}): {shared} on the same images is its doing."
    return (
        f"{len(causes)} things differ ({', '.join(causes)}), and which of them made {shared} on the same images cannot "
        f"be told. Change one at a time, or let `{project.command()} sweep` do it."
    )


def _differences(run: Result, against: Result) -> tuple[list[str], list[str]]:
    """Say what two runs were made from that is not the same: sentences, and the list of what may be a cause."""
    said, causes = _images(run, against)
    frame = varying({"run": run, "against": against})
    changed = [f"{name} {shown(frame[name]['run'])} against {shown(frame[name]['against'])}" for name in frame]
    said.append(f"Settings: {'; '.join(changed) or 'the same'}.")
    causes += map(str, frame)
    ours, theirs = _software(run), _software(against)
    changed = [f"{name} {ours[name]} against {theirs.get(name)}" for name in ours if ours[name] != theirs.get(name)]
    if changed:
        said.append(f"Software: {'; '.join(changed)}.")
        causes.append("software")
    return said, causes


def _software(run: Result) -> dict[str, Any]:
    """What a run was trained with; of a light run of a sweep, which does not record it, what opened its folder."""
    return run.info.get("trained_with") or {"commit": run.info.get("commit")} | run.info.get("versions", {})


def _images(run: Result, against: Result) -> tuple[list[str], list[str]]:
    said = ["Images: the same, in the same splits."]
    if run.images is None or against.images is None:
        if run.digest == against.digest:
            return said, []
        return ["Images: not the same; which of them differ was not recorded."], ["images"]
    ours, theirs = (table.set_index(identified(table))[["split", "label"]] for table in (run.images, against.images))
    both = ours.merge(theirs, left_index=True, right_index=True, suffixes=("", " against"))
    moved, relabelled = (int((both[name] != both[f"{name} against"]).sum()) for name in ("split", "label"))
    only, causes = (len(ours) - len(both), len(theirs) - len(both)), []
    if any(only) or moved:
        learnt = [int((table["split"] == "train").sum()) for table in (ours, theirs)]
        said = [
            f"Images: {len(ours):,} ({learnt[0]:,} for training) against {len(theirs):,} ({learnt[1]:,} for training). "
            f"{len(both):,} are in both, {only[0]:,} only in '{run.name}', {only[1]:,} only in '{against.name}'; "
            f"of those in both, {moved:,} are in another split."
        ]
        causes.append("images")
    if relabelled:
        said.append(f"Labels: {relabelled:,} of the images in both have another label.")
        causes.append("labels")
    return said, causes
