"""What does trying eight settings cost as one stack, compared with eight trainings one after the other?

On generated bottlenecks of the size of Stanford Dogs with Inception v3 (20,580 x 2,048, 120 labels), 300 steps.
"""

import time

import numpy as np

from retrainlab.training import heads, trainer

IMAGES, DIM, LABELS, STEPS = 20_580, 2_048, 120, 300


def main() -> None:
    random = np.random.default_rng(0)
    classes = random.integers(0, LABELS, IMAGES)
    features = random.random((IMAGES, DIM), np.float32) + 0.1 * random.random((LABELS, DIM), np.float32)[classes]
    labels = np.array([f"label {number:03}" for number in range(LABELS)])[classes]
    split = np.where(random.random(IMAGES) < 0.1, "validation", "train")
    stack = heads.HeadSettings(STEPS).vary(weight_decay=[0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1])
    trainer.train(features[:2000], labels[:2000], split[:2000], stack[:1], STEPS)  # imports TensorFlow, warms up

    started = time.perf_counter()
    trainer.train(features, labels, split, stack, STEPS)
    together = time.perf_counter() - started
    started = time.perf_counter()
    for settings in stack:
        trainer.train(features, labels, split, [settings], STEPS)
    apart = time.perf_counter() - started
    print(f"eight trainings of {STEPS} steps, one after the other: {apart:.1f} s; as one stack: {together:.1f} s")
    print(f"ratio: {apart / together:.1f} times as fast")


if __name__ == "__main__":
    main()
