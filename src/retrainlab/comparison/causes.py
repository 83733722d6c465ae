"""Which settings matter? Among runs that share images and split, on validation images only."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..runs.results import Result, shown
from .pairwise import ALPHA, holm, judged

_PERMUTATIONS = 2000


def alike(results: Mapping[str, Result]) -> dict[str, Result]:
    """Keep the largest set of runs that have predictions and share images, split and labels."""
    groups: dict[tuple, dict[str, Result]] = {}
    for name, result in results.items():
        if result.predictions is not None:
            labels = () if result.images is None else tuple(result.images.sort_values("path")["label"])
            groups.setdefault((result.digest, labels), {})[name] = result
    return max(groups.values(), key=len, default={})


def varying(results: Mapping[str, Result]) -> pd.DataFrame:
    """Lay out the settings that are not the same in all runs: one row a run, one column a setting."""
    frame = pd.DataFrame([result.settings for result in results.values()], index=list(results), dtype=object)
    frame = frame.where(frame.notna(), "not set")
    return frame[[name for name in frame if len(set(frame[name])) > 1]]


def describe(results: Mapping[str, Result], reference: str, most: int = 3) -> dict[str, str]:
    """Name runs for a figure, with what differs from the `reference`; of many settings, their number."""
    said, to = {}, results[reference]
    for name, result in results.items():
        settings = varying({"run": result, "to": to}).loc["run"]
        told = [f"{setting} {shown(value)}" for setting, value in settings.items()]
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
    frame, answers = varying(results), judged(results)
    together: dict[tuple[int, ...], list[str]] = {}  # how a setting divides the runs -> settings that do so
    for name in frame:
        together.setdefault(tuple(pd.factorize(frame[name])[0]), []).append(str(name))
    factors = {" + ".join(names): frame[names].apply(tuple, axis=1) for names in together.values()}
    whole = len(answers.runs) == len(results) and bool(answers.shared.any())
    right = dict(zip(answers.runs, answers.right[:, answers.shared], strict=True))
    rows: dict[str, dict[str, Any]] = {}
    for factor, values in factors.items():
        groups = _groups(values, [other for name, other in factors.items() if name != factor])
        rows[factor] = _effect(groups, right, seed) if groups and whole else {}
    columns = ["values", "means", "best", "spread", "runs", "n", "p"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("setting")
    table["p corrected"] = holm(table["p"].to_numpy(float))
    said = np.where(table["p corrected"] < ALPHA, "matters", "no effect can be shown")
    unknown = "cannot be separated" if whole else "no validation images"
    table["verdict"] = np.where(table["p"].isna(), unknown, said)
    return table.sort_values("spread", ascending=False, key=lambda spread: spread.astype(float))


def _groups(values: pd.Series, others: Iterable[pd.Series]) -> list[dict[Any, str]]:
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
    # scipy.stats.permutation_test draws the same in twice the time
    random, found = np.random.default_rng(seed), _largest(differing) - 1e-9
    larger = sum(_largest(random.permuted(differing, axis=1)) >= found for _ in range(_PERMUTATIONS))
    best, spread, p = said[int(means.argmax())], float(np.ptp(means)), (1 + larger) / (1 + _PERMUTATIONS)
    runs, n = len(groups) * len(values), len(shares)
    return {"values": said, "means": means.tolist(), "best": best, "spread": spread, "runs": runs, "n": n, "p": p}


def _largest(shares: np.ndarray) -> float:
    """The largest difference between two values' sums, over the root of its squared differences by image.

    shares: [images, values]. Two images more, one for either value, as in `intervals.paired_difference`: without them,
    a pair that differs in one image would be as certain as can be.
    """
    sums, products = shares.sum(axis=0), shares.T @ shares
    squares = np.add.outer(np.diag(products), np.diag(products)) - 2 * products
    return float((np.abs(np.subtract.outer(sums, sums)) / np.sqrt(squares + 2)).max())


def conclude(effects: pd.DataFrame) -> list[str]:
    """Say in sentences which settings matter. `effects`: what `which_settings` returned."""
    if effects.empty:
        return ["The runs do not differ in any setting."]
    said = [
        f"{name} matters: {row['best']} has the highest mean, {100 * row['spread']:.1f} points above the worst of "
        f"{', '.join(row['values'])} (n = {row['n']:,.0f}, corrected p {row['p corrected']:.2g})."
        for name, row in effects[effects["verdict"] == "matters"].iterrows()
    ]
    for verdict in ("no effect can be shown", "cannot be separated", "no validation images"):
        names = ", ".join(effects.index[effects["verdict"] == verdict])
        said += [f"{verdict.capitalize()}: {names}."] if names else []
    return said
