"""Is one run really better than another? Paired comparisons on the images that runs share.

What is best is told by validation images alone. Test images may be looked at, too, but nothing is chosen by them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from operator import itemgetter

import numpy as np
import pandas as pd

from ..evaluation.intervals import paired_difference, points
from ..runs.results import Result

ALPHA = 0.05  # a difference is shown if its corrected p is below


@dataclass(frozen=True)
class Answers:
    """What runs answered, lined up by image: arrays [runs, images that are in the split in any run].

    present (bool: whether a run has the image), right (bool: and gets its label), labels (int: equal numbers for equal
    ones; -1 where not present), losses (float: cross-entropy in nats; NaN where not present).
    """

    runs: list[str]
    present: np.ndarray
    right: np.ndarray
    labels: np.ndarray
    losses: np.ndarray

    @property
    def shared(self) -> np.ndarray:
        """The images that all runs have, under the same label: bool [images]."""
        return self.present.all(axis=0) & (self.labels == self.labels[:1]).all(axis=0)


def align(predictions: Mapping[str, pd.DataFrame], split: str) -> Answers:
    """Line runs up by image: by its content, or by its path where not all tables have the column sha256."""
    tables = [table[table["split"] == split] for table in predictions.values()]
    image = naming(tables)
    numbered = [table.assign(run=run, image=image(table)) for run, table in enumerate(tables)]
    rows = pd.concat([pd.DataFrame(columns=["run", "image", "label", "predicted", "cross_entropy"]), *numbered])
    place = rows["run"].to_numpy(int), pd.factorize(rows["image"])[0]
    shape = len(tables), int(place[1].max(initial=-1)) + 1
    found = Answers(list(predictions), *(np.full(shape, empty) for empty in (False, False, -1, np.nan)))
    found.present[place] = True
    found.right[place] = rows["label"] == rows["predicted"]
    found.labels[place] = pd.factorize(rows["label"])[0]
    found.losses[place] = rows["cross_entropy"]
    return found


def judged(results: Mapping[str, Result]) -> Answers:
    """Line up the validation images of the runs that have predictions of any."""
    tables = {name: result.predictions for name, result in results.items() if result.predictions is not None}
    held = {name: table for name, table in tables.items() if "validation" in set(table["split"])}
    return align(held, "validation")


def comparable(results: Mapping[str, Result], run: str = "") -> tuple[dict[str, Result], list[str]]:
    """Keep the runs that can be compared image by image with `run`, or, if it cannot be, with the first that can be.

    They have predictions, and share validation images under the same label; at least one. If no run has validation
    images, all that have predictions are kept.

    Returns:
        (kept, sentences on those that are not).
    """
    bare = [name for name, result in results.items() if result.predictions is None]
    advice = "it is listed, and left out from here on. Run 03_retrain to compare it."
    said = [f"'{name}' has no predictions: {advice}" for name in bare]
    kept, answers = {name: results[name] for name in results if name not in bare}, judged(results)
    if not answers.runs:
        return kept, said
    place = answers.runs.index(run) if run in answers.runs else 0
    share = (answers.present & answers.present[place] & (answers.labels == answers.labels[place])).any(axis=1)
    near = {name for name, shares in zip(answers.runs, share, strict=True) if shares}
    if others := [name for name in kept if name not in near]:
        why = f"for sharing no validation image under the same label with '{answers.runs[place]}'"
        said.append(f"Left out from here on, {why}: {listed(others)}.")
    return {name: kept[name] for name in kept if name in near}, said


def best(results: Mapping[str, Result]) -> tuple[str | None, str]:
    """Find the run with the lowest validation cross-entropy, as settings are chosen, on the images that all runs share.

    Returns:
        (its name, a sentence that names it, and the images if runs differ in them or their labels); where there is
        none to name, (None, a sentence that says why).
    """
    answers = judged(results)
    count, n = len(answers.runs), int(answers.shared.sum())
    if not count:
        return None, "No run that can be compared has validation images: nothing to choose by."
    if not n:
        none = "there is no validation image that all of them have under the same label. Set compare to fewer of them."
        return None, f"Which of these {count} runs is best cannot be told: {none}"
    chosen = answers.runs[int(answers.losses[:, answers.shared].mean(axis=1).argmin())]
    whole = answers.present.sum() == n * count
    on = "" if whole else f", judged on the {n:,} images that all {count} runs share under the same label"
    return chosen, f"Best on validation: {chosen}{on}."


# --------------------------------------------------------------------------------------------- pairs of runs


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Test whether two classifiers are right equally often on the same images: the two-sided p, 0 to 1.

    McNemar's test (1947, doi.org/10.1007/BF02295996) in its exact form: of the images that only one of them gets right,
    half should be each one's, by the binomial distribution. Exact, because it never declares equal runs different in
    more than 5% of cases, however few those images are. 1 if there are none.

    Args:
        correct_a, correct_b: bool [n], aligned.
    """
    from scipy.special import bdtr  # scipy.stats.binomtest takes 0.3 ms more: 5 s for the 19,900 pairs of 200 runs

    fewer, more = sorted((int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())))
    return min(1.0, 2 * float(bdtr(fewer, fewer + more, 0.5)))


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values, float [m], so that in at most 5% of cases any is below 0.05 by chance; NaN are passed over.

    Holm's step-down procedure (1979, jstor.org/stable/4615733), which also holds for tests that depend on each other.
    """
    # statsmodels' multipletests says the same, takes 1 s to import, and collects all garbage at every call, in 0.1 s
    corrected, order = p.copy(), np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def compare(
    predictions: Mapping[str, pd.DataFrame], split: str = "validation", reference: str | None = None
) -> pd.DataFrame:
    """Compare runs in pairs, on the images that are in the split in both of them, under the same label in both.

    Args:
        predictions: run -> path, label, split, predicted, and sha256 where it is known; see `align`.
        split: "validation", or "test" to look and not to choose.
        reference: the run that all others are compared with; None = every pair.

    Returns:
        One row a pair, the largest difference first: run, against, n (images), relabelled (images left out: the two
        runs have them under different labels), accuracy, accuracy against, difference (run minus against), low, high
        (its 95% interval), p (McNemar), p corrected, verdict: better, worse, no difference can be shown, share no
        image, or label them differently. Holm corrects for all pairs of runs, shown or not: who picks the best has
        looked at all of them.
    """
    answers, rows = align(predictions, split), []
    for (a, run), (b, against) in combinations(enumerate(predictions), 2):
        if run == reference:
            a, run, b, against = b, against, a, run
        both = answers.present[a] & answers.present[b]
        same = both & (answers.labels[a] == answers.labels[b])
        right, n = answers.right[[a, b]][:, same], int(same.sum())
        rows.append((run, against, n, int(both.sum()) - n, mcnemar(*right) if n else np.nan, right))
    table = pd.DataFrame(rows, columns=["run", "against", "n", "relabelled", "p", "right"])
    table["p corrected"] = holm(table["p"].to_numpy(float))
    if reference is not None:
        table = table[table["against"] == reference]
    columns = ["accuracy", "accuracy against", "difference", "low", "high"]
    table[columns] = np.array([_figures(right) for right in table["right"]], float).reshape(-1, len(columns))
    kinds = {
        "label them differently": (table["n"] == 0) & (table["relabelled"] > 0),
        "share no image": table["n"] == 0,
        "no difference can be shown": table["p corrected"] >= ALPHA,
        "better": table["difference"] > 0,
    }
    table["verdict"] = np.select(list(kinds.values()), list(kinds), "worse")
    table = table[["run", "against", "n", "relabelled", *columns, "p", "p corrected", "verdict"]]
    return table.sort_values("difference", ascending=False, ignore_index=True)


def _figures(right: np.ndarray) -> list[float]:
    """The accuracies of two runs, bool [2, n], their difference and its interval."""
    if not right.size:
        return [np.nan] * 5
    change = paired_difference(*right)
    return [*right.mean(axis=1), change["accuracy"], *change["interval"]]


def conclude(chosen: str | None, said: str, pairs: pd.DataFrame) -> list[str]:
    """Say in sentences which run is best on validation, and of which others that can be shown.

    Args:
        chosen, said: what `best` returned.
        pairs: what `compare` returned, with that as the reference.
    """
    if chosen is None:
        return [said]
    if pairs.empty:
        return [said, "There is no other run to compare it with."]
    lines = [said]
    for verdict, word in {"worse": "less", "better": "more"}.items():
        rows = pairs[pairs["verdict"] == verdict].sort_values("difference", key=abs, ascending=False)
        changes = ({"accuracy": row.difference, "interval": (row.low, row.high)} for row in rows.itertuples())
        told = "; ".join(f"'{run}' {points(change)}" for run, change in zip(rows["run"], changes, strict=True))
        lines += [f"Right {word} often on the images that both have, beyond chance: {told}."] if told else []
    if len(names := pairs.loc[pairs["verdict"] == "no difference can be shown", "run"]):
        lines.append(f"No difference can be shown to {listed(names)}. That is not proof that there is none.")
    if len(names := pairs.loc[pairs["n"] == 0, "run"]):
        lines.append(f"No image to compare it on with {listed(names)}.")
    return lines


def listed(names: Iterable[object], most: int = 6) -> str:
    """Write names in a sentence; of many, the first."""
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")


def naming(tables: Iterable[pd.DataFrame]) -> Callable[[pd.DataFrame], pd.Series]:
    """Tell how images of these tables are named alike: by content, or by path where not all have the column sha256."""
    return identified if all("sha256" in table for table in tables) else itemgetter("path")


def identified(images: pd.DataFrame) -> pd.Series:
    """Name images by their content, so that one which was renamed or moved is the same: text, one a row.

    Copies of a file are told apart by a number, in the order of their paths.

    Args:
        images: path and sha256.
    """
    content = images.sort_values("path")["sha256"].fillna(images["path"])
    return (content + " " + content.groupby(content).cumcount().astype(str)).loc[images.index]
