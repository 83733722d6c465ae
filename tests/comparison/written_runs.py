"""Runs to compare: predictions tables by hand, and run folders as 03_retrain leaves them."""

from pathlib import Path

import numpy as np
import pandas as pd

from retrainlab.evaluation import scores
from retrainlab.runs import run_folder

LABELS = ["cat", "dog"]


def table(right: str | np.ndarray, split: str = "validation", prefix: str = "", label: str = "cat") -> pd.DataFrame:
    """Predictions of images named 00, 01, ..: right where there is a 1 (or True), not there where there is a space."""
    rows = [(f"{prefix}{n:02}", label, split, label if hit in ("1", True) else "other")
            for n, hit in enumerate(right) if hit != " "]  # fmt: skip
    return pd.DataFrame(rows, columns=["path", "label", "split", "predicted"])


def hits(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def write_run(
    folder: Path,
    name: str,
    seed: int = 0,
    accuracy: float = 0.8,
    n: int = 60,
    learnt_from: dict | None = None,
    settings: dict | None = None,
    splits: tuple[str, ...] = ("train", "validation", "test"),
    prefix: str = "",
    backbone: str = "small",
    milliseconds: float | None = None,
    first: int = 0,
    temperature: float = 1.0,
) -> run_folder.Run:
    """A run's folder, as 03_retrain leaves it: `n` images in each of `splits`, `accuracy` of them right by `seed`.

    Images are numbered from `first`; logits are 2 and 0 before they are divided by `temperature`.
    """
    rows = [(f"{prefix}{split} {first + i:03}", LABELS[i % 2], split) for split in splits for i in range(n)]
    images = pd.DataFrame(rows, columns=["path", "label", "split"])
    images["sha256"] = [f"content of {path}" for path in images["path"]]
    images["problem"] = None
    classes = np.arange(len(images)) % n % 2
    wrong = np.random.default_rng(seed).random(len(images)) >= accuracy
    logits = np.where(np.arange(2) == (classes ^ wrong)[:, None], 2.0, 0.0).astype(np.float32)
    logits /= np.float32(temperature)
    predicted = scores.predictions(images, logits, LABELS)
    run = run_folder.open_run(folder, name)
    run.write_table("images", images)
    run.write_table("predictions", predicted)
    measured = {"milliseconds": milliseconds} if milliseconds else {}
    run.record(
        learnt_from={"weight_decay": [0.1]} | (learnt_from or {}),
        settings={"seed": 0, "weight_decay": 0.1} | (settings or {}),
        dataset={"image_dir": f"/photos/{prefix}", "digest": f"digest {prefix} {splits} {n}"},
        backbone={"handle": backbone, "digest": backbone} | measured,
    )
    run.write_metrics({"labels": LABELS, "backbone": backbone, "steps": 5, "temperature": temperature}
                      | scores.summarise(predicted, LABELS))  # fmt: skip
    return run
