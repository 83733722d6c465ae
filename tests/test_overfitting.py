import pandas as pd
import pytest

from retrainlab import overfitting


def gap(accuracy, low, high, n=100):
    return {"gap": {"accuracy": accuracy, "interval": [low, high]}, "validation": {"n": n}}


@pytest.mark.parametrize(
    ("metrics", "name", "said"),
    [
        (gap(0.1, 0.05, 0.15), "overfits", "It overfits: train minus validation accuracy is +10.0 points [5.0, 15.0]"),
        (
            gap(0.02, -0.01, 0.06),
            "fits",
            "with 100 validation images the true gap could be anywhere from -1.0 to 6.0.",
        ),
        (gap(-0.1, -0.2, -0.01), "fits", "the validation images are the easier ones"),
        ({"gap": {"accuracy": None, "interval": None}}, "unknown", "no validation images"),
    ],
)
def test_the_verdict_follows_the_interval(metrics, name, said):
    verdict = overfitting.verdict(metrics)
    assert verdict.name == name and said in verdict.sentence


def curve(values):
    return pd.DataFrame({"step": range(0, 100 * len(values), 100), "split": "validation", "cross_entropy": values})


def test_the_turning_point():
    up = overfitting.turning_point(curve([1.0, 0.5, 0.4, 0.6]))
    assert up.step == 200 and "rose to 0.600 by step 300" in up.sentence
    flat = overfitting.turning_point(curve([1.0, 0.5, 0.4, 0.405]))
    assert flat.step == 200 and "did not turn up" in flat.sentence
    assert overfitting.turning_point(curve([1.0, 0.5]).assign(split="train")).step is None
