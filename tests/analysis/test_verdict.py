import pytest

from retrainlab.analysis.verdict import LARGE_GAP, RULES, SMALL_GAP, applied, judge


def change(accuracy, low, high):
    return {"accuracy": accuracy, "interval": [low, high]}


def evidence(gap=None, **more) -> dict:
    return more if gap is None else {"gap": gap} | more


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        (evidence(change(0.40, 0.35, 0.45)), "overfits"),
        (evidence(change(0.03, SMALL_GAP + 0.001, 0.04)), "overfits"),
        (evidence(change(0.03, SMALL_GAP - 0.001, LARGE_GAP)), "fits"),
        (evidence(change(0.03, -0.02, LARGE_GAP + 0.001)), "too few images to tell"),
        (evidence(change(-0.03, -0.05, -0.01)), "fits"),
        (evidence(None), "too few images to tell"),
        (evidence(change(None, 0, 0)), "too few images to tell"),
        # what else was found comes before the gap, by its rule
        (evidence(change(0.4, 0.3, 0.5), leaking=0.2, price=change(0.1, 0.05, 0.15)), "leaks"),
        (evidence(change(0.4, 0.3, 0.5), leaking=0.2, price=change(0.1, -0.01, 0.2)), "overfits"),
        (evidence(change(0.4, 0.3, 0.5), leaking=0.005, price=change(0.1, 0.05, 0.2)), "overfits"),
        # what near-duplicates are worth is unknown
        (evidence(change(0.0, -0.01, 0.01), leaking=0.01), "too few images to tell"),
        (evidence(change(0.0, -0.01, 0.01), leaking=0.2, price=change(None, 0, 0)), "too few images to tell"),
        (evidence(change(0.0, -0.01, 0.01), leaking=0.009), "fits"),
        (evidence(change(0.0, -0.01, 0.01), leaking=0.2, price=change(0.0, -0.01, 0.01)), "fits"),
        (evidence(change(0.4, 0.3, 0.5), leaking=0.2), "overfits"),
        (evidence(change(0.0, -0.01, 0.01), settings=change(0.1, 0.05, 0.15), settings_train=0.1), "underfits"),
        (evidence(change(0.0, -0.01, 0.01), settings=change(0.1, -0.05, 0.15), settings_train=0.1), "fits"),
        (evidence(change(0.4, 0.3, 0.5), settings=change(0.1, 0.05, 0.15), settings_train=-0.1), "overfits"),
    ],
)
def test_the_rules(numbers, verdict):
    given = judge(numbers)
    assert given.name == verdict and given.sentence.endswith(".")
    assert f"**{verdict}**" in RULES


def test_the_sentences_carry_the_numbers():
    assert "+40.0 points [30.0, 50.0]" in judge(evidence(change(0.4, 0.3, 0.5))).sentence
    leak = judge(evidence(change(0.1, 0.05, 0.2), leaking=0.125, price=change(0.07, 0.02, 0.11)))
    assert "12.5% of the validation images" in leak.sentence and "+7.0 points [2.0, 11.0]" in leak.sentence


def test_what_the_rules_were_applied_to_is_said():
    numbers = evidence(change(0.1, 0.05, 0.2), leaking=0.125, price=change(0.07, 0.02, 0.11),
                       settings=change(0.01, -0.02, 0.04), settings_train=-0.03,
                       learnt=change(0.3, 0.2, 0.4))  # fmt: skip
    said = applied(numbers, judge(numbers)).splitlines()
    assert said[2:] == [
        "- Rule 1: 12.5% of the validation images have a near-duplicate in training; they change accuracy by "
        "+7.0 points [2.0, 11.0].",
        "- Rule 2: other settings change validation accuracy by +1.0 points [-2.0, 4.0] and training accuracy by "
        "-3.0 points.",
        "- Rules 3 and 4: the gap is +10.0 points [5.0, 20.0].",
        "- Rule 4: new images are labelled better than by the most common label by +30.0 points [20.0, 40.0].",
        "- So the verdict is **leaks**.",
    ]
    assert applied({"leaking": 0.125}, judge({})).splitlines()[2] == (
        "- Rule 1: 12.5% of the validation images have a near-duplicate in training; what they change is unknown."
    )
    assert applied({}, judge({})).splitlines()[2:] == [
        "- Rule 1: 0.0% of the validation images have a near-duplicate in training.",
        "- So the verdict is **too few images to tell**.",
    ]
