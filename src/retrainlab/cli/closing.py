"""What a report says at its end: of what it ran, and where the pages are."""

from collections.abc import Collection, Iterator
from contextlib import suppress

from ..errors import RetrainLabError
from ..evaluation.intervals import percent
from ..evaluation.scores import SPLITS
from ..images import overview
from ..runs import listing
from ..runs.run_folder import Run


def lines(run: Run, ran: Collection[str]) -> Iterator[str]:
    """Say what notebooks have found: figures, verdict, first advice, and what to know of the images.

    Args:
        ran: the notebooks, such as 03_retrain, that ran just now or were found done: of others, what is there is older.
    """
    numbers, info, metrics = {name[:2] for name in ran}, run.info(), run.metrics()
    if metrics and "03" in numbers:
        yield from (f"  {split + ' accuracy':20} {percent(metrics[split])}" for split in SPLITS)
        threshold = metrics.get("threshold", {})
        if said := listing.say_threshold(threshold) or threshold.get("untold"):
            yield f"  {said}"
    if info.get("extraction") and numbers & {"02", "03"}:
        yield f"  {info['extraction']}"
    if numbers & {"01", "02", "03"}:
        yield from (f"  {said}" for said in [*info.get("dataset", {}).get("said", []), *_notes(run)])
    if metrics.get("overfitting") and "04" in numbers:
        yield f"Verdict: {metrics['overfitting']['sentence']}"
        if advice := listing.most_promising(metrics):
            yield f"Most promising: {advice}"


def _notes(run: Run) -> list[str]:
    """Say what was left out, and what must be mended; nothing of a run without images."""
    with suppress(RetrainLabError):
        return overview.notes(run.read_table("images"))
    return []
