"""Why do runs differ? Which settings matter, and where the change from one run to another came from.

On validation images only; each run's accuracy is judged by its own labels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.intervals import difference_interval, points
from .pairwise import ALPHA, Result, aligned, holm, identified, shown

_PERMUTATIONS, _DRAWS = 2000, 4000


# --------------------------------------------------------------------------------------------- settings


def alike(results: Mapping[str, Result]) -> dict[str, Result]:
    """Keep the largest set of runs that have predictions and share images, split and labels."""
    groups: dict[tuple, dict[str, Result]] = {}
    for name, result in results.items():
        if result.predictions is not None:
            labels = () if result.images is None else tuple(result.images.sort_values("path")["label"])
            groups.setdefault((result.digest or name, labels), {})[name] = result
    return max(groups.values(), key=len, default={})


def varying(results: Mapping[str, Result]) -> pd.DataFrame:
    """Lay out the settings that are not the same in all runs: one row a run, one column a setting."""
    frame = pd.DataFrame([result.settings for result in results.values()], index=list(results), dtype=object)
    frame = frame.where(frame.notna(), "not set")
    return frame[[name for name in frame if len(set(frame[name])) > 1]]


def describe(results: Mapping[str, Result], reference: str | None, most: int = 3) -> dict[str, str]:
    """Name runs for a figure, with what differs from the `reference`; of many settings, their number."""
    said = {}
    for name, result in results.items():
        to = result if reference is None else results[reference]
        frame = varying({"run": result, "to": to})
        told = [f"{setting} {shown(frame[setting]['run'])}" for setting in frame]
        told = told if len(told) <= most else [f"{len(told)} other settings"]
        told += ["other images or split"] if result.digest != to.digest else []
        said[name] = f"{name}: {', '.join(told)}" if told else name
    return said


def which_settings(results: Mapping[str, Result], seed: int = 0) -> pd.DataFrame:
    """Tell which settings matter for validation accuracy, among runs that share images and split (see `alike`).

    Runs are compared only where all else is equal: the effect of a setting is the mean accuracy with each of its
    values, over groups of runs that differ in nothing else. Settings that always change together count as one.

    p is that of a permutation test, 2,000 draws by `seed`: if a setting did not matter, its values could change places
    in every image. With two runs that is McNemar's test. With more it is about the largest difference between any two
    values, each in units of its own noise (Chung & Romano 2013, doi.org/10.1214/13-AOS1090): so having picked these two
    is accounted for, and many values that are nearly always right together do not make an equally good one, which is
    wrong about other images, seem to matter.

    Returns:
        Index `setting`; values (list of texts), means (list of mean accuracies), best (value), spread (largest minus
        smallest mean), runs, n (images), p, p corrected (Holm, for all settings), verdict: matters, no effect can be
        shown, cannot be separated (no two runs differ in it alone), or no validation images (that all of them
        have); the other columns are empty in the last two.
    """
    frame = varying(results)
    together: dict[tuple[int, ...], list[str]] = {}  # how a setting divides the runs -> settings that do so
    for name in frame:
        together.setdefault(tuple(pd.factorize(frame[name])[0]), []).append(str(name))
    factors = {" + ".join(names): frame[names].apply(tuple, axis=1) for names in together.values()}
    tables = [result.predictions for result in results.values() if result.predictions is not None]
    present, correct, labels = aligned(tables, "validation")
    usable = present.all(axis=0) & (labels == labels[:1]).all(axis=0)
    right = dict(zip(results, correct[:, usable], strict=True))
    rows: dict[str, dict[str, Any]] = {}
    for factor, values in factors.items():
        groups = _groups(values, [other for name, other in factors.items() if name != factor])
        rows[factor] = _effect(groups, right, seed) if groups and usable.any() else {}
    columns = ["values", "means", "best", "spread", "runs", "n", "p"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("setting")
    table["p corrected"] = holm(table["p"].to_numpy(float))
    said = np.where(table["p corrected"] < ALPHA, "matters", "no effect can be shown")
    unknown = "cannot be separated" if usable.any() else "no validation images"
    table["verdict"] = np.where(table["p"].isna(), unknown, said)
    return table.sort_values("spread", ascending=False, key=lambda spread: spread.astype(float))


def _groups(values: pd.Series, others: list[pd.Series]) -> list[dict[Any, str]]:
    """Group runs that differ in one setting alone: value -> run, every group with the same values.

    Where groups have different values, those values are taken that use the most runs.
    """
    rest: dict[Any, dict[Any, str]] = {}
    for run, value in values.items():
        rest.setdefault(tuple(other[run] for other in others), {}).setdefault(value, str(run))
    found = [
        [{value: group[value] for value in wanted} for group in rest.values() if wanted.keys() <= group.keys()]
        for wanted in rest.values()
        if len(wanted) > 1
    ]
    return max(found, key=lambda groups: sum(map(len, groups)), default=[])


def _effect(groups: list[dict[Any, str]], right: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    values = sorted(groups[0], key=lambda value: tuple((isinstance(part, str), part) for part in value))
    shares = np.mean([[right[group[value]] for value in values] for group in groups], axis=0).T  # [images, values]
    means, said = shares.mean(axis=0), [", ".join(map(shown, value)) for value in values]
    differing = shares[np.ptp(shares, axis=1) > 0]
    random, found = np.random.default_rng(seed), _largest(differing) - 1e-9
    larger = sum(_largest(random.permuted(differing, axis=1)) >= found for _ in range(_PERMUTATIONS))
    return {"values": said, "means": means.tolist(), "best": said[int(means.argmax())], "spread": float(np.ptp(means)),
            "runs": len(groups) * len(values), "n": len(shares), "p": (1 + larger) / (1 + _PERMUTATIONS)}  # fmt: skip


def _largest(shares: np.ndarray) -> float:
    """The largest difference between two values' sums, over the root of its squared differences by image.

    shares: [images, values]. Two images more, one for either value, as in `evaluation.paired_difference`: without them,
    a pair that differs in one image would be as certain as can be.
    """
    sums, products = shares.sum(axis=0), shares.T @ shares
    squares = np.add.outer(np.diag(products), np.diag(products)) - 2 * products
    return float((np.abs(np.subtract.outer(sums, sums)) / np.sqrt(squares + 2)).max())


def conclude(effects: pd.DataFrame) -> list[str]:
    """Say in sentences which settings matter. `effects`: what `which_settings` returned."""
    if effects.empty:
        return ["The runs do not differ in any setting."]
    said = [f"{name} matters: {row['best']} has the highest mean, {100 * row['spread']:.1f} points above the worst of "
            f"{', '.join(row['values'])} (n = {row['n']:,.0f}, corrected p {row['p corrected']:.2g})."
            for name, row in effects[effects["verdict"] == "matters"].iterrows()]  # fmt: skip
    for verdict in ("no effect can be shown", "cannot be separated", "no validation images"):
        names = ", ".join(effects.index[effects["verdict"] == verdict])
        said += [f"{verdict.capitalize()}: {names}."] if names else []
    return said


# --------------------------------------------------------------------------------------------- one change


def decompose(run: pd.DataFrame, against: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Divide a difference of validation accuracies into that on shared images and that from other images or labels.

    Args:
        run, against: predictions tables.

    Returns:
        {"n": images that both have under the same label, "relabelled": under different ones, "only": (n, n) of images
        that only one has, and "total" = "shared" + "other", each {"accuracy": run minus against, "interval": of 4,000
        bootstrap draws of images by `seed`}; None for their values where there is no image to tell it by}.
    """
    present, correct, labels = aligned([run, against], "validation")
    both, same, n = present.all(axis=0), labels[0] == labels[1], present.sum(axis=1)
    parts = [both & same, both & ~same, present[0] & ~present[1], present[1] & ~present[0]]
    shared, relabelled, *only = (int(part.sum()) for part in parts)
    unknown = {"accuracy": None, "interval": None}
    found = {"n": shared, "relabelled": relabelled, "only": tuple(only)}
    found |= dict.fromkeys(("total", "shared", "other"), unknown)
    if not n.all():
        return found
    hits = correct.sum(axis=1)
    total = float(hits[0] / n[0] - hits[1] / n[1])
    if not shared:
        interval = list(difference_interval(hits[0], n[0], hits[1], n[1]))
        return found | {"total": {"accuracy": total, "interval": interval}}
    # counts of images by who is right: neither, only against, only run, both; drawn part by part
    counts = np.array([np.bincount(2 * correct[0, part] + correct[1, part], minlength=4) for part in parts])
    change = float((counts[0, 2] - counts[0, 1]) / shared)
    random = np.random.default_rng(seed)
    weights = counts + np.array([[0, 1, 1, 0], *[[0, 0, 0, 0]] * 3])  # of the shared images, as in paired_difference
    draws = [random.multinomial(part.sum(), row / max(row.sum(), 1), _DRAWS)
             for part, row in zip(parts, weights, strict=True)]  # fmt: skip
    totals = sum(draws) @ (np.array([0, 0, 1, 1]) / n[0] - np.array([0, 1, 0, 1]) / n[1])
    changes = draws[0] @ np.array([0, -1, 1, 0]) / shared
    known = {"total": (total, totals), "shared": (change, changes), "other": (total - change, totals - changes)}
    return found | {
        name: {"accuracy": value, "interval": np.quantile(drawn, [0.025, 0.975]).tolist()}
        for name, (value, drawn) in known.items()
    }


