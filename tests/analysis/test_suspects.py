import numpy as np
import pandas as pd
import pytest

from retrainlab.analysis import suspects
from retrainlab.evaluation.calibration import softmax
from retrainlab.training import heads, trainer


def table(labels) -> pd.DataFrame:
    rows = [f"{row}.jpg" for row in range(len(labels))]
    return pd.DataFrame({"path": rows, "sha256": rows, "label": labels, "given": labels, "split": "train"})


def out_of_fold(features, labels, folds=5) -> np.ndarray:
    """Probabilities [n, labels] of heads that did not see the image: one stack, a fold left out of each."""
    fold = np.random.default_rng([0, 1]).permutation(len(features)) % folds
    split = np.array([np.where(fold == number, "validation", "train") for number in range(folds)], dtype=object)
    settings = heads.HeadSettings(how_many_training_steps=300, weight_decay=0.01)
    trained, _ = trainer.train(features, labels, split, [settings] * folds, eval_step_interval=300)
    probabilities = np.full((len(features), len(trained[0].labels)), np.nan)
    for number, head in enumerate(trained):
        probabilities[fold == number] = softmax(head.logits(features[fold == number]))
    return probabilities


@pytest.mark.parametrize(("count", "n", "apart"), [(2, 1000, 0.5), (10, 1000, 0.8), (120, 3600, 1.0)])
def test_planted_wrong_labels_are_found(count, n, apart):
    scores = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        true = random.permutation(n) % count
        features = random.normal(0, apart, (count, 64))[true] + random.normal(0, 1, (n, 64))
        wrong = random.random(n) < 0.1
        given = np.where(wrong, (true + random.integers(1, count, n)) % count, true)
        names = np.array([f"{number:03}" for number in range(count)])
        probabilities = out_of_fold(features.astype(np.float32), names[given])
        found = suspects.find(probabilities, table(names[given]), names)
        hit = wrong[found.index]
        right = found["suggested"].to_numpy()[hit] == names[true[found.index[hit]]]
        scores.append((hit.mean(), hit.sum() / wrong.sum(), right.mean()))
    precision, recall, suggestion = np.mean(scores, axis=0)
    assert precision >= 0.8 and recall >= 0.8 and suggestion >= 0.95, scores


def test_right_labels_are_not_suspected():
    random = np.random.default_rng(0)
    true = random.permutation(600) % 3
    features = (random.normal(0, 1, (3, 32))[true] + random.normal(0, 1, (600, 32))).astype(np.float32)
    labels = np.array(list("abc"))[true]
    assert len(suspects.find(out_of_fold(features, labels), table(labels), ["a", "b", "c"])) <= 3


def test_known_answer():
    """Self-confidence 0.8 of each label; the third image is confidently the other one, the fourth only a little."""
    chances = np.array([[0.95, 0.05]] * 8 + [[0.05, 0.95], [0.45, 0.55]] + [[0.05, 0.95]] * 10)
    labels = np.array(["a"] * 10 + ["b"] * 10)
    found = suspects.find(chances, table(labels), ["a", "b"])
    assert found.to_dict("records") == [
        {"path": "8.jpg", "sha256": "8.jpg", "label": "a", "given": "a", "suggested": "b", "probability": 0.05,
         "suggested probability": 0.95, "margin": pytest.approx(0.9)}
    ]  # fmt: skip


def test_rows_never_out_of_fold_and_foreign_labels_are_passed_over():
    chances = np.array([[0.95, 0.05]] * 8 + [[0.05, 0.95]] * 10)
    labels = np.array(["a"] * 9 + ["b"] * 9)  # row 8 is wrong
    chances[[0, 12]] = np.nan
    labels[1] = "c"
    assert suspects.find(chances, table(labels), ["a", "b"]).index.tolist() == [8]
    assert suspects.find(np.full((3, 2), np.nan), table(["a", "b", "a"]), ["a", "b"]).empty
    assert suspects.find(np.zeros((0, 2)), table([]), ["a", "b"]).empty


def test_a_label_of_one_image_raises_no_alarm():
    """Never seen in training, it is given next to no probability; that must not make others confident of it."""
    chances = np.full((41, 3), 0.02)
    chances[:20, 0] = chances[20:40, 1] = 0.96
    chances[40] = [0.5, 0.48, 0.02]
    found = suspects.find(chances, table(["a"] * 20 + ["b"] * 20 + ["c"]), ["a", "b", "c"])
    assert "c" not in set(found["suggested"])


def test_suspects_are_written_for_people(tmp_path):
    chances = np.array([[0.9, 0.1]] * 5 + [[0.0, 1.0]] * 5)
    found = suspects.find(chances, table(["a"] * 6 + ["b"] * 4), ["a", "b"])
    file = suspects.write(tmp_path, found)
    assert file.read_text().splitlines() == [
        "path,label,suggested,probability,suggested probability,margin", "5.jpg,a,b,0.0,1.0,1.0",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [file]
