"""Is one run really better than another? Paired comparisons on the images that runs share.

What is best is told by validation images alone. Test images may be looked at, too, but nothing is chosen by them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from .. import project
from ..errors import RetrainLabError
from ..evaluation.calibration import cross_entropies
from ..evaluation.intervals import paired_difference, points
from ..images.distortions import Distortion
from ..runs import listing, run_folder

ALPHA = 0.05  # a difference is shown if its corrected p is below
_DEFAULTS = {"image_size": 0, "start_from": "", "distortion_variants": 8} | asdict(Distortion())


@dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes:
        name: of the run.
        metrics: metrics.json.
        info: run.json.
        predictions: path, label, split, predicted, cross_entropy (of each image, in nats, before temperature scaling,
            which has used the validation images), and sha256 where the images table tells it; None if missing.
        images: the usable rows of the images table; None if missing.
    """

    name: str
    metrics: dict[str, Any]
    info: dict[str, Any]
    predictions: pd.DataFrame | None = None
    images: pd.DataFrame | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is set and changes what is learnt: the backbone, distortions, how the head was trained.

        weight_decay begins with "chosen" where validation chose it among several: that is how the run was set up.
        """
        given = self.info.get("parameters", {}) | self.info.get("learnt_from", {})
        settings = {"tfhub_module": self.metrics.get("backbone")} | self.info.get("settings", {})
        if given and "weight_decay" not in given:  # the notebook's own candidates
            settings["weight_decay"] = "chosen"
        elif len(decays := np.atleast_1d(given.get("weight_decay", 0))) > 1:
            settings["weight_decay"] = f"chosen of {', '.join(map(shown, decays.tolist()))}"
        return {name: given.get(name, default) for name, default in _DEFAULTS.items()} | settings

    @property
    def digest(self) -> str | None:
        """Of the images with their names and splits; None if it is not known."""
        return self.info.get("dataset", {}).get("digest")

    @property
    def backbone(self) -> str:
        """The digest of the backbone; the run's name if it is not known, so that no two runs are taken to share it."""
        return self.info.get("backbone", {}).get("digest", self.name)


def load(reports_dir: str, names: Iterable[str] = (), most: int = 12, run: str = "") -> dict[str, Result]:
    """Read trained runs by name: those that are named, in that order, or the latest `most` and `run`, if it is trained.

    Raises:
        RetrainLabError: a name is not that of a trained run.
    """
    known, folder = listing.list_runs(reports_dir).index, project.place(reports_dir)
    wanted = list(dict.fromkeys(map(str, names)))
    wanted = wanted or list(dict.fromkeys([*known[:most], *known[known == run]]))
    for name in wanted:
        if name not in known:
            raise RetrainLabError(
                f"There is no trained run '{name}' under {folder}. Known: {', '.join(known) or 'none'}."
            )
    return {name: _read(run_folder.Run(folder / name)) for name in wanted}


def _read(run: run_folder.Run) -> Result:
    predictions, images = _table(run, "predictions"), _table(run, "images")
    if images is not None:
        images = images[images["problem"].isna()]
    metrics = run.metrics()
    if predictions is not None:
        losses = _losses(predictions, metrics)
        predictions = predictions[["path", "label", "split", "predicted"]].assign(cross_entropy=losses)
        if images is not None:
            predictions = predictions.merge(images[["path", "sha256"]], on="path", how="left")
    return Result(run.name, metrics, run.info(), predictions, images)


