"""What could be done, ranked by what it gained where it was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..escaping import markdown as as_text
from ..evaluation.intervals import points
from .regularisation import describe
from .verdict import known


def candidates(numbers: Mapping[str, Any]) -> dict[str, Mapping[str, Any] | None]:
    """Name what could be done, each with its change of validation accuracy; what would change nothing is left out.

    `numbers`: those of `regularisation` and of the power law, by name; what could not be measured is missing.
    """
    gains = {}
    if "chosen" in numbers and _others(numbers["chosen"]) != _others(numbers["current"]):
        gains[f"Other settings ({describe(numbers['chosen'])})"] = numbers["settings"]
    if "stopping" in numbers and numbers["stopping_step"] < numbers["last_step"]:
        gains[f"Stopping at step {numbers['stopping_step']:,}, with the settings as they are"] = numbers["stopping"]
    gains |= numbers.get("readings", {}) | numbers.get("tuning", {})
    return gains | {"Twice the training images (extrapolated from fewer, not tried)": numbers.get("more_images")}


def _others(settings: Mapping[str, float]) -> dict[str, float]:
    """Leave out the steps: of fewer of those alone, `stopping` tells."""
    return {name: value for name, value in settings.items() if name != "how_many_training_steps"}


def rank(gains: Mapping[str, Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """Rank what could be done by what it gained: the surest gain first, by the lower end of its interval.

    Args:
        gains: what to do -> the change of validation accuracy, {"accuracy", "interval"}; None or without an accuracy
            where it could not be measured: such are left out.

    Returns:
        {"what", "accuracy", "interval", "sentence"} each.
    """
    measured = {what: gain for what, gain in gains.items() if known(gain)}
    ranked = sorted(measured.items(), key=lambda item: -item[1]["interval"][0])  # type: ignore[index]
    return [{"what": what} | dict(gain or {}) | {"sentence": _sentence(what, gain or {})} for what, gain in ranked]


def _sentence(what: str, gain: Mapping[str, Any]) -> str:
    _, low, high = _shown(gain)
    sure = "" if low > 0 else "; it would make things worse" if high < 0 else "; not beyond chance"
    return f"{what}: validation accuracy {points(gain)}{sure}."


def to_try(advice: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Keep what is likelier to help than not."""
    return [each for each in advice if _shown(each)[0] > 0]


def _shown(gain: Mapping[str, Any]) -> list[float]:
    """Value, low and high of a difference in points, as `points` shows them."""
    return [round(100 * value, 1) for value in (gain["accuracy"], *gain["interval"])]


def markdown(sentence: str, advice: Sequence[Mapping[str, Any]], baseline: str = "", doubtful: int = 0) -> str:
    """Say a verdict and what would help, in Markdown, for the top of a page.

    Args:
        sentence: of the verdict.
        advice: of `rank`.
        baseline: what guessing would give, and the weakest label; labels are what people call them, and no markup.
        doubtful: labels that are in doubt; what mending them would bring is known only afterwards.
    """
    said, likely = [f"**{as_text(sentence)}** {as_text(baseline)}".strip(), ""], to_try(advice)
    if advice and not any(_shown(each)[1] > 0 for each in advice):
        said += ["Nothing that was looked into is shown to help.", ""]
    if likely:
        said += ["To try next, the surest gain in accuracy first (by the lower end of its interval):", ""]
        said += [*(f"1. {as_text(each['sentence'])}" for each in likely), ""]
    if len(likely) < len(advice):
        said += ["Looked into, and no help:", ""]
        said += [*(f"- {as_text(each['sentence'])}" for each in advice if each not in likely), ""]
    if doubtful:
        said.append(
            f"At most {doubtful:,} labels are in doubt: mistakes on images that are hard to tell count as well."
        )
    return "\n".join(said)
