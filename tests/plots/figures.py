"""What tests of figures share."""

import numpy as np
import pandas as pd

from retrainlab.evaluation import scores


def fake_predictions(labels: list[str], n=400, seed=0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    classes = random.integers(0, len(labels), n)
    logits = random.normal(0, 1, (n, len(labels))).astype(np.float32)
    logits[np.arange(n), classes] += 2
    table = pd.DataFrame({"path": "x", "label": np.array(labels, dtype=object)[classes],
                          "split": random.choice(["train", "validation", "test"], n)})  # fmt: skip
    return scores.predictions(table, logits, labels)


def inside(figure) -> bool:
    """Is all that is drawn, names and legends too, within the figure's bounds (to a pixel)?"""
    figure.canvas.draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) > -0.02


def titles(axes) -> list[str]:
    return [ax.get_title(loc="center") for ax in axes.flat if ax.images]
