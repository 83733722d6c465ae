"""How much sooner does the solver come to the end of training than 4,000 steps, and than scikit-learn; and how near?

Three weight decays as one stack, on features of two sizes that are generated: those of the embedded benchmark (1,983 x
7,456, 2 labels), and with --large those of Stanford Dogs with Inception v3 (20,580 x 2,048, 120 labels), where 4,000
steps take minutes. Cross-entropy is that of validation images, of the weight decay where that is lowest. The norm of
the gradient is that of the penalised loss by the weights on standardised features, as a share of what it is at 0.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression

from retrainlab.evaluation.calibration import cross_entropies, softmax
from retrainlab.training import heads, solver, trainer

DECAYS = [0.1, 0.3, 1.0]  # those that 4,000 steps come to the end of
SIZES = {"embedded": (1_983, 7_456, 2), "large": (20_580, 2_048, 120)}


def generate(images: int, dim: int, labels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features as after a ReLU, correlated as bottlenecks are; label names; split."""
    random = np.random.default_rng(0)
    classes = random.integers(0, labels, images)
    inner = random.standard_normal((images, 256), np.float32) + random.normal(0, 0.1, (labels, 256))[classes]
    mixed = inner @ random.standard_normal((256, dim), np.float32) / 16 + random.standard_normal((images, dim))
    split = np.where(random.random(images) < 0.19, "validation", "train")
    return np.maximum(mixed, 0).astype(np.float32), np.char.add("label ", classes.astype(str)), split


def scikit(features: np.ndarray, labels: np.ndarray, split: np.ndarray) -> list[np.ndarray]:
    """Logits of validation images by LogisticRegression with the same penalties, on the same features.

    Of two labels it learns one vector, the difference of both: the same penalty is half of it.
    """
    learnt = split == "train"
    scaled = (features - features[learnt].mean(0)) / features[learnt].std(0)
    found, share = [], 2 if len(np.unique(labels)) == 2 else 1
    for decay in DECAYS:
        layer = LogisticRegression(C=share / (decay * learnt.sum()), max_iter=1000).fit(scaled[learnt], labels[learnt])
        logits = layer.decision_function(scaled[~learnt])
        found.append(logits if logits.ndim > 1 else np.stack([np.zeros_like(logits), logits], axis=1))
    return found


def gradient(head: heads.Head, features: np.ndarray, labels: np.ndarray, split: np.ndarray) -> float:
    """Norm of the gradient, as a share of that of a layer of zeros."""
    learnt = split == "train"
    mean, deviation = features[learnt].mean(0), features[learnt].std(0)
    scaled = (features[learnt] - mean) / deviation
    truth = labels[learnt][:, None] == np.array(head.labels)

    def norm(logits: np.ndarray, kernel: np.ndarray) -> float:
        errors = (softmax(logits) - truth) / len(truth)
        slope = scaled.T @ errors + head.settings.weight_decay * kernel
        return float(np.sqrt((slope**2).sum() + (errors.sum(0) ** 2).sum()))

    kernel = head.kernel * deviation[:, None]
    return norm(head.logits(features[learnt]), kernel) / norm(np.zeros(truth.shape), np.zeros_like(kernel))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    name = "large" if parser.parse_args().large else "embedded"
    features, labels, split = generate(*SIZES[name])
    stack = heads.HeadSettings().vary(weight_decay=DECAYS)
    held = split == "validation"
    truth = np.unique(labels, return_inverse=True)[1][held]
    trainer.train(features[:500, :50], labels[:500], split[:500], stack, 4000)  # imports TensorFlow, warms up

    def timed(way: Callable[[], list]) -> tuple[float, list]:
        began = time.perf_counter()
        found = way()
        return time.perf_counter() - began, found

    steps, stepped = timed(lambda: trainer.train(features, labels, split, stack, 4000)[0])
    solving, solved = timed(lambda: solver.solve(features, labels, split, stack))
    fitting, fitted = timed(lambda: scikit(features, labels, split))
    ends = {"4,000 steps": stepped, "solver": solved}
    logits = {way: [head.logits(features[held]) for head in found] for way, found in ends.items()}
    logits["scikit-learn"] = fitted
    seconds = {"4,000 steps": steps, "solver": solving, "scikit-learn": fitting}
    images, dim, count = SIZES[name]
    print(f"{images:,} x {dim:,}, {count} labels, weight decays {', '.join(map(str, DECAYS))}")
    for way, said in logits.items():
        lowest = min(float(cross_entropies(one, truth).mean()) for one in said)
        norms = [gradient(head, features, labels, split) for head in ends.get(way, [])]
        left = f"; gradient {max(norms):.1e} of that at 0, at most" if norms else ""
        print(f"{way}: {seconds[way]:.2f} s, validation cross-entropy {lowest:.4f}{left}")
    print(f"ratio: the solver is {steps / solving:.1f} times as fast as 4,000 steps, "
          f"{fitting / solving:.1f} times as fast as scikit-learn")  # fmt: skip


if __name__ == "__main__":
    main()
