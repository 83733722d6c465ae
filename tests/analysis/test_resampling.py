import numpy as np
import pandas as pd
import pytest

from retrainlab.analysis import paths, resampling
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation.calibration import softmax
from retrainlab.training import heads, solver, trainer

QUICK = heads.HeadSettings(how_many_training_steps=200)


def blobs(n=200, dim=6, labels=3, spread=1.0, seed=0):
    random = np.random.default_rng(seed)
    classes = np.arange(n) % labels
    features = random.normal(0, spread, (n, dim)) + 3 * np.eye(labels, dim)[classes]
    return features.astype(np.float32), np.array([f"label {c}" for c in classes])


def folds(labels, count=5, seed=0, groups=None, split=None):
    groups = np.arange(len(labels)) if groups is None else groups
    split = np.full(len(labels), "train") if split is None else split
    return resampling.repeated_folds(labels, groups, split, count, seed)


def test_every_image_validates_equally_often_and_every_label_in_every_fold():
    random = np.random.default_rng(0)
    labels = random.choice(["a", "b", "c"], 203, p=[0.7, 0.25, 0.05])
    split = np.array(["validation"] * 33 + ["test"] * 40 + ["train"] * 130)
    splits = folds(labels, 50, split=split)
    assert splits.shape == (50, 203)
    assert (splits[:, 33:73] == "test").all()
    times = (splits == "validation").sum(axis=0)
    assert set(times[split != "test"]) == {10} and set(times[split == "test"]) == {0}
    assert ((splits == "validation").sum(axis=1) // 1 - 163 / 5).__abs__().max() < 1
    for label in "abc":
        mine = (splits[:, labels == label] == "validation").sum(axis=1)
        assert mine.max() - mine.min() <= 1
    assert np.array_equal(splits, folds(labels, 50, split=split))
    assert not np.array_equal(splits, folds(labels, 50, seed=1, split=split))
    assert not np.array_equal(splits[:5], splits[5:10])  # repeats differ


@pytest.mark.parametrize(("validation", "k"), [(0, 5), (3, 10), (15, 7), (25, 4), (40, 2), (70, 2)])
def test_as_many_folds_as_validation_parts_fit(validation, k):
    split = np.array(["validation"] * validation + ["train"] * (100 - validation))
    splits = folds(np.array(["a", "b"] * 50), 12, split=split)
    assert (splits[:k] == "validation").sum(axis=0).tolist() == [1] * 100
    assert np.allclose((splits == "validation").mean(axis=1), 1 / k, atol=0.01)


def test_groups_stay_together_and_folds_stay_even():
    random = np.random.default_rng(0)
    groups = np.sort(random.integers(0, 60, 600))
    labels = np.where(groups % 3 == 0, "a", "b")
    splits = folds(labels, 10, groups=groups)
    for own in splits:
        assert pd.Series(own).groupby(groups).nunique().max() == 1
    parts = (splits == "validation").sum(axis=1)
    assert parts.sum() == 1200 and parts.min() > 100 and parts.max() < 140


def test_every_label_keeps_a_training_image():
    random = np.random.default_rng(1)
    groups = random.integers(0, 25, 60)  # groups mix labels
    labels = random.choice(list("abcdefgh"), 60, p=[0.5, 0.2, 0.1, 0.08, 0.06, 0.03, 0.02, 0.01])
    labels[0] = "the only one"
    splits = folds(labels, 30, groups=groups)
    for own in splits:
        assert set(labels[own == "train"]) == set(labels) and (own == "validation").any()
    assert (splits[:, 0] == "train").all()


def test_images_that_cannot_be_split_again():
    with pytest.raises(RetrainLabError, match="of 3 groups in 3 labels, 0 could validate"):
        folds(np.array(["a", "b", "c"]))
    assert (folds(np.array(["a", "b", "b"]), 2) == "validation").sum() == 2


def test_a_stack_of_re_splits_is_what_its_members_are_alone(monkeypatch):
    features, labels = blobs(spread=2)
    split = np.where(np.arange(200) % 8 == 0, "test", "train")
    splits = folds(labels, 10, split=split)
    result = resampling.cross_validate(features, labels, splits, QUICK)
    right, probabilities, train_right = np.zeros(200), np.zeros((200, 3)), np.zeros(200)
    alone = []
    for own in splits[:5]:  # the first repeat
        head = trainer.train(features, labels, np.stack([own, splits[0]]), [QUICK] * 2)[0][0]
        logits = head.logits(features)
        hit = np.array(head.labels)[logits.argmax(axis=1)] == labels
        mine = own == "validation"
        right[mine], train_right[own == "train"] = hit[mine], train_right[own == "train"] + hit[own == "train"]
        probabilities[mine] = softmax(logits)[mine]
        alone.append((hit[own == "train"].mean(), hit[mine].mean()))
    first = resampling.cross_validate(features, labels, splits[:5], QUICK)
    seen = split != "test"
    assert np.mean(first.hits[seen] == right[seen]) > 0.98 and np.isnan(first.hits[~seen]).all()
    assert np.mean(np.isclose(first.train_hits[seen], train_right[seen] / 4)) > 0.95
    assert first.probabilities[seen] == pytest.approx(probabilities[seen], abs=0.05)
    assert np.isnan(first.probabilities[~seen]).all() and first.labels == ["label 0", "label 1", "label 2"]
    assert first.members[["train accuracy", "validation accuracy"]].to_numpy() == pytest.approx(
        np.array(alone), abs=0.03
    )
    assert first.share_validation == pytest.approx(0.2, abs=0.01)
    assert (result.members["gap"] == result.members["train accuracy"] - result.members["validation accuracy"]).all()
    assert len(result.members) == 10

    monkeypatch.setattr(resampling, "_WEIGHTS_AT_ONCE", 6 * 3 * 5)  # five members at once
    parts = resampling.cross_validate(features, labels, splits, QUICK)
    assert np.allclose(parts.probabilities, result.probabilities, atol=1e-4, equal_nan=True)
    pd.testing.assert_frame_equal(parts.members, result.members, atol=0.02)


def test_what_is_solved_for_is_where_the_steps_come_to(monkeypatch):
    features, labels = blobs(spread=2)
    splits, settings = folds(labels, 10), heads.HeadSettings(1000, 0.1, weight_decay=0.3)
    assert solver.converges(settings)
    solved = resampling.cross_validate(features, labels, splits, settings)
    history = paths.train(features, labels, splits, settings).history
    assert len(set(history["step"])) == 11 and history["member"].nunique() == 10
    ended = history[history["step"] == 1000].pivot_table("cross_entropy", "member", "split")
    assert ended["validation"].to_numpy() == pytest.approx(solved.members["validation cross_entropy"], abs=0.02)
    monkeypatch.setattr(solver, "converges", lambda *given: False)
    stepped = resampling.cross_validate(features, labels, splits, settings)
    assert np.allclose(stepped.probabilities, solved.probabilities, atol=0.05)
    assert np.abs(stepped.hits - solved.hits).mean() < 0.04


def test_a_solved_stack_in_parts_is_the_same(monkeypatch):
    features, labels = blobs()
    splits, settings = folds(labels, 5), heads.HeadSettings(1000, 0.1, weight_decay=0.3)
    whole = resampling.cross_validate(features, labels, splits, settings)
    monkeypatch.setattr(solver, "_LOGITS_AT_ONCE", 2 * len(features) * 3)  # two at once
    parts = resampling.cross_validate(features, labels, splits, settings)
    assert np.allclose(parts.probabilities, whole.probabilities, atol=5e-3)
    mixed = resampling.shuffled(features, labels, splits, settings)  # labels of their own, in parts
    assert mixed.members["validation accuracy"].mean() < 0.6


def test_what_never_validates_is_not_known():
    features, labels = blobs(60)
    splits = np.full((2, 60), "train", dtype=object)
    splits[0, :20] = "validation"
    result = resampling.cross_validate(features, labels, splits, QUICK)
    assert np.isnan(result.hits[20:]).all() and not np.isnan(result.hits[:20]).any()
    assert np.isnan(result.members.loc[1, "validation accuracy"]) and result.members.loc[1, "train accuracy"] > 0.5


def test_test_images_take_no_part():
    features, labels = blobs()
    split = np.where(np.arange(200) % 4 == 0, "test", "train")
    splits = folds(labels, split=split)
    before = resampling.cross_validate(features, labels, splits, QUICK)
    features[split == "test"] = 1e6
    after = resampling.cross_validate(features, labels, splits, QUICK)
    assert np.array_equal(before.probabilities, after.probabilities, equal_nan=True)


def test_shuffled_labels_show_what_the_features_can_memorise():
    random = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 60)
    longer = heads.HeadSettings(1000, 0.05)
    for dim, memorised in ((300, 1.0), (2, 0.55)):
        features = random.standard_normal((120, dim)).astype(np.float32) + (labels == "a")[:, None]
        result = resampling.shuffled(features, labels, folds(labels), longer)
        ended = result.members.mean()
        assert ended["train accuracy"] == pytest.approx(memorised, abs=0.1)
        assert ended["validation accuracy"] == pytest.approx(0.5, abs=0.15)


