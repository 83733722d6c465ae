"""What would the same settings have given otherwise: without the distortions, without the decisions on labels?"""

import numpy as np
import pandas as pd

from .. import plots
from ..bottlenecks.features import Features
from ..evaluation import scores
from ..evaluation.finding import Finding, finding
from ..evaluation.intervals import paired_difference, points
from ..images import relabeling
from ..pixels.distortions import Distortion
from ..training.heads import Head
from ..training.study import Study


@finding("Whether the distortions help")
def without_distortions(study: Study, head: Head, apart: bool, seed: int = 0) -> Finding:
    """Train once more without distortions, and compare validation accuracy, paired image by image.

    Args:
        head: what the study's settings came to.
        apart: also train with each distortion alone; its variants are computed where they are missing.
    """
    features, question = study.features, "Whether the distortions help"
    if not features.distortion.active:
        return Finding(question)
    alone = features.distortion.apart() if apart else {}
    rivals = {name: features.distorted(each) for name, each in alone.items()}
    without = _right(study.train(features.distorted(Distortion()))[0], features)
    right = {"together": _right(head, features)}
    right |= {name: _right(study.train(rival)[0], features) for name, rival in rivals.items()}
    changes = {name: paired_difference(hits, without, seed) for name, hits in right.items()}
    said = [str(done) for rival in rivals.values() for done in rival.extractions]
    n = len(without)
    said += [f"{name}: validation accuracy {points(change)}, n = {n:,}." for name, change in changes.items()]
    title = "Change of validation accuracy by distortions"
    return Finding(question, "\n".join(said), numbers=changes, draw=lambda: plots.differences(changes, title))


@finding("Whether the decisions on labels help")
def without_decisions(study: Study, head: Head, given: pd.DataFrame, decided: pd.DataFrame, seed: int = 0) -> Finding:
    """Train once more on the labels that the folders give; both are judged under the labels as they are decided now.

    Args:
        head: what the study's settings came to, on the labels as decided.
        given: the images table as the folders label it.
        decided: the decisions, as of `relabeling.read`.
    """
    question = "Whether the decisions on labels help"
    said = relabeling.notes(given, decided)
    if decided.empty:
        return Finding(question)
    untaught, _ = study.train(study.features.of(given))
    was, now = (_right(one, study.features) for one in (untaught, head))
    change = paired_difference(now, was, seed)
    said.append(f"They change validation accuracy by {points(change)}, n = {len(now):,}.")
    return Finding(question, "\n".join(said), numbers={"decisions": change})


def _right(head: Head, features: Features) -> np.ndarray:
    """Say of each validation image whether a head gets it right: bool [n]."""
    held = features.rows(lambda table: table["split"] == "validation")
    return scores.correct(head.logits(held.matrix), held.table["label"], head.labels)
