"""Do time and memory grow with the images and no faster, from a cache of bottlenecks to a verdict? Up to a million.

Bottlenecks of made-up images, 1,280 numbers and ten labels (3% wrong, one in a hundred nearly equal to another), lie in
a cache of the real format, in a temporary folder (TMPDIR): 5 GB a million, and three times that in mapped files on the
way. Each stage of each size runs in a process of its own. What counts is anonymous memory at its peak (Linux): pages of
mapped files are the page cache's, and go when others need them.

    python benchmarks/million.py 10000 30000 100000 300000 --figure reports/images/million.png
"""

import argparse
import json
import multiprocessing
import re
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retrainlab.bottlenecks.caching import Cache
from retrainlab.bottlenecks.features import Features
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.pixels.distortions import Distortion
from retrainlab.pixels.levels import OWN
from retrainlab.training.heads import HeadSettings

DIM, LABELS, PART = 1_280, [f"label {number}" for number in range(10)], 10_000
SETTINGS = HeadSettings(weight_decay=0.1)


def classes(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, len(LABELS), count)


def write(place: Path, count: int) -> None:
    """Bottlenecks as they lie: of a label, along a few directions, never below 0."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 0.12, (len(LABELS), DIM)).astype(np.float32)
    directions = random.normal(0, 0.2, (40, DIM)).astype(np.float32)
    cache, label = Cache(place, DIM), classes(count)
    for first in range(0, count, PART):
        own = label[first : first + PART]
        rows = centres[own] + random.standard_normal((len(own), 40), np.float32) @ directions
        rows += random.standard_normal((len(own), DIM), np.float32) * 0.3
        rows[1::100] = rows[:-1:100] + random.standard_normal((len(rows[1::100]), DIM), np.float32) * 0.003
        cache.add([(f"{first + number:064x}", 0) for number in range(len(own))], np.maximum(rows, 0))


def opened(place: Path, count: int) -> Features:
    """The images table as a scan leaves it, and the matrix as the cache gives it."""
    random, label = np.random.default_rng(2), classes(count)
    wrong = random.random(count) < 0.03
    label[wrong] = random.integers(0, len(LABELS), wrong.sum())
    names = np.array(LABELS, dtype=object)[label]
    table = pd.DataFrame({"path": [f"{name}/{number:07}.jpg" for number, name in enumerate(names)], "label": names})
    table = table.assign(given=names, group=None, sha256=[f"{n:064x}" for n in range(count)], dtype=None, problem=None)
    table["split"] = np.array(["train", "validation", "test"], dtype=object)[
        np.searchsorted([0.8, 0.9], random.random(count))
    ]
    cache = Cache(place, DIM)
    cache.refresh()
    backbone: Any = None  # nothing is read of images here
    return Features(backbone, cache, ImageFolder(place), *cache.features(table, OWN), Distortion(), 8, ())


def retrain(place: Path, count: int) -> dict[str, float]:
    """What 03 does with rows: seven weight decays side by side, the chosen one again, refitted, judged."""
    from retrainlab.training import study
    from retrainlab.training.classifier import Classifier

    features = opened(place, count)
    chosen = study.study(features, HeadSettings(), [0, 0.001, 0.01, 0.03, 0.1, 0.3, 1])
    head, history = chosen.train(eval_step_interval=500)
    made = Classifier.of(features, head, history, chosen.stack)
    return {"test accuracy": made.metrics["test"]["accuracy"]}


def near_duplicates(place: Path, count: int) -> dict[str, float]:
    """The first of what 04 asks, alone."""
    from retrainlab.analysis import leaks, neighbours

    features = opened(place, count)
    found = leaks.find(*neighbours.nearest(features.matrix), features.table["label"].to_numpy())
    return {
        "pairs": len(found.pairs),
        "planted": sum(-(-(min(PART, count - at) - 1) // 100) for at in range(0, count, PART)),
    }


def overfitting(place: Path, count: int) -> dict[str, float]:
    """What 04 asks of rows, one after the other."""
    from retrainlab.analysis.overfitting import Overfitting

    features, seconds = opened(place, count), {}
    asked = Overfitting(features.matrix, features.table, SETTINGS)
    for name in ("near_duplicates", "gap", "early_stopping", "other_settings", "more_images", "weakest_labels",
                 "price_of_near_duplicates", "labels_in_doubt", "out_of_fold_accuracy", "out_of_fold_confusion",
                 "out_of_fold_reliability", "memorised_images", "verdict"):  # fmt: skip
        began = time.perf_counter()
        getattr(asked, name)
        seconds[name] = time.perf_counter() - began
    return seconds | {"pairs": len(asked.duplicates.pairs), "suspects": len(asked.suspects)}


def anonymous() -> float:
    """MB of this process that no file holds."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


def measured(stage: Callable[[Path, int], Any], place: Path, count: int, said: Any) -> None:
    seen, ended, began = [anonymous()], threading.Event(), time.perf_counter()

    def watch() -> None:
        while not ended.wait(0.05):
            seen.append(anonymous())

    threading.Thread(target=watch, daemon=True).start()
    found = stage(place, count)
    ended.set()
    more = found if isinstance(found, dict) else {}
    said.put({"seconds": time.perf_counter() - began, "cpu": time.process_time(), "MB": max(seen)} | more)


STAGES = {"open": opened, "near-duplicates": near_duplicates, "03": retrain, "04": overfitting}


def draw(table: pd.DataFrame, file: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, rows in table.groupby("stage"):
        left.plot(rows["images"], rows["cpu"], "o-", label=name)
        right.plot(rows["images"], rows["MB"], "o-", label=name)
    left.set(xlabel="images", ylabel="processor seconds", xscale="log", yscale="log")
    right.set(xlabel="images", ylabel="MB of memory beyond mapped files, at the peak", xscale="log", ylim=(0, None))
    right.axhline(2000, color="grey", linestyle=":")
    left.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=int, nargs="*", default=[10_000, 30_000, 100_000, 300_000])
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--figure", type=Path)
    given, spawn, rows = parser.parse_args(), multiprocessing.get_context("spawn"), []
    for count in given.images:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for name, stage in {"write": write, **{name: STAGES[name] for name in given.stages.split(",")}}.items():
                said = spawn.Queue()
                process = spawn.Process(target=measured, args=(stage, place, count, said))
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(f"{count:,} images, {name}: ended with {process.exitcode}")
                done = {key: round(value, 3) for key, value in said.get().items()}
                print(f"{count:,} images, {name}: {json.dumps(done)}", flush=True)
                rows += [{"images": count, "stage": name} | done] * (name != "write")
    if given.figure:
        draw(pd.DataFrame(rows), given.figure)


if __name__ == "__main__":
    main()