def test_constant_features_and_a_label_with_one_image():
    labels = np.array(["a"] * 30 + ["b"] * 10 + ["c"])
    result = resampling.cross_validate(np.ones((41, 4), np.float32), labels, folds(labels, 10), QUICK)
    assert np.nanmean(result.hits) == pytest.approx(0.75) and np.isnan(result.hits[-1])
    assert result.train_hits[-1] == 0 and result.labels == ["a", "b", "c"]


def test_the_corrected_interval_has_known_values():
    values = np.array([0.80, 0.82, 0.84, 0.86, 0.88])
    deviation = values.std(ddof=1)
    low, high = resampling.corrected_interval(values, 0.2)
    assert (low + high) / 2 == pytest.approx(0.84)
    assert (high - low) / 2 == pytest.approx(2.776 * np.sqrt((1 / 5 + 1 / 4) * deviation**2), rel=1e-3)
    assert resampling.corrected_interval([*values, np.nan], 0.2) == pytest.approx((low, high))
    assert np.isnan(resampling.corrected_interval([0.8], 0.2)).all()
    assert resampling.corrected_interval([0.8, 0.8], 0.2) == pytest.approx((0.8, 0.8))


@pytest.mark.hard
def test_the_corrected_interval_of_re_splits_holds_the_truth():
    """Means over re-splits of the same images, against the accuracy on fresh ones: the plain interval misses often."""
    random = np.random.default_rng(0)
    held, plain = [], []
    labels = np.array(["a", "b"] * 40)
    quick = heads.HeadSettings(60, 0.1)
    centre = 0.45 * (labels == "a")[:, None]
    test = random.standard_normal((4000, 4)) + 0.45 * (np.arange(4000) % 2 == 0)[:, None]
    for seed in range(20):
        features = (random.standard_normal((80, 4)) + centre).astype(np.float32)
        splits = folds(labels, 10, seed)
        result = resampling.cross_validate(features, labels, splits, quick)
        values = result.members["validation accuracy"]
        trained, _ = trainer.train(features, labels, splits[:5], [quick] * 5, 60)
        truth = np.mean(
            [
                ((h.logits(test.astype(np.float32)).argmax(axis=1) == 0) == (np.arange(4000) % 2 == 0)).mean()
                for h in trained
            ]
        )
        low, high = resampling.corrected_interval(values, result.share_validation)
        held.append(low <= truth <= high)
        plain.append(abs(values.mean() - truth) <= 2.262 * values.std() / np.sqrt(10))
    assert np.mean(held) >= 0.85 and np.mean(plain) < np.mean(held)


