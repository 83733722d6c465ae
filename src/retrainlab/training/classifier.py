"""A trained head made honest: calibrated on validation, with what it says of every image."""

from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from ..bottlenecks.features import Features
from ..evaluation import calibration, scores
from . import devices
from .heads import Head, HeadSettings


@dataclass(frozen=True)
class Classifier:
    """A trained and calibrated head on its backbone, and what it says of every image.

    Attributes:
        features: of the images that it was trained and measured on.
        head: what is exported, calibrated: its logits are divided by the temperature that fits validation best.
        chosen: the head that validation chose and calibrated; `head` is another one where it was refitted, that is,
            trained once more on the images of training and validation together.
        history: step, split, accuracy, cross_entropy.
        candidates: the settings among which validation chose.
        predicted: the predictions table of all images, as of `scores.predictions`: what `head` says of test images,
            and `chosen` of those of training and validation, which `head` may have learnt from.
        metrics: as of `scores.summarise`.
        tuning: how the network was fine-tuned, by the names that parameters have in notebooks; empty where it was not.
        said: how that went.
    """

    features: Features
    head: Head
    chosen: Head
    history: pd.DataFrame
    candidates: list[HeadSettings]
    predicted: pd.DataFrame
    metrics: dict[str, Any]
    tuning: dict[str, Any] = field(default_factory=lambda: {"fine_tune_from": ""})
    said: str = ""

    @property
    def refit(self) -> bool:
        """Whether what is exported has learnt from the validation images as well."""
        return self.head is not self.chosen

    @property
    def device(self) -> str:
        """What it was trained on."""
        return str(devices.found() if self.tuning["fine_tune_from"] else devices.CPU)  # layers are NumPy's

    @property
    def learnt(self) -> pd.DataFrame:
        """The rows of the images table that the exported head has learnt from."""
        table = self.features.table
        return table[table["split"].isin(["train", "validation"] if self.refit else ["train"])]

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
            "refit": self.refit,
            **self.tuning,
        }

    @classmethod
    def of(
        cls,
        features: Features,
        head: Head,
        history: pd.DataFrame,
        candidates: list[HeadSettings],
        refitted: tuple[Features, Head] | None = None,
    ) -> "Classifier":
        """Calibrate a head on the validation images, and let it predict all images.

        Args:
            refitted: the head to export in its place, trained with the same settings, and the features that it stands
                on; it takes over the temperature, for there is nothing left to calibrate it on.
        """
        table = features.table
        held = (table["split"] == "validation").to_numpy()
        classes = pd.Index(head.labels).get_indexer(table["label"])
        logits = head.logits(features.matrix)
        chosen = head.calibrated(calibration.temperature(logits[held], classes[held]))
        logits, exported = chosen.logits(features.matrix), chosen
        if refitted is not None:
            (features, head), test = refitted, (table["split"] == "test").to_numpy()
            exported = head.calibrated(chosen.temperature)
            logits[test] = exported.logits(features.matrix[test])
        predicted = scores.predictions(table, logits, head.labels)
        metrics = scores.summarise(predicted, head.labels)
        return cls(features, exported, chosen, history, candidates, predicted, metrics)
