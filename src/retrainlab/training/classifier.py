"""A trained head made honest: calibrated on validation, with what it says of every image."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from ..bottlenecks.features import Features
from ..evaluation import calibration, scores
from .heads import Head, HeadSettings


@dataclass(frozen=True)
class Classifier:
    """A trained and calibrated head on its backbone, and what it says of every image.

    Attributes:
        features: of the images that it was trained and measured on.
        head: calibrated: its logits are divided by the temperature that fits validation best.
        history: step, split, accuracy, cross_entropy.
        candidates: the settings among which validation chose.
        predicted: the predictions table of all images, as of `scores.predictions`.
        metrics: as of `scores.summarise`.
    """

    features: Features
    head: Head
    history: pd.DataFrame
    candidates: list[HeadSettings]
    predicted: pd.DataFrame
    metrics: dict[str, Any]

    @property
    def learnt_from(self) -> dict[str, Any]:
        """What it was made with besides the settings of its head, by the names that parameters have in notebooks."""
        read = self.features.backbone.settings
        return asdict(self.features.distortion) | {
            "distortion_variants": self.features.variants,
            "weight_decay": [settings.weight_decay for settings in self.candidates],
            "image_size": read.image_size,
            "depth": read.depth,
            "average_views": read.average_views,
        }

    @classmethod
    def of(cls, features: Features, head: Head, history: pd.DataFrame, candidates: list[HeadSettings]) -> "Classifier":
        """Calibrate a head on the validation images, and let it predict all images."""
        table = features.table
        held = (table["split"] == "validation").to_numpy()
        classes = pd.Index(head.labels).get_indexer(table["label"])
        logits = head.logits(features.matrix)
        head = head.calibrated(calibration.temperature(logits[held], classes[held]))
        predicted = scores.predictions(table, head.logits(features.matrix), head.labels)
        return cls(features, head, history, candidates, predicted, scores.summarise(predicted, head.labels))
