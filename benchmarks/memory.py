"""How much memory do 20,000 images take, from scan to trained layer, and how does it grow with their number?

On generated photos (64 x 48 pixels, ten labels) and a small backbone of as many numbers a bottleneck as Inception v3
(2,048): each stage runs in a process of its own, which tells its peak. A few minutes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DIM, LABELS, SMALL = 2_048, 10, 2_000


def generate(place: Path, images: int) -> None:
    """Seeded noise around the colour of a label."""
    random = np.random.default_rng(0)
    colours = random.integers(40, 216, (LABELS, 3))
    for label in range(LABELS):
        (place / "photos" / f"label {label}").mkdir(parents=True)
    for number in range(images):
        label = number % LABELS
        pixels = np.clip(random.normal(colours[label], 30, (48, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / "photos" / f"label {label}" / f"{number:05}.jpg")


def convert(place: Path) -> None:
    """Save the backbone and convert it, so that no later stage needs TensorFlow for it."""
    from retrainlab.backbones import registry
    from retrainlab.backbones.runtimes import tensorflow

    tf = tensorflow()
    module = tf.train.Checkpoint()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(0, 0.3, (8, 8, 3, DIM)).astype(np.float32))
    spec = [tf.TensorSpec([None, 32, 32, 3], tf.float32)]
    module.__call__ = tf.function(
        lambda images: tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images - 0.5, module.kernel, 8, "SAME")), [1, 2]), spec
    )
    tf.saved_model.save(module, str(place / "module"))
    registry.resolve(str(place / "module"), place / "cache")


def opened(place: Path) -> Any:
    from retrainlab.lab import Lab

    return Lab.open("memory", str(place / "photos"), 10, 10, reports_dir=place / "reports")


def features(place: Path) -> Any:
    from retrainlab.backbones.backbone import BackboneSettings

    return opened(place).features(BackboneSettings(str(place / "module")), place / "cache")


def scan(place: Path) -> None:
    opened(place).begin()


def train(place: Path) -> None:
    """As 03 does, with its seven weight decays side by side; the number of steps does not change the peak."""
    from retrainlab.training.heads import HeadSettings
    from retrainlab.training.study import study

    study(features(place), HeadSettings(how_many_training_steps=200), [0, 0.001, 0.01, 0.03, 0.1, 0.3, 1]).train()


STAGES = {"import": lambda place: __import__("retrainlab.lab"), "scan and split": scan, "extract": features,
          "load from cache": features, "train": train}  # fmt: skip


def run(stage: str, place: Path, images: int) -> dict[str, float]:
    """Run a stage in a process of its own: {"peak": MiB, "seconds": ...}."""
    command = [sys.executable, __file__, "--stage", stage, "--place", str(place), "--images", str(images)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])


def stage(name: str, place: Path, images: int) -> None:
    began = time.perf_counter()
    if name == "prepare":
        generate(place, images)
        convert(place)
    else:
        STAGES[name](place)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"peak": peak, "seconds": time.perf_counter() - began}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--stage")
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    if given.stage:
        stage(given.stage, given.place, given.images)
        return
    peaks: dict[str, dict[int, float]] = {name: {} for name in STAGES}
    for images in (SMALL, given.images):
        with tempfile.TemporaryDirectory() as folder:
            run("prepare", Path(folder), images)
            for name in STAGES:
                done = run(name, Path(folder), images)
                peaks[name][images] = done["peak"]
                said = f"at most {done['peak']:,.0f} MiB, {done['seconds']:.0f} s"
                print(f"{images:,} images, {name}: {said}", flush=True)
    matrix = (given.images - SMALL) * DIM * 4 / 2**20
    print(f"{given.images - SMALL:,} images more are {matrix:,.0f} MiB of bottlenecks; each stage grew by:")
    for name, peak in peaks.items():
        small, large = peak.values()
        print(f"{name}: {large - small:,.0f} MiB, ratio {(large - small) / matrix:.2f}")


if __name__ == "__main__":
    main()
