"""The features that heads learn from: bottlenecks, and the rows of the images table that they belong to, aligned."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..backbones.registry import Backbone
from ..evaluation.finding import Finding
from ..images.distortions import Distortion, examples
from . import caching, loading
from .caching import Cache
from .extracting import Extraction, extract


@dataclass(frozen=True)
class Features:
    """The bottlenecks of an images table; distorted variants of its training images, where a distortion is on.

    Attributes:
        backbone: that computed them.
        image_size: pixels a side that it was asked for, 0 for its own.
        cache: where they lie.
        image_dir: the folder that the table's paths count from.
        matrix: float32 [n, dim].
        table: [n] rows of the images table, aligned with `matrix`, index 0 to n - 1.
        distortion, variants: what heads learn from, and how many variants of each training image.
        extractions: what was computed on the way, the images as they are first.
    """

    backbone: Backbone
    image_size: int
    cache: Cache
    image_dir: Path
    matrix: np.ndarray
    table: pd.DataFrame
    distortion: Distortion
    variants: int
    extractions: tuple[Extraction, ...]

    @cached_property
    def learning(self) -> tuple[np.ndarray, pd.DataFrame]:
        """What heads learn from, (matrix, table): variants, if there are any, are rows of the split `distorted`."""
        if not self.distortion.active:
            return self.matrix, self.table
        return loading.with_variants(self.cache, self.matrix, self.table, self.distortion, self.variants)

    def of(self, images: pd.DataFrame) -> "Features":
        """The features of another images table of the same folder."""
        return load(self.backbone, self.image_dir, images, self.distortion, self.variants, self.image_size, self.cache)

    def distorted(self, distortion: Distortion) -> "Features":
        """The same images, learnt from with another distortion; its variants are computed where they are missing."""
        done = _variants(self.backbone, self.cache, self.image_dir, self.table, distortion, self.variants)
        return replace(self, distortion=distortion, extractions=done)

    def rows(self, keep: Callable[[pd.DataFrame], Any]) -> "Features":
        """Keep the rows for which `keep(table)`, bool [n], is true."""
        kept = np.asarray(keep(self.table), bool)
        return replace(self, matrix=self.matrix[kept], table=self.table[kept].reset_index(drop=True))

    def show_distortions(self) -> Finding:
        """Show what the distortions make of the first training image, exactly as the backbone gets it."""
        question = "What the distortions do"
        if not self.distortion.active:
            return Finding(question, "No distortion is on.")
        path, sha256 = self.table.loc[self.table["split"] == "train", ["path", "sha256"]].iloc[0]
        pictures = examples(self.image_dir / path, self.backbone.image_size, self.distortion, sha256, self.variants)

        def draw() -> Any:
            from .. import plots

            return plots.distorted(pictures, Path(path).name)

        return Finding(question, draw=draw)

    @cached_property
    def milliseconds(self) -> float:
        """What an image costs on one core, without reading it; measured once."""
        return self.backbone.milliseconds()

    @property
    def seconds(self) -> float:
        """How long the extraction took."""
        return round(sum(done.seconds for done in self.extractions), 2)

    def __str__(self) -> str:
        problems = [f"{path}: {why}" for done in self.extractions for path, why in done.problems.items()]
        return "\n".join([*map(str, self.extractions), *problems])


def load(
    backbone: Backbone,
    image_dir: Path,
    images: pd.DataFrame,
    distortion: Distortion | None = None,
    variants: int = 8,
    image_size: int = 0,
    cache: Cache | None = None,
) -> Features:
    """Compute the bottlenecks that the cache lacks, and load those of all usable images.

    Args:
        images: the images table.
        distortion: of the training images, None for none; then `variants` of each are computed, 1 to 255.
        image_size: what the backbone was resolved with.
        cache: the backbone's, where it is open already.

    Raises:
        RetrainLabError: the cache cannot be written, or the number of variants is impossible.
    """
    cache, distortion = cache or caching.open_cache(backbone), distortion or Distortion()
    done = extract(backbone, cache, image_dir, images)
    matrix, table = loading.load(cache, images)
    more = _variants(backbone, cache, image_dir, images, distortion, variants)
    return Features(backbone, image_size, cache, image_dir, matrix, table, distortion, variants, (done, *more))


def _variants(
    backbone: Backbone, cache: Cache, image_dir: Path, images: pd.DataFrame, distortion: Distortion, variants: int
) -> tuple[Extraction, ...]:
    if not distortion.active:
        return ()
    train = images[images["split"] == "train"]
    return (extract(backbone, cache, image_dir, train, distortion, variants),)
