"""Does the analysis find what is known to be there? Planted truths on generated bottlenecks, a line of output each.

Overfitting, underfitting, a good fit and a leak are judged as 04_overfitting does it, from re-splits to the verdict;
then the price of the leak, labels in doubt, the learning curve and the comparison of runs. It ends with an error where
less than 95% of the verdicts are right.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from retrainlab.analysis import learning_curve, power_law, resampling
from retrainlab.analysis.overfitting import Overfitting
from retrainlab.comparison import pairwise
from retrainlab.training import heads, trainer

SETTINGS = heads.HeadSettings(how_many_training_steps=500, learning_rate=0.03)
TARGET = 0.95  # of the verdicts that are to be right
FRESH = 20_000  # images that a truth is measured on
JITTER = 0.1  # by which copies of a picture differ, in deviations of a feature


@dataclass(frozen=True)
class Answer:
    """What came out for one seed: whether it is right, what was said, and figures, printed as mean (least to most)."""

    right: bool
    said: str
    figures: dict[str, float]


def names(classes: np.ndarray) -> np.ndarray:
    return np.array([f"label {number}" for number in range(10)], dtype=object)[classes]


def analyse(features: np.ndarray, labels: np.ndarray, settings: heads.HeadSettings, seed: int) -> Overfitting:
    """Go the way of 04_overfitting; 60% of the images train, 15% validate and 25% test, at random."""
    split = np.random.default_rng([seed, 0]).choice(["train", "validation", "test"], len(labels), p=[0.6, 0.15, 0.25])
    paths = np.arange(len(labels)).astype(str)
    table = pd.DataFrame({"path": paths, "sha256": paths, "label": labels, "split": split})
    return Overfitting(features, table, settings, seed=seed)


def answer(study: Overfitting, expected: str, **figures: float) -> Answer:
    gap = study.evidence["gap"]
    shown = {"train": 100 * gap["train"], "validation": 100 * gap["validation"]}
    return Answer(study.verdict.name == expected, study.verdict.sentence, shown | figures)


# --------------------------------------------------------------------------------------------- verdicts


def noise(seed: int) -> Answer:
    """500 features that say nothing of the labels, and fewer images than would be needed to notice."""
    random = np.random.default_rng([seed, 1])
    labels = names(random.integers(0, random.integers(2, 6), 400))
    features = random.standard_normal((400, 500), np.float32)
    return answer(analyse(features, labels, SETTINGS, seed), "overfits")


def held_back(seed: int) -> Answer:
    """Learnable, but not with such a weight decay: what tells labels apart varies little, and something else a lot."""
    random = np.random.default_rng([seed, 2])
    classes = random.choice(4, 1000, p=[0.4, 0.3, 0.2, 0.1])
    common = random.normal(0, 2, (1000, 4)) @ random.normal(0, 1, (4, 32))
    features = random.normal(0, 0.5, (4, 32))[classes] + common + random.normal(0, 0.7, (1000, 32))
    settings = heads.HeadSettings(500, 0.03, weight_decay=random.choice([1.0, 3.0, 10.0]))
    return answer(analyse(features.astype(np.float32), names(classes), settings, seed), "underfits")


def well_posed(seed: int) -> Answer:
    """Many images, few features, and all of them tell something."""
    random = np.random.default_rng([seed, 3])
    classes = random.integers(0, 4, 3000)
    features = random.normal(0, random.uniform(0.4, 1), (4, 12))[classes] + random.normal(0, 1, (3000, 12))
    return answer(analyse(features.astype(np.float32), names(classes), SETTINGS, seed), "fits")


def duplicates(seed: int) -> tuple[Answer, Answer]:
    """Some pictures are there twice, a little changed. The second answer is whether the price is right.

    The true price: the share of the images validating in a re-split that have a copy in training, times how much more
    often its head is right about new copies of such pictures (ten each) than about pictures that it has never seen
    (20,000 new ones). One head, so both accuracies belong to the same number of distinct training images. Nothing of
    `leaks` is in it: copies are known by how they were made.
    """
    random = np.random.default_rng([seed, 4])
    centres = random.normal(0, 0.04, (2, 512))

    def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
        classes = random.integers(0, 2, count)
        return centres[classes] + random.normal(0, 1, (count, 512)), classes

    def photographed(pictures: np.ndarray) -> np.ndarray:
        return (pictures + JITTER * random.normal(0, 1, pictures.shape)).astype(np.float32)

    def accuracy(head: heads.Head, features: np.ndarray, classes: np.ndarray) -> float:
        return float((head.logits(features).argmax(axis=1) == classes).mean())

    shown, classes = pictures(1600)
    picture = np.concatenate([np.arange(1600), random.choice(1600, random.integers(200, 600), replace=False)])
    features, labels = photographed(shown[picture]), names(classes[picture])
    found = analyse(features, labels, SETTINGS, seed)

    mine, splits = picture[found.inside], found.split(found.copies, 5)
    trained, _ = trainer.train(features[found.inside], labels[found.inside], splits, [SETTINGS] * 5, 500)
    never, theirs = pictures(FRESH)
    never = photographed(never)
    true = []
    for head, own in zip(trained, splits, strict=True):
        again = mine[(own == "validation") & np.isin(mine, mine[own == "train"])].repeat(10)
        copied = accuracy(head, photographed(shown[again]), classes[again])
        share = len(again) / 10 / (own == "validation").sum()
        true.append(share * (copied - accuracy(head, never, theirs)))
    price = found.evidence.get("price", {"accuracy": np.nan, "interval": [np.nan, np.nan]})
    value, low, high, truth = 100 * np.array([price["accuracy"], *price["interval"], np.mean(true)])
    figures = {"true price": truth, "found": value, "off by": abs(value - truth),
               "interval holds it, %": 100.0 * (low <= truth <= high)}  # fmt: skip
    said = f"{value:.1f} points [{low:.1f}, {high:.1f}], in truth {truth:.1f}"
    return answer(found, "leaks"), Answer(bool(abs(value - truth) <= 2), said, figures)


# --------------------------------------------------------------------------------------------- the other answers


def flipped_labels(seed: int) -> Answer:
    """A tenth of the labels is wrong, where labels separate."""
    random = np.random.default_rng([seed, 5])
    count = random.integers(2, 9)
    true = random.integers(0, count, 1000)
    wrong = random.random(1000) < 0.1
    given = np.where(wrong, (true + random.integers(1, count, 1000)) % count, true)
    features = random.normal(0, 0.7, (count, 64))[true] + random.normal(0, 1, (1000, 64))
    found = analyse(features.astype(np.float32), names(given), SETTINGS, seed)
    hits = wrong[found.inside][found.suspects.index].sum()
    precision, recall = hits / max(1, len(found.suspects)), hits / wrong[found.inside].sum()
    figures = {"precision, %": 100 * precision, "recall, %": 100 * recall}
    return Answer(min(precision, recall) >= 0.8, f"precision {precision:.2f}, recall {recall:.2f}", figures)


def judged(fit: power_law.Fit, truth: float) -> Answer:
    low, high = fit.interval
    figures = {"width of the interval": 100 * (high - low), "best value off by": 100 * abs(fit.gain - truth),
               "tells, %": 100.0 * fit.tells}  # fmt: skip
    said = f"a gain of {100 * fit.gain:.1f} points [{100 * low:.1f}, {100 * high:.1f}], in truth {100 * truth:.1f}"
    return Answer(bool(low <= truth <= high), said, figures)


def drawn_curve(seed: int) -> Answer:
    """Accuracies drawn at random around a power law: images are easy or hard, and heads differ by their images."""
    random = np.random.default_rng([seed, 6])
    floor, exponent = random.uniform(0, 0.25), random.uniform(0.2, 1)
    slope = random.uniform(0.02, min(0.2, (0.7 - floor) / 8**exponent))
    n, members, parts = int(random.integers(200, 2000)), 10, np.array([1 / 8, 1 / 4, 1 / 2, 3 / 4, 1])
    errors = np.clip(floor + slope * parts**-exponent, 0.001, 0.9)[:, None]
    errors = np.clip(errors + random.uniform(0, 0.02) * random.standard_normal((5, members)) / np.sqrt(parts)[:, None],
                     0.001, 0.95)  # fmt: skip
    alike = random.uniform(0.5, 0.95)  # correlation of what two heads find hard
    hard = np.sqrt(alike) * random.standard_normal(n) + np.sqrt(1 - alike) * random.standard_normal((5, members, n))
    hits = (hard > np.vectorize(NormalDist().inv_cdf)(errors)[:, :, None]).astype(np.float32)
    for repeat in range(members // 5):  # each member validates a fifth of the images
        fold = random.permutation(n) % 5
        for number in range(5):
            hits[:, 5 * repeat + number, fold != number] = np.nan
    labels = np.full(n, "label", dtype=object)
    curve = learning_curve.LearningCurve(parts * n * 0.8, hits, np.ones((5, members)), labels, np.arange(n))
    return judged(power_law.fit(curve), slope * (1 - 2**-exponent))


def trained_curve(seed: int) -> Answer:
    """Heads trained on generated bottlenecks; the truth: eight more on as many and on twice as many, and new images."""
    random = np.random.default_rng([seed, 7])
    centres = random.normal(0, random.uniform(0.15, 0.35), (3, 40))

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        classes = random.integers(0, 3, count)
        return (centres[classes] + random.normal(0, 1, (count, 40))).astype(np.float32), names(classes)

    def error(size: int, count: int = 8) -> float:
        features, labels = images(size * count)
        own = np.where(np.arange(size * count) // size == np.arange(count)[:, None], "train", "test")
        settings = heads.HeadSettings(500, 0.03, train_batch_size=100 * count)  # a batch holds 100 images for each head
        trained, _ = trainer.train(features, labels, own, [settings] * count, 500)
        fresh, theirs = images(FRESH)
        answers = [np.array(head.labels, dtype=object)[head.logits(fresh).argmax(axis=1)] for head in trained]
        return float(np.mean([mine != theirs for mine in answers]))

    features, labels = images(int(random.integers(300, 1200)))
    groups = np.arange(len(labels))
    splits = resampling.repeated_folds(labels, groups, np.full(len(labels), "train"), 10, seed)
    fit = power_law.fit(learning_curve.measure(features, labels, splits, SETTINGS, groups, seed))
    return judged(fit, error(round(fit.sizes[-1])) - error(round(2 * fit.sizes[-1])))


def equal_runs(seed: int) -> Answer:
    """Two runs that are right equally often, each in its own way."""
    random = np.random.default_rng([seed, 8])
    n, accuracy = int(random.integers(50, 1000)), random.uniform(0.6, 0.95)
    table = pd.DataFrame({"path": np.arange(n).astype(str), "label": "cat", "split": "validation"})
    runs = {name: table.assign(predicted=np.where(random.random(n) < accuracy, "cat", "dog")) for name in "ab"}
    (row,) = pairwise.compare(runs).to_dict("records")
    said = f"{row['verdict']}: {100 * row['difference']:+.1f} points, p = {row['p']:.3f}"
    return Answer(row["verdict"] == "no difference can be shown", said, {"images": n})


# --------------------------------------------------------------------------------------------- the count


def count(what: str, answers: list[Answer]) -> tuple[int, int]:
    """Print how many are right, their figures, and up to three of the wrong answers."""
    wrong = [number for number, one in enumerate(answers) if not one.right]
    right = len(answers) - len(wrong)
    figures = pd.DataFrame([one.figures for one in answers])
    said = "; ".join(f"{name} {values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"
                     for name, values in figures.items())  # fmt: skip
    print(f"{what}: {right} of {len(answers)}, {right / len(answers):.1%}\n    {said}", flush=True)
    for number in wrong[:3]:
        print(f"    wrong, seed {number}: {answers[number].said}", flush=True)
    return right, len(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of each scenario; cheap ones take 10 or 100 times more")
    seeds = parser.parse_args().seeds
    started = time.perf_counter()

    def ask(scenario: Callable[[int], Answer], times: int = 1) -> list[Answer]:
        return [scenario(seed) for seed in range(seeds * times)]

    verdicts = [
        count("Pure noise, many features: overfits", ask(noise)),
        count("Held back by weight decay: underfits", ask(held_back)),
        count("Well-posed: fits", ask(well_posed)),
    ]
    leaking, prices = zip(*map(duplicates, range(seeds)), strict=True)
    verdicts.append(count("Duplicates across splits: leaks", list(leaking)))
    count("... and the price within 2 points of the truth", list(prices))
    count("10% of labels wrong: precision and recall at least 80%", ask(flipped_labels))
    count("The gain of twice the images lies in its interval, curves drawn", ask(drawn_curve, 10))
    count("The gain of twice the images lies in its interval, heads trained", ask(trained_curve))
    count("Equal runs: no difference can be shown", ask(equal_runs, 100))
    right, asked = map(sum, zip(*verdicts, strict=True))
    print(f"Right verdicts: {right} of {asked}, {right / asked:.1%}, in {time.perf_counter() - started:.0f} seconds.")
    if right < TARGET * asked:
        raise SystemExit(f"Expected at least {TARGET:.0%} right verdicts.")


if __name__ == "__main__":
    main()
