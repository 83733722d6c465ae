import pytest

from retrainlab.overfitting import LARGE_GAP, RULES, SMALL_GAP, Evidence, advise, judge


def change(accuracy, low, high):
    return {"accuracy": accuracy, "interval": [low, high]}


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(change(0.40, 0.35, 0.45)), "overfits"),
        (Evidence(change(0.03, SMALL_GAP + 0.001, 0.04)), "overfits"),
        (Evidence(change(0.03, SMALL_GAP - 0.001, LARGE_GAP)), "fits"),
        (Evidence(change(0.03, -0.02, LARGE_GAP + 0.001)), "too few images to tell"),
        (Evidence(change(-0.03, -0.05, -0.01)), "fits"),
        (Evidence(None), "too few images to tell"),
        (Evidence(change(None, 0, 0)), "too few images to tell"),
        # what else was found comes before the gap, by its rule
        (Evidence(change(0.4, 0.3, 0.5), leaking=0.2, price=change(0.1, 0.05, 0.15)), "leaks"),
        (Evidence(change(0.4, 0.3, 0.5), leaking=0.2, price=change(0.1, -0.01, 0.2)), "overfits"),
        (Evidence(change(0.4, 0.3, 0.5), leaking=0.005, price=change(0.1, 0.05, 0.2)), "overfits"),
        (Evidence(change(0.0, -0.01, 0.01), settings=change(0.1, 0.05, 0.15), settings_train=0.1), "underfits"),
        (Evidence(change(0.0, -0.01, 0.01), settings=change(0.1, -0.05, 0.15), settings_train=0.1), "fits"),
        (Evidence(change(0.4, 0.3, 0.5), settings=change(0.1, 0.05, 0.15), settings_train=-0.1), "overfits"),
    ],
)
def test_the_rules(evidence, verdict):
    found = judge(evidence)
    assert found.name == verdict and found.sentence.endswith(".")
    assert f"**{verdict}**" in RULES


def test_the_sentences_carry_the_numbers():
    assert "+40.0 points [30.0, 50.0]" in judge(Evidence(change(0.4, 0.3, 0.5))).sentence
    leak = judge(Evidence(change(0.1, 0.05, 0.2), leaking=0.125, price=change(0.07, 0.02, 0.11)))
    assert "12.5% of the validation images" in leak.sentence and "+7.0 points [2.0, 11.0]" in leak.sentence


def test_advice_is_ranked_by_what_was_measured():
    gains = {
        "weight decay 0.1": change(0.019, 0.006, 0.031),
        "fewer steps": change(0.001, -0.01, 0.012),
        "twice the images": change(0.03, 0.01, 0.05),
        "smoothing": change(-0.02, -0.03, -0.01),
        "not measured": None,
        "without images": change(None, 0, 0),
    }
    assert advise(gains) == [
        "twice the images: validation accuracy +3.0 points [1.0, 5.0].",
        "weight decay 0.1: validation accuracy +1.9 points [0.6, 3.1].",
        "fewer steps: validation accuracy +0.1 points [-1.0, 1.2]; not beyond chance.",
        "smoothing: validation accuracy -2.0 points [-3.0, -1.0]; it would make things worse.",
    ]