def explain(run: Result, against: Result) -> list[str]:
    """Say in sentences what differs between two runs, and where the change of validation accuracy came from.

    The last sentence is what follows from the others.
    """
    said, causes = _differences(run, against)
    for result in (run, against):
        if result.predictions is None:
            return [*said, f"'{result.name}' has no predictions, so where a change came from cannot be told."]
    parts = decompose(run.predictions, against.predictions)
    if parts["total"]["accuracy"] is None:
        return [*said, "Not both have validation images, so a change of accuracy cannot be told."]
    change = f"Validation accuracy of '{run.name}' minus that of '{against.name}'"
    if not any(parts["only"]) and not parts["relabelled"]:
        return [
            *said,
            f"{change}, on the same {parts['n']:,} images: {points(parts['shared'])}.",
            _because(parts, causes),
        ]
    said.append(f"{change}: {points(parts['total'])}.")
    only = (f"{parts['only'][0]:,} images are only in '{run.name}', {parts['only'][1]:,} only in '{against.name}', "
            f"{parts['relabelled']:,} in both under different labels")  # fmt: skip
    if not parts["n"]:
        return [*said, "They share no validation image under the same label, so how much of that comes from the "
                f"classifier, and how much from the images, cannot be told: {only}."]  # fmt: skip
    said += [f"On the {parts['n']:,} validation images that both have: {points(parts['shared'])}.",
             f"From other images or labels comes the rest, {points(parts['other'])}: {only}."]  # fmt: skip
    return [*said, _because(parts, causes)]


