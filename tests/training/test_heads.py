import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.training import heads


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"how_many_training_steps": 0}, "how_many_training_steps is 0. Expected a whole number from 1 up"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"optimizer": "magic"}, "Expected adam or sgd"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"class_weight": "auto"}, "Expected none or balanced"),
    ],
)
def test_impossible_settings(wrong, said):
    with pytest.raises(RetrainLabError, match=said):
        heads.HeadSettings(**wrong)
