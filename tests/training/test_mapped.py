"""What learns from a matrix that is a mapped file learns what it would from one in memory."""

import numpy as np

from retrainlab import files
from retrainlab.analysis import resampling
from retrainlab.training import trainer
from retrainlab.training.heads import HeadSettings


def test_mapped_or_in_memory_the_heads_are_the_same(monkeypatch):
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, 600)
    features = (random.normal(0, 1, (600, 20)) + classes[:, None] * np.arange(20) / 20).astype(np.float32)
    labels = np.array(list("abc"), dtype=object)[classes]
    split = np.where(np.arange(600) % 5 == 0, "validation", "train").astype(object)
    folds = resampling.repeated_folds(labels, np.arange(600), split, 5)
    settings = HeadSettings(how_many_training_steps=50)

    def made():
        (head,), history = trainer.train(features, labels, split, [settings], 25)
        return head.kernel, history, resampling.cross_validate(features, labels, folds, settings).hits

    kernel, history, hits = made()
    monkeypatch.setattr(files, "_IN_MEMORY", 0)
    monkeypatch.setattr(files, "BLOCK", 700)
    monkeypatch.setattr(resampling, "_JUDGED_AT_ONCE", 1300)  # stacks of two
    mapped, again, judged = made()
    assert np.allclose(mapped, kernel, atol=1e-4) and np.allclose(again["accuracy"], history["accuracy"])
    assert np.mean(judged == hits) > 0.99
