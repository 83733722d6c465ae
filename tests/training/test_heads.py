import numpy as np
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.training import heads


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"how_many_training_steps": 0}, "how_many_training_steps is 0. Expected a whole number from 1 up"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"train_batch_size": 2_000_000_000}, "Expected a whole number from 1 to 100,000"),
        ({"hidden_units": 10**9}, "Expected a whole number from 0 to 100,000"),
        ({"optimizer": "magic"}, "Expected adam or sgd"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"class_weight": "auto"}, "Expected none or balanced"),
    ],
)
def test_impossible_settings(wrong, said):
    with pytest.raises(RetrainLabError, match=said):
        heads.HeadSettings(**wrong)


def test_a_list_of_nothing_is_no_choice():
    with pytest.raises(RetrainLabError, match="weight_decay is an empty list"):
        heads.HeadSettings().vary(weight_decay=[])


@pytest.mark.parametrize("hidden", [False, True])
def test_a_cooled_head_gives_the_same_answers_with_other_probabilities(hidden):
    random = np.random.default_rng(0)
    first = (random.normal(0, 1, (6, 4)).astype(np.float32), random.normal(0, 1, 4).astype(np.float32))
    kernel, bias = random.normal(0, 1, (4, 3)).astype(np.float32), random.normal(0, 1, 3).astype(np.float32)
    head = heads.Head(["a", "b", "c"], heads.HeadSettings(), kernel, bias, first if hidden else None)
    features = random.normal(0, 1, (50, 6 if hidden else 4)).astype(np.float32)
    cooled = head.calibrated(2.5)
    assert cooled.logits(features) == pytest.approx(head.logits(features) / 2.5, abs=1e-5)
    assert cooled.kernel.dtype == cooled.bias.dtype == np.float32 and head.kernel is kernel
