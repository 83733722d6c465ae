"""How long does 04_overfitting take on as many images as Stanford Dogs, in how much memory; what does a budget save?

On generated bottlenecks of the size of Stanford Dogs with Inception v3 (20,580 x 2,048, 120 labels): the notebook
itself, run by papermill, once with a small budget and once with its default one. The images do not exist, so its
galleries are grey. About 20 minutes.
"""

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from retrainlab.backbones import registry
from retrainlab.backbones.runtimes import tensorflow
from retrainlab.bottlenecks import caching
from retrainlab.evaluation import scores
from retrainlab.pages import parameters, reports
from retrainlab.runs import run_folder
from retrainlab.training import heads, trainer

DIM, LABELS, SMALL = 2_048, 120, 3.0


def save_module(folder: Path) -> Path:
    """A feature vector module of `DIM` numbers: bottlenecks need a backbone, though none is computed here."""
    tf = tensorflow()
    module = tf.train.Checkpoint()
    module.__call__ = tf.function(
        lambda images: tf.tile(tf.reduce_mean(images, [1, 2]), [1, DIM])[:, :DIM],
        input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32)],
    )
    tf.saved_model.save(module, str(folder))
    return folder


def generate(images: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Bottlenecks as after a ReLU, and their images table."""
    random = np.random.default_rng(0)
    classes = np.sort(random.integers(0, LABELS, images))
    centres = random.normal(0, 0.15, (LABELS, DIM)).astype(np.float32)
    features = np.maximum(random.standard_normal((images, DIM), np.float32) + centres[classes], 0)
    paths = [f"breed {number:03}/{row:05}.jpg" for row, number in enumerate(classes)]
    split = random.choice(["train", "validation", "test"], images, p=[0.6, 0.15, 0.25])
    labels = [path[:9] for path in paths]
    table = pd.DataFrame({"path": paths, "label": labels, "given": labels, "split": split, "group": None,
                          "sha256": [hashlib.sha256(path.encode()).hexdigest() for path in paths],
                          "dtype": None, "low": np.nan, "high": np.nan, "problem": None})  # fmt: skip
    return features, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_580)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        root, cache_dir = Path(folder), Path(folder, "cache")
        features, table = generate(images)
        backbone = registry.resolve(str(save_module(root / "module")), cache_dir)
        caching.open_cache(backbone).add([(digest, 0) for digest in table["sha256"]], features)
        settings = heads.HeadSettings(weight_decay=0.01)
        (head,), _ = trainer.train(features, table["label"], table["split"], [settings], [])
        predicted = scores.predictions(table, head.logits(features), head.labels)
        run = run_folder.open_run(root / "reports", "large")
        run.write_table("images", table)
        run.write_table("predictions", predicted)
        run.record(settings=asdict(settings), dataset={"image_dir": str(root), "said": []},
                   backbone=backbone.record)  # fmt: skip
        run.write_metrics({"labels": head.labels, "backbone": "generated", "steps": settings.how_many_training_steps}
                          | scores.summarise(predicted, head.labels))  # fmt: skip
        del features, predicted
        minutes = {}
        known = parameters.known()
        for budget in (SMALL, known["budget_minutes"]["default"]):
            began = time.perf_counter()
            values = {"reports_dir": str(root / "reports"), "bottleneck_dir": str(cache_dir), "budget_minutes": budget}
            reports.report("large", values, only=["04"])
            minutes[budget] = (time.perf_counter() - began) / 60
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
                2**20 if sys.platform != "darwin" else 2**30
            )
            print(f"{images:,} x {DIM:,}, {LABELS} labels, budget {budget:g} minutes: {minutes[budget]:.1f} minutes, "
                  f"at most {peak:.1f} GiB; {run.metrics()['overfitting']['sentence']}", flush=True)  # fmt: skip
        small, full = minutes.values()
        print(f"ratio: the small budget is {full / small:.1f} times as fast")


if __name__ == "__main__":
    main()
