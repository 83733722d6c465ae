"""What a run left behind, and how it is written in a sentence."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from ..images.distortions import Distortion

_DATA = ("image_size", "start_from", "distortion_variants", *(field.name for field in fields(Distortion)))


@dataclass(frozen=True)
class Result:
    """What a run left behind: metrics.json, run.json, and two tables, which are None if missing.

    Attributes:
        predictions: path, label, split, predicted, cross_entropy (of each image, in nats, before temperature scaling,
            which has used the validation images), and sha256 where the images table tells it.
        images: the usable rows of the images table.
    """

    name: str
    metrics: dict[str, Any]
    info: dict[str, Any]
    predictions: pd.DataFrame | None = None
    images: pd.DataFrame | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is set and changes what is learnt: the backbone, distortions, how the head was trained.

        weight_decay begins with "chosen" where validation chose it among several: that is how the run was set up.
        """
        learnt = self.info.get("learnt_from", {})
        settings = {name: learnt.get(name) for name in _DATA} | {"tfhub_module": self.metrics["backbone"]}
        settings |= self.info.get("settings", {})
        if len(decays := np.atleast_1d(learnt.get("weight_decay", 0))) > 1:
            settings["weight_decay"] = f"chosen of {', '.join(map(shown, decays.tolist()))}"
        return settings

    @property
    def digest(self) -> str:
        """Of the images with their names and splits; where it is not known, the run's name, which no other has."""
        return self.info.get("dataset", {}).get("digest", self.name)

    @property
    def backbone(self) -> str:
        """The digest of the backbone; the run's name if it is not known, so that no two runs are taken to share it."""
        return self.info.get("backbone", {}).get("digest", self.name)


def shown(value: object) -> str:
    """Write a setting's value briefly: 0.0001, not 1e-4; of an address or path the part that names the network."""
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".") if 1e-6 <= abs(value) < 1e6 else f"{value:g}"
    if not isinstance(value, str):
        return str(value)
    return re.sub(r"(/feature[-_]vector)?(/\d+)?/?$", "", value).rpartition("/")[2] or value


def listed(names: Iterable[object], most: int = 6) -> str:
    """Write names in a sentence; of many, the first."""
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")


def identified(images: pd.DataFrame) -> pd.Series:
    """Name images by their content, so that one which was renamed or moved is the same: text, one a row.

    Copies of a file are told apart by a number, in the order of their paths.

    Args:
        images: path and sha256.
    """
    content = images.sort_values("path")["sha256"].fillna(images["path"])
    return (content + " " + content.groupby(content).cumcount().astype(str)).loc[images.index]
