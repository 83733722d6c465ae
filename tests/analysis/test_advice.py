from test_verdict import change

from retrainlab.analysis import advice


def test_advice_is_ranked_by_what_was_measured():
    gains = {
        "weight decay 0.1": change(0.019, 0.006, 0.031),
        "fewer steps": change(0.001, -0.01, 0.012),
        "twice the images": change(0.03, 0.01, 0.05),
        "smoothing": change(-0.02, -0.03, -0.01),
        "not measured": None,
        "without images": change(None, 0, 0),
        "cannot be told": change(0.1, float("nan"), float("nan")),
    }
    ranked = advice.rank(gains)
    assert [each["sentence"] for each in ranked] == [
        "twice the images: validation accuracy +3.0 points [1.0, 5.0].",
        "weight decay 0.1: validation accuracy +1.9 points [0.6, 3.1].",
        "fewer steps: validation accuracy +0.1 points [-1.0, 1.2]; not beyond chance.",
        "smoothing: validation accuracy -2.0 points [-3.0, -1.0]; it would make things worse.",
    ]
    assert advice.to_try(ranked) == ranked[:3]
    assert ranked[0] == {"what": "twice the images", "sentence": ranked[0]["sentence"]} | gains["twice the images"]


def test_what_gains_nothing_is_no_advice():
    nothing = {"a": change(0.0, 0.0, 0.0), "b": change(0.0004, -0.01, 0.01), "c": change(-0.01, -0.02, 0.01)}
    assert advice.to_try(advice.rank(nothing)) == [] and len(advice.rank(nothing)) == 3
    unsure = advice.rank({"a": change(0.01, 0.0004, 0.02)})  # 0.0 as it is shown
    assert unsure[0]["sentence"].endswith("[0.0, 2.0]; not beyond chance.") and advice.to_try(unsure)
    assert advice.rank({}) == []


NOW = {"weight_decay": 0.0, "learning_rate": 0.01, "how_many_training_steps": 4000}
THEN = {"weight_decay": 0.1, "learning_rate": 0.01, "how_many_training_steps": 500}
GAIN = {"accuracy": 0.019, "interval": [0.006, 0.031]}


def test_what_could_be_done_is_named():
    settings = {"settings": GAIN, "current": NOW, "chosen": THEN}
    stopping = {"stopping": GAIN, "stopping_step": 100, "last_step": 200}
    assert {what for what, gain in advice.candidates(settings | stopping | {"more_images": GAIN}).items() if gain} == {
        "Other settings (weight_decay 0.1, learning_rate 0.01, how_many_training_steps 500)",
        "Stopping at step 100, with the settings as they are",
        "Twice the training images (extrapolated from fewer, not tried)",
    }


def test_what_would_change_nothing_or_was_not_measured_is_left_out():
    settings = {"settings": GAIN, "current": NOW, "chosen": NOW}
    stopping = {"stopping": GAIN, "stopping_step": 200, "last_step": 200}
    assert advice.rank(advice.candidates(settings | stopping)) == advice.rank(advice.candidates({})) == []


def test_the_verdict_stands_above_what_was_tried():
    assert advice.markdown("It fits.", []).strip() == "**It fits.**"
    assert (
        advice.markdown("It fits.", [], "Weakest: 'bri<b>ck'.").strip() == "**It fits.** Weakest: 'bri&#60;b&#62;ck'."
    )
    helps, may, not_at_all = (change(0.01, low, 0.02) for low in (0.005, -0.01, -0.5))
    not_at_all["accuracy"] = -0.01
    whole = advice.rank({"this": helps, "that": may, "other": not_at_all})
    lines = advice.markdown("It fits.", whole, "Guessing gives 50.0%.", doubtful=1234).splitlines()
    assert lines[0] == "**It fits.** Guessing gives 50.0%."
    assert [line[:7] for line in lines[4:6]] == ["1. this", "1. that"]
    assert lines[7:9] == ["Looked into, and no help:", ""] and lines[9].startswith("- other: ")
    assert lines[-1].startswith("At most 1,234 labels are in doubt")
    plain = advice.markdown("It fits.", whole)
    assert "in doubt" not in plain and "shown to help" not in plain
    unsure = advice.markdown("It fits.", advice.rank({"that": may}))
    assert "Nothing that was looked into is shown to help." in unsure and "no help:" not in unsure
    assert "To try next" not in advice.markdown("It fits.", advice.rank({"other": not_at_all}))
