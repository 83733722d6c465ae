import numpy as np
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.training import heads, trainer

QUICK = heads.HeadSettings(how_many_training_steps=200)


def blobs(n=200, dim=6, labels=3, spread=1.0, seed=0):
    random = np.random.default_rng(seed)
    classes = np.arange(n) % labels
    features = random.normal(0, spread, (n, dim)) + 3 * np.eye(labels, dim)[classes]
    split = np.where(np.arange(n) % 5 == 0, "validation", "train")
    return features.astype(np.float32), np.array([f"label {c}" for c in classes]), split


def test_separable_labels_are_learnt_and_logits_agree_with_the_history():
    features, labels, split = blobs(spread=0.3)
    (head,), history = trainer.train(features, labels, split, [QUICK])
    last = history[history["step"] == 200].set_index("split")["accuracy"]
    assert last["train"] == 1 and last["validation"] == 1
    assert (np.array(head.labels)[head.logits(features).argmax(axis=1)] == labels).all()
    assert head.kernel.shape == (6, 3) and head.labels == ["label 0", "label 1", "label 2"]


def test_features_that_say_nothing_teach_the_share_of_each_label():
    labels = np.array(["a"] * 30 + ["b"] * 10)
    features = np.ones((40, 3), np.float32)
    settings = heads.HeadSettings(how_many_training_steps=2000, learning_rate=0.05)
    (head,), _ = trainer.train(features, labels, np.array(["train"] * 40), [settings])
    odds = np.diff(head.logits(features[:1]))[0, 0]
    assert 1 / (1 + np.exp(odds)) == pytest.approx(0.75, abs=0.05)


def test_balanced_draws_rare_labels_as_often():
    labels = np.array(["a"] * 30 + ["b"] * 10)
    features = np.ones((40, 3), np.float32)
    settings = heads.HeadSettings(how_many_training_steps=2000, learning_rate=0.05, class_weight="balanced")
    (head,), _ = trainer.train(features, labels, np.array(["train"] * 40), [settings])
    odds = np.diff(head.logits(features[:1]))[0, 0]
    assert 1 / (1 + np.exp(odds)) == pytest.approx(0.5, abs=0.05)


def test_weight_decay_reaches_the_known_optimum():
    """With w the only weight of a symmetric two-label problem, the penalised optimum solves p(w) = decay x w."""
    features = np.array([[1.0], [-1.0]] * 20, np.float32)
    labels = np.array(["a", "b"] * 20)
    decay = 0.2
    settings = heads.HeadSettings(3000, 0.05, 40, weight_decay=decay, standardize=False)
    (head,), _ = trainer.train(features, labels, np.array(["train"] * 40), [settings])
    w = (head.kernel[0, 0] - head.kernel[0, 1]) / 2
    assert 1 / (1 + np.exp(2 * w)) == pytest.approx(decay * w, abs=0.01)


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    features, labels, split = blobs()
    first, again = (trainer.train(features, labels, split, [QUICK])[0][0] for _ in range(2))
    assert np.array_equal(first.kernel, again.kernel) and np.array_equal(first.bias, again.bias)
    other = trainer.train(features, labels, split, [heads.HeadSettings(200, seed=1)])[0][0]
    assert not np.allclose(first.kernel, other.kernel)


@pytest.mark.parametrize("more", [{}, {"optimizer": "adam"}, {"hidden_units": 5}, {"dropout": 0.3}])
def test_a_head_comes_out_the_same_alone_and_in_a_stack(more):
    features, labels, split = blobs()
    stack = heads.HeadSettings(200, **more).vary(weight_decay=[0.0, 0.1, 1.0])
    together, history = trainer.train(features, labels, split, stack)
    (alone,), short = trainer.train(features, labels, split, [stack[1]])
    assert together[1].logits(features) == pytest.approx(alone.logits(features), abs=1e-3)
    mine = history[history["member"] == 1]["cross_entropy"].to_numpy()
    assert mine == pytest.approx(short["cross_entropy"].to_numpy(), abs=1e-4)


def test_each_head_may_have_a_split_of_its_own():
    features, labels, _ = blobs()
    splits = np.full((2, len(labels)), "train", dtype=object)
    splits[1, labels == "label 2"] = "validation"  # the second head never sees this label
    longer = heads.HeadSettings(how_many_training_steps=1500)
    trained, _ = trainer.train(features, labels, splits, [longer, longer])
    mine = labels == "label 2"
    assert (trained[0].logits(features[mine]).argmax(axis=1) == 2).mean() > 0.9
    assert (trained[1].logits(features[mine]).argmax(axis=1) == 2).mean() < 0.1


def test_a_hidden_layer_learns_what_a_line_cannot():
    random = np.random.default_rng(0)
    features = random.uniform(-1, 1, (400, 2)).astype(np.float32)
    labels = np.where(features[:, 0] * features[:, 1] > 0, "same", "different")
    split = np.array(["train"] * 400)
    line, hidden = (heads.HeadSettings(3000, 0.02, optimizer="adam", hidden_units=h) for h in (0, 16))
    accuracy = []
    for settings in (line, hidden):
        _, history = trainer.train(features, labels, split, [settings])
        accuracy.append(history["accuracy"].iloc[-1])
    assert accuracy[0] < 0.7 and accuracy[1] > 0.95


def test_standardising_is_folded_into_the_weights():
    features, labels, split = blobs(spread=0.3)
    features = features * 1000 + 5000
    (head,), history = trainer.train(features, labels, split, [QUICK])
    found = (head.logits(features[split == "train"]).argmax(axis=1) == (np.arange(200) % 3)[split == "train"]).mean()
    assert found == history["accuracy"][history["split"] == "train"].iloc[-1] == 1