def test_out_of_fold_predictions_are_those_of_one_head():
    features, labels = blobs(60)
    table = pd.DataFrame({"path": np.arange(60).astype(str), "label": labels, "split": "train"})
    splits = folds(labels, 10)
    splits[:, 0] = "train"  # never validates
    result = resampling.cross_validate(features, labels, splits, QUICK)
    judged = resampling.out_of_fold(result, table)
    assert judged["path"].tolist() == table["path"].tolist()[1:]
    assert np.array_equal(judged["label"], labels[1:]) and set(judged["split"]) == {"train"}
    assert softmax(np.stack(list(judged["logits"]))) == pytest.approx(result.once[1:], abs=1e-5)
    assert judged["probability"].to_numpy() == pytest.approx(result.once[1:].max(axis=1), abs=1e-5)
    right = (judged["label"] == judged["predicted"]).mean()
    assert right == pytest.approx(np.nanmean(result.hits), abs=0.05) and right > 0.8


def test_out_of_fold_predictions_of_nothing():
    features, labels = blobs(30)
    table = pd.DataFrame({"path": np.arange(30).astype(str), "label": labels, "split": "train"})
    result = resampling.cross_validate(features, labels, np.full((2, 30), "train", dtype=object), QUICK)
    judged = resampling.out_of_fold(result, table)
    assert judged.empty and "logits" in judged
