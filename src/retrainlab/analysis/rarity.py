"""How is a classifier where some labels are rare? Accuracy does not say: it is nearly that of the common ones."""

from typing import Any

import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation import curves
from ..evaluation.finding import Finding, finding

_WEAKEST = 5  # curves that can be told apart in one figure


@finding("How rare labels do")
def rare_labels(rows: pd.DataFrame, labels: list[str]) -> Finding:
    """Figures that count every label alike, a row a label, and the curves of the weakest ones.

    Of two labels, the curve of the rarer one is drawn; of more, those of the five with the least average precision.

    Args:
        rows: of the predictions table, as of `judging.test_else_validation`.
        labels: in class order.
    """
    figures, table = curves.rank_figures(rows, labels), curves.label_curves(rows, labels)
    some = table[table["n"] > 0]
    if len(some) < 2:
        raise RetrainLabError(
            f"There are {len(rows):,} images, of {len(some)} labels. It takes images of two at least."
        )
    chosen = some.nsmallest(1, "n") if len(some) == 2 else some.nsmallest(_WEAKEST, "average_precision")
    shown = table.style.format(precision=3, na_rep="unknown")
    weakest, shares = chosen.iloc[0], dict(chosen["n"] / len(rows))
    said = {name: _say(figure) for name, figure in figures.items()}
    answers = "" if pd.isna(weakest["precision"]) else f", {weakest['precision']:.1%} of its answers are right"
    sentences = [
        f"Mean over {len(some)} labels, each counting alike: balanced accuracy {said['balanced_accuracy']}, the share "
        f"of a label's images that is found; F1 {said['macro_f1']}.",
        f"Matthews' coefficient {said['matthews']}: 0 is guessing, 1 is without mistakes.",
        f"Whatever the threshold: area under ROC {said['area_under_roc']}, where guessing has 0.5; under "
        f"precision-recall {said['average_precision']}, where guessing has {1 / len(some):.3f}.",
        f"{'Rarer' if len(some) == 2 else 'Weakest'} label: '{chosen.index[0]}', {int(weakest['n']):,} of "
        f"{len(rows):,} images. Its average precision is {weakest['average_precision']:.3f}, where guessing has "
        f"{shares[chosen.index[0]]:.3f}; {weakest['recall']:.1%} of its images are found{answers}.",
    ]

    def draw() -> Any:
        points = {label: curves.operating_points(rows, labels, label) for label in chosen.index}
        return plots.rank_curves(points, shares)

    return Finding("How rare labels do", "\n".join(sentences), numbers=figures, table=shown, draw=draw)


def _say(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} [{low:.3f}, {high:.3f}]"
