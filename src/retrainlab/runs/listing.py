"""All runs under a folder, with their figures."""

from pathlib import Path
from typing import Any

import pandas as pd

from .. import project
from ..errors import RetrainLabError
from .run_folder import Run


def some_images(run: Run, seed: int = 0, count: int = 4) -> list[Path]:
    """Draw a few test images of a run (of any split, if it has none for testing): to try its classifier on."""
    images, folder = run.read_table("images"), run.info()["dataset"]["image_dir"]
    good = images[images["problem"].isna()]
    test = good[good["split"] == "test"]
    drawn = (test if len(test) else good).pipe(lambda rows: rows.sample(min(count, len(rows)), random_state=seed))
    return [Path(folder, path) for path in drawn["path"]]


def list_runs(reports_dir: str | Path) -> pd.DataFrame:
    """List the runs that were trained, the latest first.

    Returns:
        Index `run`; columns backbone, images (folder), labels, steps, settings (dict), sweep (that it is a light
        run of, None for none), updated, and for each split
        of train, validation, test: `<split>`, `<split> low`, `<split> high`, `<split> n`; then gap, gap low, gap high,
        and the verdict of 04_overfitting with its sentence and advice (list), None where that has not run.
    """
    rows = []
    for file in sorted(project.place(reports_dir).glob("*/metrics.json")):
        run = Run(file.parent)
        try:
            metrics, info = run.metrics(), run.info()
            row: dict[str, Any] = {
                "run": run.name,
                "backbone": metrics["backbone"],
                "images": info.get("dataset", {}).get("image_dir"),
                "labels": len(metrics["labels"]),
                "steps": metrics["steps"],
                "settings": info.get("settings", {}),
                "sweep": None if run.model.exists() else info.get("sweep", {}).get("name"),
                "updated": info.get("updated"),
            }
            for name in ("train", "validation", "test"):
                low, high = metrics[name]["interval"] or (None, None)
                row |= {name: metrics[name]["accuracy"], f"{name} low": low, f"{name} high": high}
                row[f"{name} n"] = metrics[name]["n"]
            low, high = metrics["gap"]["interval"] or (None, None)
            row |= {"gap": metrics["gap"]["accuracy"], "gap low": low, "gap high": high}
            judged = metrics.get("overfitting", {})
            rows.append(row | {name: judged.get(name) for name in ("verdict", "sentence", "advice")})
        except (RetrainLabError, KeyError, TypeError, OSError):
            continue  # not one of ours, or of another version; the others still count
    columns = ["run", "backbone", "images", "labels", "steps", "settings", "sweep", "updated"]
    for name in ("train", "validation", "test"):
        columns += [name, f"{name} low", f"{name} high", f"{name} n"]
    table = pd.DataFrame(rows, columns=[*columns, "gap", "gap low", "gap high", "verdict", "sentence", "advice"])
    return table.sort_values(["updated", "run"], ascending=[False, True]).set_index("run")
