"""How many heads an analysis may train, so that it takes about as long as a person wants to wait."""

from dataclasses import dataclass

from ..errors import RetrainLabError
from ..training import solver
from ..training.heads import HeadSettings

_WEIGHT_DECAYS = [0.0, 0.001, 0.01, 0.1, 1.0]
_FURTHER = 10  # times the learning rate as it is: tells whether training stops too early, and fewer steps the rest
# Re-splits of each part.
_FULL = {"resplits": 50, "stepped": 10, "shuffled": 10, "folds": 5, "curve": 10, "grouped": 50}
_LEAST = {"resplits": 5, "stepped": 5, "shuffled": 2, "folds": 2, "curve": 5, "grouped": 5}
_SIZES = 5  # of the learning curve
_SOLVED = 0.4  # of the time that steps take, what solving for their end takes where it can be
_JUDGED = 10_000_000  # images times re-splits, at most
_SPEED, _STEP = 1e11, 1e-3  # multiply-adds a second of two cores, and seconds that starting a step takes


@dataclass(frozen=True)
class Plan:
    """How many heads each part of the analysis trains.

    Attributes:
        resplits: re-splits for the gap; stepped: those that are looked at step by step; shuffled: those that are
            repeated with shuffled labels; folds: those that settings are tried on; curve: those that the learning
            curve is measured on; grouped: those that keep near-duplicates together.
        weight_decays, learning_rates: to try.
        sentence: what was left out, and why.
    """

    resplits: int
    stepped: int
    shuffled: int
    folds: int
    curve: int
    grouped: int
    weight_decays: list[float]
    learning_rates: list[float]
    sentence: str


def plan(minutes: float, settings: HeadSettings, dim: int, labels: int, images: int = 0) -> Plan:
    """Decide how much to try, so that it takes about `minutes` on two cores.

    The estimate counts multiply-adds and looks at no clock, so that the same budget gives the same numbers anywhere.
    Very many `images` narrow intervals by themselves, and judging all of them is what takes time and memory then.

    Raises:
        RetrainLabError: minutes is not above 0.
    """
    if not minutes > 0:
        raise RetrainLabError(f"budget_minutes is {minutes:g}. Expected minutes, above 0.")
    decays = sorted({*_WEIGHT_DECAYS, settings.weight_decay})
    ends = solver.converges(settings, images)
    solved = _SOLVED if ends else 1.0
    full = {name: min(count, max(_LEAST[name], _JUDGED // max(images, 1))) for name, count in _FULL.items()}
    shares = {"folds": len(decays), "stepped": 1, "curve": _SIZES * solved}
    trained = {name: count * shares.get(name, solved) for name, count in full.items()}
    width = settings.hidden_units * (1 + labels / dim) if settings.hidden_units else labels
    step = 4 * settings.train_batch_size * dim * width / _SPEED
    fixed = settings.how_many_training_steps * _STEP * (1 if ends else 3 + 2 * _SIZES)
    whole = fixed + settings.how_many_training_steps * step * sum(trained.values())
    share = min(1.0, max(0.0, (60 * minutes - fixed) / (whole - fixed)))
    counts = {name: max(_LEAST[name], int(count * share)) for name, count in full.items()}
    needed = "a minute" if whole < 90 else f"{whole / 60:.0f} minutes"
    said = f"No layer is left out: about {needed} of the budget's {minutes:g} minutes are needed."
    if counts != full:
        now = counts
        said = (
            f"Everything would take about {needed} on two cores; the budget is {minutes:g} minutes. So there "
            f"are {now['resplits']} re-splits instead of {full['resplits']}, {now['stepped']} of them by step "
            f"instead of {full['stepped']}, {now['shuffled']} with shuffled labels instead of {full['shuffled']}, "
            f"settings are tried on {now['folds']} folds instead of {full['folds']}, "
            f"the learning curve is measured on {now['curve']} instead of {full['curve']}, and the price of "
            f"near-duplicates on {now['grouped']} instead of {full['grouped']}. Intervals are wider for it."
        )
    if full != _FULL:
        said = f"Of {images:,} images, {full['resplits']} re-splits are enough, and are the most. {said}"
    return Plan(**counts, weight_decays=decays, learning_rates=[_FURTHER * settings.learning_rate], sentence=said)
