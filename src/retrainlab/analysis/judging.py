"""How good is a classifier on images that took no part in making it? All splits together, and label by label."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation import calibration, intervals, scores
from ..evaluation.finding import Finding, finding

_SUREST = 3  # mistakes to name


def test_else_validation(predicted: pd.DataFrame) -> pd.DataFrame:
    """Keep the test images of a predictions table, or, if there are none, the validation images."""
    test = predicted[predicted["split"] == "test"]
    return test if len(test) else predicted[predicted["split"] == "validation"]


@finding("How good it is")
def accuracies(metrics: Mapping[str, Any], card: Mapping[str, Any]) -> Finding:
    """Accuracy of the three splits, with lines where others published theirs.

    Args:
        metrics: as of `scores.summarise`.
        card: what is known of a public dataset; empty for folders of one's own.
    """
    table = scores.accuracy_table(metrics).style.format(precision=3)
    return Finding("How good it is", table=table, draw=lambda: plots.accuracies(metrics, card.get("published")))


def whose_figures(metrics: Mapping[str, Any], learnt: int) -> Finding:
    """Which head the figures of a run belong to, where the exported one is another than validation chose.

    Args:
        metrics: as `Lab.write_results` writes them.
        learnt: how many images the exported head has learnt from.
    """
    said = ""
    if metrics.get("refit"):
        said = (
            f"What is exported has learnt from all {learnt:,} images of training and validation, with the settings "
            f"that validation chose{', and the test figures are its own' if metrics['test']['n'] else ''}. The train "
            "and validation figures are those of the one before, which had not learnt from the validation images."
        )
    return Finding("Whose figures these are", said)


def fine_tuning(history: pd.DataFrame, tuning: Mapping[str, Any], said: str) -> Finding:
    """How fine-tuning went, by epoch; why it was not kept, or nothing, where the network is as it came.

    Args:
        history: of the classifier; tuning and said: likewise.
    """
    if not tuning["fine_tune_from"]:
        return Finding("How fine-tuning went", said)
    table = history.pivot_table(["accuracy", "cross_entropy"], "step", "split")
    table.columns = [f"{split} {quantity}" for quantity, split in table.columns]
    shown = table.rename_axis("epoch").style.format(precision=3)

    def draw() -> Any:
        axes = plots.curves(history, "cross_entropy")
        axes.set_xlabel("epoch")
        return axes

    return Finding("How fine-tuning went", said, table=shown, draw=draw)


def published(card: Mapping[str, Any]) -> Finding:
    """What others published for a public dataset, its licence and whom to cite; nothing for folders of one's own."""
    said = []
    if "published" in card:
        said.append(f"Published for these images ({card['protocol']}):")
        said += [f"{method}: {accuracy:.2%}" for method, accuracy in card["published"].items()]
    if card:
        said.append(f"Images: {card['licence']}. Cite: {'; '.join(card['cite'])}")
    if "caveat" in card:
        said.append(f"Mind: {card['caveat']}")
    return Finding("What others published", "\n".join(said))


@finding("How each label does")
def per_label(rows: pd.DataFrame, labels: list[str]) -> Finding:
    """Both ways of being wrong, label by label. `rows`: of the predictions table, as of `test_else_validation`."""
    found, table = scores.both_ways(_some(rows), labels), scores.per_label(rows, labels)
    shown = pd.DataFrame(
        {
            "images": found["n"],
            "found": [intervals.share(each) for each in found[["found", "low", "high"]].to_numpy()],
            "answers": found["said"],
            "right when said": found["right when said"].map("{:.1%}".format, na_action="ignore").fillna("never said"),
            "F1": found["F1"].map("{:.2f}".format),
            "mostly taken for": found["taken for"],
        }
    )
    return Finding("How each label does", table=shown, draw=lambda: plots.per_label(table))


@finding("What is confused with what")
def confusion(rows: pd.DataFrame, labels: list[str]) -> Finding:
    """The confusion matrix. `rows`: as of `test_else_validation`."""
    counts = scores.confusion(_some(rows), labels)
    return Finding("What is confused with what", draw=lambda: plots.confusion(counts))


@finding("How honest its probabilities are")
def reliability(rows: pd.DataFrame, labels: list[str], temperature: float) -> Finding:
    """Stated probability against accuracy, and the expected calibration error before and after temperature scaling."""
    table = calibration.reliability(_some(rows))
    before = scores.predictions(rows, np.stack(list(rows["logits"])) * temperature, labels)
    was, error = (100 * calibration.expected_calibration_error(each) for each in (before, rows))
    said = (
        f"Expected calibration error: stated probability and accuracy differ by {error:.1f} points "
        f"({was:.1f} before temperature scaling)."
    )
    numbers = {"expected_calibration_error": error / 100}
    return Finding("How honest its probabilities are", said, numbers=numbers, draw=lambda: plots.reliability(table))


def say_temperature(value: float) -> Finding:
    """What calibrating on validation did: below 1 the layer was not sure enough, above 1 too sure."""
    said = "the layer was too sure." if value > 1 else "it was not too sure."
    return Finding("How sure it is", f"Temperature {value:.2f}: {said}", numbers={"temperature": value})


def conclude(metrics: Mapping[str, Any], rows: pd.DataFrame, labels: list[str]) -> Finding:
    """Test accuracy, what it hides, the surest mistakes, the gap. `rows`: as of `test_else_validation`."""
    wrong = rows[rows["label"] != rows["predicted"]].nlargest(_SUREST, "probability")
    named = [f"{each.path} (taken for '{each.predicted}' with {each.probability:.0%})" for each in wrong.itertuples()]
    said = [
        f"Test accuracy {intervals.percent(metrics['test'])}.",
        scores.baseline(rows, labels) if len(rows) else "",
        f"Surest mistakes: {', '.join(named)}." if named else "",
        f"Train minus validation accuracy: {intervals.points(metrics['gap'])}.",
    ]
    return Finding("What was found", "\n".join(filter(None, said)), numbers={"gap": metrics["gap"]})


def _some(rows: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        raise RetrainLabError("There are neither test nor validation images.")
    return rows
