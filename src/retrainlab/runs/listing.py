"""All runs under a folder, with their figures."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .. import project, publishing
from ..errors import RetrainLabError
from ..evaluation.intervals import percent
from ..evaluation.scores import SPLITS
from .run_folder import Run

_OF_A_RUN = ["run", "backbone", "images", "labels", "steps", "settings", "sweep", "updated"]
_FIGURES = [f"{split}{part}" for split in SPLITS for part in ("", " low", " high", " n")]
_COLUMNS = [*_OF_A_RUN, *_FIGURES, "gap", "gap low", "gap high", "verdict", "sentence", "advice"]


def some_images(run: Run, seed: int = 0, count: int = 4) -> list[Path]:
    """Draw a few test images of a run (of any split, if it has none for testing): to try its classifier on."""
    images, folder = run.read_table("images"), run.training()["dataset"]["image_dir"]
    good = images[images["problem"].isna()]
    test = good[good["split"] == "test"]
    rows = test if len(test) else good
    return [Path(folder, path) for path in rows["path"].sample(min(count, len(rows)), random_state=seed)]


def list_runs(reports_dir: str | Path) -> pd.DataFrame:
    """List the runs that were trained, the latest first; index `run`, columns as the keys of `read_runs`."""
    return pd.DataFrame(read_runs(reports_dir)[0], columns=_COLUMNS).set_index("run")


def read_runs(reports_dir: str | Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Read what the runs that were trained say of themselves, the latest first; and why others cannot be read, by name.

    Returns:
        For each that can be read: run, backbone, images (folder), labels, steps, settings (dict), sweep (that it is a
        light run of, None for none), updated, and for each split of train, validation, test: `<split>`, `<split> low`,
        `<split> high`, `<split> n`; then gap, gap low, gap high, and the verdict of 04_overfitting with its sentence,
        and its first advice that promises more than nothing; rare: the balanced accuracy beside the accuracy, where it
        tells otherwise; threshold: from which probability on a label is answered. What is not known is None.
    """
    found, broken = [], dict[str, str]()
    for published in project.place(reports_dir).glob("*/.published"):
        with contextlib.suppress(RetrainLabError):  # nobody here may write there
            publishing.settle(published.parent)
    for file in sorted(project.place(reports_dir).glob("*/metrics.json")):
        run = Run(file.parent)
        try:
            found.append(_read(run))
        except RetrainLabError as error:
            broken[run.name] = str(error)
    latest_first = sorted(sorted(found, key=lambda row: row["run"]), key=lambda row: row["updated"] or "", reverse=True)
    return latest_first, broken


def _read(run: Run) -> dict[str, Any]:
    metrics, info = run.metrics(), run.info()
    row = {
        "run": run.name,
        "backbone": metrics["backbone"],
        "images": info.get("dataset", {}).get("image_dir"),
        "labels": len(metrics["labels"]),
        "steps": metrics["steps"],
        "settings": info.get("settings", {}),
        "sweep": None if run.model.exists() else info.get("sweep", {}).get("name"),
        "updated": info.get("updated"),
    }
    for name in (*SPLITS, "gap"):
        low, high = metrics[name]["interval"] or (None, None)
        row |= {name: metrics[name]["accuracy"], f"{name} low": low, f"{name} high": high}
    row |= {f"{split} n": metrics[split]["n"] for split in SPLITS}
    judged = metrics.get("overfitting", {})
    row |= {"verdict": judged.get("verdict"), "sentence": judged.get("sentence"), "advice": most_promising(metrics)}
    return row | {"rare": _rare(metrics), "threshold": say_threshold(metrics.get("threshold", {}))}


def most_promising(metrics: Mapping[str, Any]) -> str | None:
    """Say the first advice of 04_overfitting that promises more than nothing; None for none."""
    advice = metrics.get("overfitting", {}).get("advice", [])
    return next((one["sentence"] for one in advice if round(100 * (one["accuracy"] or 0), 1) > 0), None)


def _rare(metrics: Mapping[str, Any]) -> str | None:
    """Say the balanced accuracy where labels are rare: the accuracy lies outside its 95% interval."""
    figure = metrics.get("rare_labels", {}).get("balanced_accuracy", {})
    split = "test" if metrics["test"]["n"] else "validation"
    accuracy = metrics[split]["accuracy"]
    if figure.get("value") is None or accuracy is None or figure["interval"][0] <= accuracy <= figure["interval"][1]:
        return None
    low, high = figure["interval"]
    return (
        f"Rare labels do otherwise: each counted alike, {figure['value']:.1%} [{100 * low:.1f}, {100 * high:.1f}] of a "
        f"label's {split} images are found (balanced accuracy), where accuracy is {accuracy:.1%}."
    )


def say_threshold(chosen: Mapping[str, Any]) -> str | None:
    """Say from which probability on a label is answered, as metrics.json states it; None for none."""
    if not chosen.get("positive_label"):
        return None
    said = f"'{chosen['positive_label']}' is said from a probability of {chosen['threshold']:.1%} on"
    found, right = chosen["at_threshold"]["recall"], chosen["at_threshold"]["precision"]
    if not (found["n"] and right["n"]):
        return f"{said}."
    return f"{said}: of its test images, {percent(found)}, are found; of such answers, {percent(right)}, are right."
