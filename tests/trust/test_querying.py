"""What to label next: known answers, nothing at all, and a saving that was planted."""

import numpy as np
import pandas as pd
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.training.heads import HeadSettings
from retrainlab.trust import querying

SETTINGS = HeadSettings(weight_decay=0.1)
NONE = np.zeros((0, 4), np.float32)


def points(n: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def sure(*first: float) -> np.ndarray:
    """Probabilities of two labels."""
    return np.stack([np.array(first), 1 - np.array(first)], axis=1)


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ten labels, a cluster each; a third of all images are in the first, and 1% in the rarest."""
    random = np.random.default_rng(seed)
    share = 0.65 ** np.arange(10)
    cluster = random.choice(10, 800, p=share / share.sum())
    features = random.normal(size=(10, 16))[cluster] + random.normal(size=(800, 16)) * 0.5
    return features.astype(np.float32), np.array(list("abcdefghij"))[cluster]


def test_hesitation_comes_first_where_there_is_nothing_to_choose():
    features, chances = points(4), sure(0.9, 0.5, 1.0, 0.3)
    assert querying.order(features, chances, NONE, 4).tolist() == [1, 3, 0, 2]
    assert querying.order(features, chances, NONE, 99).tolist() == [1, 3, 0, 2]
    assert querying.order(features, chances, NONE, 0).tolist() == []


def test_nothing_to_label_is_an_empty_order():
    assert querying.order(NONE, np.zeros((0, 2)), points(3), 5).tolist() == []


@pytest.mark.parametrize("labels", [0, 1, 3])
def test_an_order_names_each_image_once(labels):
    chances = np.full((50, labels), 1 / max(labels, 1))
    for count in (1, 7, 49, 50):
        rows = querying.order(points(50), chances, points(5, seed=1), count)
        assert len(rows) == len(set(rows.tolist())) == count and set(rows.tolist()) <= set(range(50))


def test_constant_features_are_ordered_by_hesitation():
    chances = sure(*np.linspace(1, 0.5, 30))
    assert querying.order(np.ones((30, 4), np.float32), chances, NONE, 3).tolist() == [29, 28, 27]


def test_more_labels_than_clusters(monkeypatch):
    monkeypatch.setattr(querying, "_CLUSTERS", 4)
    features = np.repeat(np.eye(4, dtype=np.float32), 10, axis=0) + points(40) / 100
    rows = querying.order(features, sure(*np.full(40, 0.6)), NONE, 10)
    assert len(set(rows.tolist())) == 10
    assert sorted(rows[:4] // 10) == sorted(rows[4:8] // 10) == [0, 1, 2, 3]  # each cluster's first, then its second


def test_of_two_copies_one_comes_last_and_what_is_known_is_not_asked_for():
    features = points(40)
    features[7] = features[3]
    features[20] = 9
    chances = np.full((40, 2), 0.1)
    chances[:, 0] = 0.9
    chances[[3, 7, 20]] = 0.5  # the only ones to hesitate over
    rows = querying.order(features, chances, features[[20]], 40).tolist()
    assert rows[0] == 3 and sorted(rows[-2:]) == [7, 20]
    some = querying.order(features, chances, features[[20]], 10).tolist()
    assert 3 in some and not {7, 20} & set(some)


def test_each_of_four_heaps_that_are_hesitated_over_is_asked_about():
    features = np.repeat(10 * np.eye(4, dtype=np.float32), [20, 12, 5, 3], axis=0) + points(40) / 100
    rows = querying.order(features, sure(*np.full(40, 0.6)), NONE, 4)
    assert {int(np.searchsorted([20, 32, 37], row, side="right")) for row in rows} == {0, 1, 2, 3}
    # a heap that is hesitated over in sum the most comes first
    assert rows[0] < 20


def test_the_same_seed_gives_the_same_order():
    features, chances = points(300), np.random.default_rng(1).dirichlet([1, 1, 1], 300)
    one, again = (querying.order(features, chances, NONE, 20, seed=3) for _ in range(2))
    assert one.tolist() == again.tolist()


def test_shapes_that_do_not_fit_are_said():
    with pytest.raises(RetrainLabError, match=r"\(5, 4\).*Expected \[n, dim\]"):
        querying.order(points(5), sure(0.5, 0.5), NONE, 2)


@pytest.mark.parametrize("seed", range(2))
def test_on_blobs_with_a_rare_cluster_seven_of_ten_labels_are_enough(seed):
    features, labels = blobs(seed)
    curves = querying.simulate(features, labels, SETTINGS, np.arange(800), seed)
    assert list(curves.columns) == ["repeat", "labelled", "way", "accuracy"] and len(curves) == 5 * 7 * 2
    first = curves[curves["labelled"] == curves["labelled"].min()].pivot_table("accuracy", "repeat", "way")
    assert np.allclose(first["ordered"], first["random"], atol=0.01)  # both begin alike
    assert querying.saved(curves)["interval"][1] <= 0.7


def test_held_out_groups_are_never_learnt_from(monkeypatch):
    features, labels = blobs()
    groups, seen = np.arange(800) // 4, []
    solve = querying.solver.solve

    def spy(matrix, given, split, stack):
        seen.append(np.asarray(split) == "train")
        return solve(matrix, given, split, stack)

    monkeypatch.setattr(querying.solver, "solve", spy)
    querying.simulate(features, labels, SETTINGS, groups, 0, repeats=2, rounds=2)
    assert [learnt.sum(axis=1).tolist() for learnt in seen] == [[20] * 4, [77] * 4, [300] * 4]
    for member in range(4):
        assert not (seen[0][member] & ~seen[1][member]).any() and not (seen[1][member] & ~seen[2][member]).any()
    _, held_out = querying._halves(labels, groups, 0, 2)
    for member in range(4):
        learnt = set(groups[seen[-1][member]])
        assert learnt and not learnt & set(groups[held_out[member % 2]])


@pytest.mark.parametrize(
    ("labels", "groups", "said"),
    [
        (np.full(200, "a"), np.arange(200), "1 label"),
        (np.array(["a", "b"] * 100), np.arange(200) % 3, "3 groups"),
        (np.array(["a", "b"] * 20), np.arange(40), "30 images to ask for"),
        (np.array([]), np.array([]), "0 label"),
    ],
)
def test_what_cannot_be_simulated_is_said(labels, groups, said):
    found = querying.saving(points(len(labels)), labels, SETTINGS, groups, 0)
    assert not found and said in found.sentence


def curves(ordered, random, repeats: int, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Curves whose accuracy is what two functions say of the number of labels."""
    draws = np.random.default_rng(seed)
    rows = [(repeat, size, way, law(size) + noise * draws.normal())
            for repeat in range(repeats) for size in (20, 40, 80, 160, 320, 640)
            for way, law in (("ordered", ordered), ("random", random))]  # fmt: skip
    return pd.DataFrame(rows, columns=["repeat", "labelled", "way", "accuracy"])


def law(size: float) -> float:
    return 0.5 + 0.05 * np.log2(size / 20)


def test_half_the_labels_twice_the_labels_and_as_many():
    assert querying.saved(curves(lambda size: law(2 * size), law, 3))["share"] == pytest.approx(0.5)
    assert querying.saved(curves(law, lambda size: law(2 * size), 3))["share"] == pytest.approx(2)
    flat = querying.saved(curves(lambda _: 0.7, lambda _: 0.7, 3))
    assert flat["share"] == 1 and flat["interval"] == [1, 1]


def test_one_repeat_tells_nothing():
    with pytest.raises(RetrainLabError, match="1 repeat"):
        querying.saved(curves(law, law, 1))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    for twice in (1, 2):
        found = [querying.saved(curves(lambda size, twice=twice: law(twice * size), law, 5, 0.01, seed))
                 for seed in range(100)]  # fmt: skip
        low, high = np.array([each["interval"] for each in found]).T
        assert 0.9 <= np.mean((low <= 1 / twice) & (1 / twice <= high)) <= 0.99
        assert np.exp(np.mean([np.log(each["share"]) for each in found])) == pytest.approx(1 / twice, rel=0.06)


@pytest.mark.parametrize(
    ("interval", "said"), [([0.48, 0.76], "62% [48, 76] of the labels"), ([0.5, 1.0], "not shown")]
)
def test_the_sentence_says_a_saving_only_where_it_is_shown(monkeypatch, interval, said):
    monkeypatch.setattr(querying, "simulate", lambda *_: curves(law, law, 2))
    monkeypatch.setattr(querying, "saved", lambda _: {"share": 0.62, "interval": interval})
    found = querying.saving(points(9), np.arange(9), SETTINGS, np.arange(9), 0)
    assert found and said in found.sentence and found.question == "What to label next would save"
    assert found.numbers["labels_needed"]["interval"] == interval
    assert {line.get_label() for line in found.draw().lines} == {"ordered", "random"}
