import numpy as np
import pandas as pd
import pytest

from retrainlab.analysis import leaks, neighbours
from retrainlab.evaluation.intervals import clustered_mean


def clusters(kind: str, n: int, labels: int, seed: int, dim: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Unrelated images: a cloud a label, of normal or heavy-tailed features, or of ten dimensions behind a ReLU."""
    random = np.random.default_rng(seed)
    label = random.integers(0, labels, n)
    if kind == "few dimensions":
        hidden = random.normal(0, 1, (labels, 10))[label] + random.normal(0, 1, (n, 10))
        features = np.maximum(hidden @ random.normal(0, 0.5, (10, dim)) - 0.5, 0)
    else:
        noise = random.normal(0, 1, (n, dim))
        if kind == "heavy tails":
            noise /= np.sqrt(random.chisquare(3, (n, dim)) / 3)  # Student's t, 3 degrees of freedom
        elif kind == "unequal images":
            noise /= np.sqrt(random.chisquare(3, (n, 1)) / 3)
        features = random.normal(0, 1, (labels, dim))[label] + noise
    return features.astype(np.float32), label.astype(str)


def with_copies(features, label, share, seed, noise=(0.01, 0.1)):
    """Append noisy copies of some images: features, labels, pairs (first, second)."""
    random = np.random.default_rng([seed, 1])
    chosen = random.choice(len(features), round(share * len(features)), replace=False)
    strength = random.uniform(*noise, (len(chosen), 1)) * features.std(axis=0)
    copies = features[chosen] + strength * random.normal(0, 1, (len(chosen), features.shape[1]))
    planted = {(int(row), len(features) + number) for number, row in enumerate(chosen)}
    return np.concatenate([features, copies]).astype(np.float32), np.concatenate([label, label[chosen]]), planted


def found(features, label) -> set[tuple[int, int]]:
    pairs = leaks.find(*neighbours.nearest(features), label).pairs
    return set(zip(pairs["first"].tolist(), pairs["second"].tolist(), strict=True))


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "unequal images", "few dimensions"])
@pytest.mark.parametrize(("n", "labels"), [(500, 2), (500, 120), (2000, 20)])
def test_planted_near_duplicates_are_found_and_hardly_anything_else(kind, n, labels):
    false, missed, planted_count = [], 0, 0
    for seed in range(3):
        features, label = clusters(kind, n, labels, seed)
        false.append(len(found(features, label)))
        features, label, planted = with_copies(features, label, 0.1, seed)
        pairs = found(features, label)
        missed, planted_count = missed + len(planted - pairs), planted_count + len(planted)
        false.append(len(pairs - planted))
    assert np.mean(false) <= 1 and max(false) <= 4
    assert missed / planted_count < 0.02


def test_copies_with_another_label_are_found():
    features, label, planted = with_copies(*clusters("normal", 600, 10, 0), 0.1, 0)
    for _, copy in planted:
        label[copy] = str((int(label[copy]) + 1) % 10)
    pairs = found(features, label)
    assert len(planted & pairs) > 0.98 * len(planted) and len(pairs - planted) <= 1


@pytest.mark.parametrize("copies", [2, 4, 8])
def test_every_image_may_have_several_copies(copies):
    features, label = clusters("normal", 400, 3, 0)
    random = np.random.default_rng(0)
    all_of_them = np.concatenate(
        [features + 0.1 * (number > 0) * random.normal(0, 1, features.shape) for number in range(copies)]
    )
    result = leaks.find(*neighbours.nearest(all_of_them.astype(np.float32)), np.tile(label, copies))
    group = leaks.groups(result.pairs, np.arange(len(all_of_them)))
    assert group.max() + 1 == 400 and (group.reshape(copies, 400) == group[:400]).all()


def test_the_dimension_of_a_known_cloud():
    random = np.random.default_rng(0)
    flat = random.normal(0, 1, (3000, 5)) @ np.linalg.qr(random.normal(0, 1, (60, 5)))[0].T
    # cosine takes one dimension away
    assert leaks.find(*neighbours.nearest(flat.astype(np.float32)), ["a"] * 3000).dimension == pytest.approx(4, abs=0.4)


def test_all_images_the_same():
    result = leaks.find(*neighbours.nearest(np.ones((100, 8), np.float32)), ["a", "b"] * 50)
    assert np.isnan(result.dimension) and (result.pairs["similarity"] == 1).all()
    assert leaks.groups(result.pairs, np.arange(100)).max() == 0


def test_more_equal_images_than_neighbours_stay_one_group():
    features, label = clusters("normal", 300, 3, 0)
    features[:50] = features[0]
    result = leaks.find(*neighbours.nearest(features), label)
    group = leaks.groups(result.pairs, np.arange(300))
    assert (group[:50] == 0).all() and len(set(group[50:])) == 250


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_images(n):
    features = np.random.default_rng(0).normal(0, 1, (n, 8)).astype(np.float32)
    result = leaks.find(*neighbours.nearest(features), list("abc")[:n])
    assert result.pairs.empty and len(result.limit) == n
    assert leaks.groups(result.pairs, np.arange(n)).tolist() == list(range(n))


def pairs_of(*rows: tuple[int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["first", "second", "similarity"])


def test_groups_are_what_pairs_and_given_groups_tie_together():
    pairs = pairs_of((5, 6, 0.9), (0, 5, 0.9), (2, 3, 0.9))
    assert leaks.groups(pairs, np.arange(8)).tolist() == [0, 1, 2, 2, 3, 0, 0, 4]
    given = ["p", "q", "r", "s", "p", "t", "u", "q"]  # 0 with 4, 1 with 7
    assert leaks.groups(pairs, given).tolist() == [0, 1, 2, 2, 0, 0, 0, 1]
    chain = pairs_of(*((number, number + 1, 0.9) for number in range(999)))
    assert leaks.groups(chain.sample(frac=1, random_state=0), np.arange(1000)).max() == 0


@pytest.fixture
def table() -> pd.DataFrame:
    split = ["train", "train", "validation", "test", "test"]
    return pd.DataFrame({"path": list("pqrst"), "label": list("aabbb"), "split": split})


def test_crossing_lists_the_measured_image_first(table):
    pairs = pairs_of((0, 3, 0.99), (0, 1, 0.98), (1, 2, 0.97), (2, 3, 0.96), (3, 4, 0.95))
    across = leaks.crossing(pairs, table)
    assert across["path"].tolist() == ["s", "r", "s"] and across["other"].tolist() == ["p", "q", "r"]
    assert across["split"].tolist() == ["test", "validation", "test"]
    assert across["other split"].tolist() == ["train", "train", "validation"]
    assert across["similarity"].tolist() == [0.99, 0.97, 0.96]
    assert list(across) == ["path", "other", "label", "other label", "split", "other split", "similarity"]


def test_the_sentence(table):
    def said(*rows, limit=0.9) -> str:
        return leaks.describe(leaks.Duplicates(pairs_of(*rows), np.full(5, limit), 10.0), table)

    several = said((0, 3, 0.99), (0, 4, 0.98), (1, 2, 0.97), (3, 4, 0.96))
    assert "4 pairs of near-duplicates among 5 images, 3 of them across splits (2 between test and train" in several
    assert "1 of 1 validation images and 2 of 2 test images have a near-duplicate in training." in several
    assert "3 pairs carry two labels. Similarity 0.900 and more counts" in several
    assert said() == "No near-duplicates among 5 images: no two are more alike than chance explains."
    assert said((0, 1, 0.99)).startswith("1 pair of near-duplicates among 5 images; none lies across two splits.")
    assert said((0, 1, 0.99), limit=1 - 1e-9).endswith(
        "Only equal images can be told: these bottlenecks vary in too few ways."
    )


def test_features_that_tell_too_little_are_named():
    few = np.random.default_rng(0).normal(0, 1, (500, 2)).astype(np.float32)
    table = pd.DataFrame({"path": "p", "label": "a", "split": ["train", "test"] * 250})
    assert "vary in too few ways" in leaks.describe(leaks.find(*neighbours.nearest(few), ["a"] * 500), table)


def test_the_share_of_validation_images_that_leak(table):
    pairs = pairs_of((0, 2, 0.99), (1, 2, 0.98), (2, 3, 0.97), (0, 3, 0.96))
    assert leaks.share(leaks.crossing(pairs, table), table) == 1  # one validation image, counted once
    table.loc[3, "split"] = "validation"
    assert leaks.share(leaks.crossing(pairs_of((0, 2, 0.99)), table), table) == 0.5
    assert leaks.share(leaks.crossing(pairs_of((2, 3, 0.99), (2, 4, 0.9)), table), table) == 0  # none in training
    table["split"] = ["train", "train", "test", "test", "test"]
    assert leaks.share(leaks.crossing(pairs, table), table) == 0


# --------------------------------------------------------------------------------------------- their price


def price(apart, together, groups):
    return clustered_mean(apart - together, groups)


def test_the_price_has_a_known_interval():
    apart, together = np.array([1, 1, 0, 0.5]), np.array([0, 1, 0, 0.5])
    cost = price(apart, together, np.arange(4))
    # changes 1, 0, 0, 0, and beside them 1 and -1: squares about 0.25 of 0.75 and 2.125, times 4 / 3
    half = 3.182 * np.sqrt(2.875 * 4 / 3) / 4
    assert cost["accuracy"] == 0.25 and cost["interval"] == pytest.approx(
        [max(-1, 0.25 - half), min(1, 0.25 + half)], abs=1e-3
    )
    none = price(np.ones(9), np.ones(9), np.arange(9))
    assert none["accuracy"] == 0 and -0.45 < none["interval"][0] < -0.3  # nine images that agree prove little


def test_images_of_a_group_count_as_one_in_the_price():
    random = np.random.default_rng(0)
    apart, together = random.random(50), random.random(50)
    once = price(apart, together, np.arange(50))
    thrice = price(apart.repeat(3), together.repeat(3), np.arange(50).repeat(3))
    assert thrice["accuracy"] == pytest.approx(once["accuracy"])
    assert thrice["interval"] == pytest.approx(once["interval"], abs=0.03)
    independent = price(apart.repeat(3), together.repeat(3), np.arange(150))
    assert np.ptp(independent["interval"]) < 0.7 * np.ptp(once["interval"])


def test_images_that_were_not_judged_both_ways_have_no_part_in_the_price():
    apart, together = np.array([1, 1, 0, np.nan, 1]), np.array([0, 1, 0, 1, np.nan])
    assert price(apart, together, np.arange(5)) == price(apart[:3], together[:3], np.arange(3))
    unknown = {"accuracy": None, "interval": None}
    assert price(apart[3:], together[3:], np.arange(2)) == unknown
    assert price(apart[:0], together[:0], np.arange(0)) == unknown
    assert price(apart[:3], together[:3], np.zeros(3)) == unknown  # one group


def test_the_interval_of_the_price_holds_the_truth():
    """Pairs of copies: a pair's two images gain 0.4 where they were found out, in a third of 60 pairs."""
    random = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        gain = np.where(random.random(60) < 1 / 3, random.random(60) < 0.4, 0).repeat(2)
        together = (random.random(120) < 0.5) * (1 - gain)
        low, high = price(together + gain, together, np.arange(60).repeat(2))["interval"]
        held.append(low <= 0.4 / 3 <= high)
    assert 0.93 <= np.mean(held) <= 0.98