def _losses(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> np.ndarray:
    """Cross-entropy of each image before temperature scaling, as `training.choose` compares settings: float [n]."""
    if predictions.empty:
        return np.zeros(0)
    logits = np.stack(list(predictions["logits"])) * metrics.get("temperature", 1.0)
    return cross_entropies(logits, pd.Index(metrics["labels"]).get_indexer(predictions["label"]))


def _table(run: run_folder.Run, name: str) -> pd.DataFrame | None:
    try:
        return run.read_table(name)
    except RetrainLabError:  # a run without it still has its metrics
        return None


def comparable(results: Mapping[str, Result], run: str = "") -> tuple[dict[str, Result], list[str]]:
    """Keep the runs that can be compared image by image with `run`, or, if it cannot be, with the first that can be.

    They have predictions, and share validation images under the same label; at least one. If no run has validation
    images, all that have predictions are kept.

    Returns:
        (kept, sentences on those that are not).
    """
    said = [f"'{name}' has no predictions: it is listed, and left out from here on. Run 03_retrain to compare it."
            for name, result in results.items() if result.predictions is None]  # fmt: skip
    tables = {name: result.predictions for name, result in results.items() if result.predictions is not None}
    present, _, labels = aligned(tables.values(), "validation")
    held = [name for name, own in zip(tables, present, strict=True) if own.any()]
    if not held:
        return {name: results[name] for name in tables}, said
    anchor = run if run in held else held[0]
    place = list(tables).index(anchor)
    shares = (present & present[place] & (labels == labels[place])).any(axis=1)
    others = [name for name, share in zip(tables, shares, strict=True) if not share]
    if others:
        said.append(f"Left out from here on, for sharing no validation image under the same label with '{anchor}': "
                    f"{listed(others)}.")  # fmt: skip
    return {name: results[name] for name in tables if name not in others}, said


def shared(predictions: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Keep the validation rows of images that all these runs have in validation, under the same label.

    Args:
        predictions: run -> predictions table; runs without validation images are left out.
    """
    held = {run: table[table["split"] == "validation"] for run, table in predictions.items()}
    held = {run: table for run, table in held.items() if len(table)}
    names = [name + " " + table["label"] for name, table in zip(_named(held.values()), held.values(), strict=True)]
    common = set[str]().union(*names).intersection(*names)
    return {run: table[name.isin(common)] for (run, table), name in zip(held.items(), names, strict=True)}


def best(results: Mapping[str, Result]) -> tuple[str | None, str]:
    """Find the run with the lowest validation cross-entropy, as settings are chosen, on the images that all runs share.

    Returns:
        (its name, a sentence that names it, and the images if runs differ in them or their labels); where there is
        none to name, (None, a sentence that says why).
    """
    tables = {name: result.predictions for name, result in results.items() if result.predictions is not None}
    rows = shared(tables)
    if not rows:
        return None, "No run that can be compared has validation images: nothing to choose by."
    n = len(next(iter(rows.values())))
    if not n:
        return None, (f"Which of these {len(rows)} runs is best cannot be told: there is no validation image that all "
                      "of them have under the same label. Set compare to fewer of them.")  # fmt: skip
    chosen = min(rows, key=lambda name: rows[name]["cross_entropy"].mean())
    whole = all((tables[name]["split"] == "validation").sum() == n for name in rows)
    judged = "" if whole else f", judged on the {n:,} images that all {len(rows)} runs share under the same label"
    return chosen, f"Best on validation: {chosen}{judged}."


def shown(value: object) -> str:
    """Write a setting's value briefly: 0.0001, not 1e-4; of an address or path the part that names the network."""
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".") if 1e-6 <= abs(value) < 1e6 else f"{value:g}"
    if not isinstance(value, str):
        return str(value)
    return re.sub(r"(/feature[-_]vector)?(/\d+)?/?$", "", value).rpartition("/")[2] or value


def listed(names: Iterable[object], most: int = 6) -> str:
    """Write names in a sentence; of many, the first."""
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")


# --------------------------------------------------------------------------------------------- pairs of runs


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Test whether two classifiers are right equally often on the same images: the two-sided p, 0 to 1.

    McNemar's test (1947, doi.org/10.1007/BF02295996) in its exact form: of the images that only one of them gets right,
    half should be each one's, by the binomial distribution. Exact, because it never declares equal runs different in
    more than 5% of cases, however few those images are. 1 if there are none.

    Args:
        correct_a, correct_b: bool [n], aligned.
    """
    fewer, more = sorted((int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())))
    n, steps = fewer + more, np.arange(fewer)
    ways = np.concatenate([[0.0], np.cumsum(np.log((n - steps) / (steps + 1)))])  # log of n choose 0, 1, .. fewer
    return float(min(1.0, 2 * np.exp(ways - n * np.log(2)).sum()))


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values, float [m], so that in at most 5% of cases any is below 0.05 by chance; NaN are passed over.

    Holm's step-down procedure (1979, jstor.org/stable/4615733), which also holds for tests that depend on each other.
    """
    p = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = p.copy()
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def identified(images: pd.DataFrame) -> pd.Series:
    """Name images by their content, so that one which was renamed or moved is the same: text, one a row.

    Copies of a file are told apart by a number, in the order of their paths.

    Args:
        images: path and sha256.
    """
    content = images.sort_values("path")["sha256"].fillna(images["path"])
    return (content + " " + content.groupby(content).cumcount().astype(str)).loc[images.index]


def _named(tables: Iterable[pd.DataFrame]) -> list[pd.Series]:
    """Name the images of runs by content, or by path where not all tables have the column sha256: one a row each."""
    tables = list(tables)
    by_content = all("sha256" in table for table in tables)
    return [identified(table) if by_content else table["path"] for table in tables]


def aligned(predictions: Iterable[pd.DataFrame], split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Line runs up by image: by its content, or by its path where not all tables have the column sha256.

    Returns:
        (present, correct, labels): bool, bool and int (equal numbers for equal labels, -1 where not present), each
        [runs, images that are in the split in any run].
    """
    tables = [table[table["split"] == split] for table in predictions]
    image = pd.factorize(np.concatenate([np.array([], object), *_named(tables)]))[0]
    run = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    rows = pd.concat([pd.DataFrame(columns=["label", "predicted"]), *tables])
    shape = len(tables), int(image.max(initial=-1)) + 1
    present, correct, labels = np.zeros(shape, bool), np.zeros(shape, bool), np.full(shape, -1)
    present[run, image] = True
    correct[run, image] = (rows["label"] == rows["predicted"]).to_numpy(bool)
    labels[run, image] = pd.factorize(rows["label"])[0]
    return present, correct, labels


def compare(
    predictions: Mapping[str, pd.DataFrame], split: str = "validation", reference: str | None = None
) -> pd.DataFrame:
    """Compare runs in pairs, on the images that are in the split in both of them, under the same label in both.

    Args:
        predictions: run -> path, label, split, predicted, and sha256 where it is known; see `aligned`.
        split: "validation", or "test" to look and not to choose.
        reference: the run that all others are compared with; None = every pair.

    Returns:
        One row a pair: run, against, n (images), relabelled (images left out: the two runs have them under different
        labels), accuracy, accuracy against, difference (run minus against), low, high (its 95% interval), p (McNemar),
        p corrected, verdict: better, worse, no difference can be shown, share no image, or label them differently.
        Holm corrects for all pairs of runs, shown or not: who picks the best has looked at all of them.
    """
    present, correct, labels = aligned(predictions.values(), split)
    rows = []
    for (a, run), (b, against) in combinations(enumerate(predictions), 2):
        if run == reference:
            a, run, b, against = b, against, a, run
        both = present[a] & present[b]
        same = both & (labels[a] == labels[b])
        n, right = int(same.sum()), (correct[a, same], correct[b, same])
        p = mcnemar(*right) if n else np.nan
        rows.append({"run": run, "against": against, "n": n, "relabelled": int(both.sum()) - n, "p": p, "right": right})
    table = pd.DataFrame(rows, columns=["run", "against", "n", "relabelled", "p", "right"])
    table["p corrected"] = holm(table["p"].to_numpy(float))
    if reference is not None:
        table = table[table["against"] == reference].reset_index(drop=True)
    figures = [_figures(*right) for right in table["right"]]
    columns = ["accuracy", "accuracy against", "difference", "low", "high"]
    table[columns] = np.array(figures, float).reshape(-1, len(columns))
    table["verdict"] = [_verdict(row) for row in table.to_dict("records")]
    return table[["run", "against", "n", "relabelled", *columns, "p", "p corrected", "verdict"]]


def _figures(a: np.ndarray, b: np.ndarray) -> list[float]:
    if not len(a):
        return [np.nan] * 5
    change = paired_difference(a, b)
    return [a.mean(), b.mean(), change["accuracy"], *change["interval"]]


def _verdict(row: Mapping[str, Any]) -> str:
    if not row["n"]:
        return "label them differently" if row["relabelled"] else "share no image"
    if row["p corrected"] >= ALPHA:
        return "no difference can be shown"
    return "better" if row["difference"] > 0 else "worse"


def conclude(chosen: str | None, judged: str, pairs: pd.DataFrame) -> list[str]:
    """Say in sentences which run is best on validation, and of which others that can be shown.

    Args:
        chosen, judged: what `best` returned.
        pairs: what `compare` returned, with that as the reference.
    """
    said = [judged]
    if chosen is None:
        return said
    if pairs.empty:
        return [*said, "There is no other run to compare it with."]
    verdicts = {str(verdict): rows for verdict, rows in pairs.groupby("verdict")}
    for verdict, word in {"worse": "less", "better": "more"}.items():
        rows = verdicts.get(verdict, pairs[:0]).sort_values("difference", key=abs, ascending=False)
        changes = [f"'{row.run}' {points({'accuracy': row.difference, 'interval': (row.low, row.high)})}"
                   for row in rows.itertuples()]  # fmt: skip
        if changes:
            said.append(f"Right {word} often on the images that both have, beyond chance: {'; '.join(changes)}.")
    if "no difference can be shown" in verdicts:
        names = verdicts["no difference can be shown"]["run"]
        said.append(f"No difference can be shown to {listed(names)}. That is not proof that there is none.")
    names = pairs.loc[pairs["n"] == 0, "run"]
    return [*said, f"No image to compare it on with {listed(names)}."] if len(names) else said