def _because(parts: dict[str, Any], causes: list[str]) -> str:
    """Say what made the change on the images that two runs share."""
    (low, high), shared = parts["shared"]["interval"], points(parts["shared"])
    if low <= 0 <= high:
        return f"No change of the classifier can be shown: {shared} on the same images."
    if not causes:
        return f"Nothing differs that was recorded, so what made {shared} on the same images cannot be told."
    if len(causes) == 1:
        return f"Only one thing differs ({causes[0]}): {shared} on the same images is its doing."
    return (f"{len(causes)} things differ ({', '.join(causes)}), and which of them made {shared} on the same images "
            "cannot be told. Change one at a time, or let `retrainlab sweep` do it.")  # fmt: skip


def _differences(run: Result, against: Result) -> tuple[list[str], list[str]]:
    """Say what two runs were made from that is not the same: sentences, and the list of what may be a cause."""
    said, causes = _data(run, against)
    frame = varying({"run": run, "against": against})
    changed = [f"{name} {shown(frame[name]['run'])} against {shown(frame[name]['against'])}" for name in frame]
    said.append(f"Settings: {'; '.join(changed) or 'the same'}.")
    causes += [str(name) for name in frame]
    ours, theirs = (_software(r.info) for r in (run, against))
    changed = [f"{name} {ours[name]} against {theirs.get(name)}" for name in ours if ours[name] != theirs.get(name)]
    if changed:
        said.append(f"Software: {'; '.join(changed)}.")
        causes.append("software")
    return said, causes


def _software(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was trained with; where that was not recorded, what its folder was last opened with."""
    return info.get("trained_with") or {"commit": info.get("commit")} | info.get("versions", {})


def _data(run: Result, against: Result) -> tuple[list[str], list[str]]:
    same = run.digest is not None and run.digest == against.digest
    if run.images is None or against.images is None:
        if same:
            return ["Images: the same, in the same splits."], []
        return ["Images: not the same; which of them differ was not recorded."], ["images"]
    ours, theirs = (i.set_index(identified(i))[["split", "label"]] for i in (run.images, against.images))
    both = ours.merge(theirs, left_index=True, right_index=True, suffixes=("", " against"))
    moved, relabelled = (int((both[name] != both[f"{name} against"]).sum()) for name in ("split", "label"))
    only = len(ours) - len(both), len(theirs) - len(both)
    said, causes = ["Images: the same, in the same splits."], []
    if any(only) or moved:
        trained = [f"{len(i):,} ({(i['split'] == 'train').sum():,} for training)" for i in (ours, theirs)]
        said = [f"Images: {trained[0]} against {trained[1]}. {len(both):,} are in both, {only[0]:,} only in "
                f"'{run.name}', {only[1]:,} only in '{against.name}'; of those in both, {moved:,} are in another "
                "split."]  # fmt: skip
        causes.append("images")
    if relabelled:
        said.append(f"Labels: {relabelled:,} of the images in both have another label.")
        causes.append("labels")
    return said, causes