def test_label_smoothing_keeps_probabilities_from_the_ends():
    features, labels, split = blobs(spread=0.1)
    settings = heads.HeadSettings(2000, 0.1, label_smoothing=0.3)
    (head,), _ = trainer.train(features, labels, split, [settings])
    logits = head.logits(features)
    probability = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).max(axis=1)
    assert probability.mean() == pytest.approx(1 - 0.3 * 2 / 3, abs=0.05)


def test_the_test_split_is_never_looked_at():
    features, labels, split = blobs()
    split = np.where(np.arange(200) % 7 == 3, "test", split)
    before = trainer.train(features, labels, split, [QUICK])[0][0]
    features[split == "test"] = 1e6
    after = trainer.train(features, labels, split, [QUICK])[0][0]
    assert np.array_equal(before.kernel, after.kernel)


def test_choose_takes_the_lowest_validation_cross_entropy():
    features, labels, split = blobs(60, 50, spread=3)
    stack = QUICK.vary(weight_decay=[0.0, 0.3])
    _, history = trainer.train(features, labels, split, stack)
    table = trainer.table(stack, history)
    assert trainer.select(history) == table["validation cross_entropy"].idxmin()
    assert table.columns[0] == "weight_decay" and len(table.columns) == 5
    assert trainer.select(history[history["split"] == "train"]) == 0


def test_watch_sees_every_evaluation():
    features, labels, split = blobs()
    seen = []
    trainer.train(features, labels, split, [QUICK], 75, seen.append)
    assert [snapshot.step for snapshot in seen] == [0, 75, 150, 200]
    assert seen[-1].logits["train"] == pytest.approx(seen[-1].head.logits(features[split == "train"]), abs=1e-3)


def test_errors_of_training():
    features, labels, split = blobs()
    with pytest.raises(RetrainLabError, match="no training image"):
        trainer.train(features, labels, np.array(["test"] * 200), [QUICK])
    with pytest.raises(RetrainLabError, match="differ in optimizer"):
        trainer.train(features, labels, split, [QUICK, heads.HeadSettings(200, optimizer="adam")])
    with pytest.raises(RetrainLabError, match="learning_rate 1e\\+30 is too large"):
        trainer.train(features * 1e10, labels, split, [heads.HeadSettings(200, 1e30, standardize=False)])
    with pytest.raises(RetrainLabError, match="eval_step_interval is 0"):
        trainer.train(features, labels, split, [QUICK], 0)


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("standardize", [True, False])
def test_training_can_start_from_an_earlier_head_and_learn_a_new_label(hidden, standardize):
    features, labels, split = blobs(spread=0.3)
    settings = heads.HeadSettings(200, hidden_units=hidden, standardize=standardize)
    (earlier,), before = trainer.train(features, labels, split, [settings])
    _, after = trainer.train(features, labels, split, [settings] * 2, start=earlier)
    ended = before[before["step"] == 200].set_index("split")["cross_entropy"]
    for _, began in after[after["step"] == 0].groupby("member"):
        assert began.set_index("split")["cross_entropy"].to_dict() == pytest.approx(ended.to_dict(), abs=1e-4)
    more = np.where(np.arange(len(labels)) % 10 == 3, "a new label", labels)  # sorts before the others
    (grown,), _ = trainer.train(features, more, split, [settings], start=earlier)
    assert grown.labels == ["a new label", *earlier.labels]


def test_an_earlier_head_of_another_shape_is_refused():
    features, labels, split = blobs()
    (earlier,), _ = trainer.train(features, labels, split, [QUICK])
    with pytest.raises(RetrainLabError, match=r"has 0 hidden units\. Expected 4"):
        trainer.train(features, labels, split, [heads.HeadSettings(10, hidden_units=4)], start=earlier)


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("temperature", [0.14, 5])
def test_training_from_a_cooled_head_begins_as_from_the_uncooled_one(hidden, temperature):
    features, labels, split = blobs()
    settings = heads.HeadSettings(200, hidden_units=hidden)
    (earlier,), _ = trainer.train(features, labels, split, [settings])
    cooled = earlier.calibrated(temperature / 2).calibrated(2)
    assert cooled.temperature == pytest.approx(temperature)
    assert cooled.logits(features) == pytest.approx(earlier.logits(features) / temperature, rel=1e-4, abs=1e-4)
    plain, again = (trainer.train(features, labels, split, [settings], start=head)[1] for head in (earlier, cooled))
    assert again["cross_entropy"].to_numpy() == pytest.approx(plain["cross_entropy"].to_numpy(), abs=1e-4)
    assert again["accuracy"].equals(plain["accuracy"])


def test_a_weight_decay_that_diverges_is_named():
    features = np.random.default_rng(0).normal(0, 1, (40, 3)).astype(np.float32)
    settings = heads.HeadSettings(400, 0.1, weight_decay=np.float64(1000.0))
    with pytest.raises(RetrainLabError, match="Lower it or weight_decay"):
        trainer.train(features, ["a", "b"] * 20, ["train"] * 40, [settings])


def test_an_earlier_head_of_other_labels_is_refused():
    features, labels, split = blobs()
    settings = heads.HeadSettings(how_many_training_steps=5)
    (head,), _ = trainer.train(features, labels, split, [settings])
    with pytest.raises(RetrainLabError, match="knows none of the labels here: it tells"):
        trainer.train(features, [f"other {label}" for label in labels], split, [settings], start=head)
