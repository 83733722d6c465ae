"""The features that heads learn from: bottlenecks, aligned with the rows of the images table that they belong to."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ..backbones import registry
from ..backbones.registry import Backbone
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..files import taken
from ..pixels.conditions import Condition
from ..pixels.decoding import ImageFolder
from ..pixels.distortions import Distortion, examples
from ..pixels.levels import Levels
from .caching import Cache, digests, open_cache
from .extracting import Extraction, extract


@dataclass(frozen=True)
class Features:
    """The bottlenecks of an images table; distorted variants of its training images, where a distortion is on."""

    backbone: Backbone
    cache: Cache
    photos: ImageFolder  # where the table's images are, and on which scale they are read
    matrix: np.ndarray  # float32 [n, dim]
    table: pd.DataFrame  # [n] rows of the images table, aligned with `matrix`, index 0 to n - 1
    distortion: Distortion  # what heads learn from
    variants: int  # how many of each training image
    extractions: tuple[Extraction, ...]  # what was computed on the way, the images as they are first

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the numbers, which it reads from the cache, and without an open network."""
        heavy = ("matrix", "cache", "learning", "plain")
        kept = {name: value for name, value in self.__dict__.items() if name not in heavy}
        return kept | {"backbone": replace(self.backbone)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        cache = open_cache(state["backbone"])
        matrix, table = cache.features(state["table"], state["photos"].levels)
        if len(table) < len(state["table"]):
            raise RetrainLabError(
                f"'{cache.folder}' has {len(table):,} of {len(state['table']):,} bottlenecks that are needed. Let "
                "bottleneck_dir be a folder that all machines share under the same path, and run again."
            )
        self.__dict__.update(state | {"cache": cache, "matrix": matrix})

    @cached_property
    def learning(self) -> tuple[np.ndarray, pd.DataFrame]:
        """What heads learn from, (matrix, table): variants, if there are any, are rows of the split `distorted`."""
        if not self.distortion.active:
            return self.matrix, self.table
        rows = (self.matrix, self.table)
        return with_variants(self.cache, *rows, self.distortion, self.variants, self.photos.levels)

    def of(self, images: pd.DataFrame) -> "Features":
        """The features of another images table of the same folder, read on the same scale."""
        return load(self.backbone, self.photos, images, self.distortion, self.variants, self.cache)

    def distorted(self, distortion: Distortion) -> "Features":
        """The same images, learnt from with another distortion; its variants are computed where they are missing."""
        if not distortion.active:
            return replace(self, distortion=distortion, extractions=())
        train = self.table[self.table["split"] == "train"]
        done = extract(self.backbone, self.cache, self.photos, train, distortion, self.variants)
        return replace(self, distortion=distortion, extractions=(done,))

    def under(self, condition: Condition, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The bottlenecks of these rows of the table under a condition, float32 [rows, dim]; computed where missing.

        Args:
            rows: their numbers, any number of times, or bool [n].

        Raises:
            RetrainLabError: one of them cannot be read any more; see also `extracting.extract`.
        """
        images = self.table.iloc[rows]
        done = extract(self.backbone, self.cache, self.photos, images, condition)
        if done.problems:
            path, why = next(iter(done.problems.items()))
            raise RetrainLabError(
                f"{len(done.problems):,} of {len(images):,} images cannot be shown under '{condition}': of '{path}', "
                f"{why}. Put the images back as they were, or run again from the scan on."
            )
        return self.cache.load(digests(images, self.photos.levels), condition.variant())

    def with_validation(self) -> "Features":
        """The same images, with those of validation in training; their variants are computed where they are missing."""
        split = self.table["split"].replace({"validation": "train"})
        return replace(self, table=self.table.assign(split=split)).distorted(self.distortion)

    @cached_property
    def plain(self) -> Backbone:
        """The backbone, read at its last layer and from one view."""
        return self._resolved(depth="last", average_views=False)

    def _resolved(self, **read: Any) -> Backbone:
        asked = asdict(self.backbone.settings) | read
        return registry.resolve(bottleneck_dir=self.backbone.folder.parent, **asked)

    def reading(self, **read: Any) -> "Features":
        """The same images, with more or less of the network read, as of `derived.reading`; computed where missing.

        Raises:
            RetrainLabError: not all of them can be read any more.
        """
        found = load(self._resolved(**read), self.photos, self.table, self.distortion, self.variants)
        if len(found.table) < len(self.table):
            raise RetrainLabError(f"Of {len(self.table):,} images, {len(found.table):,} can be read. {found}")
        return found

    def rows(self, keep: Callable[[pd.DataFrame], Any]) -> "Features":
        """Keep the rows for which `keep(table)`, bool [n], is true."""
        kept = np.asarray(keep(self.table), bool)
        return replace(self, matrix=taken(self.matrix, kept), table=self.table[kept].reset_index(drop=True))

    def show_distortions(self) -> Finding:
        """Show what the distortions make of the first training image, exactly as the backbone gets it."""
        from .. import plots

        question = "What the distortions do"
        if not self.distortion.active:
            return Finding(question)
        path, sha256 = self.table.loc[self.table["split"] == "train", ["path", "sha256"]].iloc[0]
        pictures = examples(self.photos, path, self.backbone.image_size, self.distortion, sha256, self.variants)
        return Finding(question, draw=partial(plots.distorted, pictures, PurePosixPath(path).name))

    @cached_property
    def milliseconds(self) -> float:
        """What an image costs on one core, without reading it; measured once."""
        return self.backbone.milliseconds()

    @property
    def note(self) -> str:
        """What a person should know of how the network runs, one sentence or more; mostly nothing."""
        if not self.backbone.no_litert:
            return ""
        return (
            f"{self.backbone.no_litert}, so TensorFlow runs the network, on the CPU: {self.milliseconds} ms an image "
            "on one core, after the seconds that TensorFlow takes to start, for labelling too. No LiteRT model can be "
            "made of it."
        )

    @property
    def seconds(self) -> float:
        """How long the extraction took."""
        return round(sum(done.seconds for done in self.extractions), 2)

    def __str__(self) -> str:
        problems = [f"{path}: {why}" for done in self.extractions for path, why in done.problems.items()]
        return "\n".join([*map(str, self.extractions), *filter(None, [self.note]), *problems])


def load(
    backbone: Backbone,
    photos: ImageFolder,
    images: pd.DataFrame,
    distortion: Distortion | None = None,
    variants: int = 8,
    cache: Cache | None = None,
) -> Features:
    """Compute the bottlenecks that the cache lacks, and load those of all usable images.

    Args:
        distortion: of the training images, None for none; then `variants` of each are computed, 1 to 255.
        cache: the backbone's, where it is open already.

    Raises:
        RetrainLabError: see `extracting.extract`.
    """
    cache = open_cache(backbone) if cache is None else cache
    done = extract(backbone, cache, photos, images)
    rows = cache.features(images, photos.levels)
    plain = Features(backbone, cache, photos, *rows, Distortion(), variants, ())
    learnt = plain.distorted(distortion or Distortion())
    return replace(learnt, extractions=(done, *learnt.extractions))


def with_variants(
    cache: Cache, features: np.ndarray, table: pd.DataFrame, distortion: Distortion, variants: int, levels: Levels
) -> tuple[np.ndarray, pd.DataFrame]:
    """Append the variants of the training images to what `Cache.features` gave, as rows of the split `distorted`.

    `trainer.train` then learns from those rows, and still measures on the undistorted images.
    """
    numbers = [distortion.variant(number) for number in range(1, variants + 1)]
    known = np.all([cache.knows(digests(table, levels), number) for number in numbers], axis=0)
    train = table[(table["split"] == "train") & known].assign(split="distorted")
    more = [cache.load(digests(train, levels), number) for number in numbers]
    return np.concatenate([features, *more]), pd.concat([table, *[train] * variants], ignore_index=True)


def audit(cache: Cache, images: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """Describe the cache for these images, read on a scale: one row a quantity, column `value`.

    Dead features are those that are the same for every image: they carry nothing.
    """
    features, table = cache.features(images, levels)
    facts: dict[str, object] = {
        "images with a bottleneck": len(table),
        "images without": int(images["problem"].isna().sum()) - len(table),
        "bottlenecks in the cache, of this and other folders": len(cache),
        "size on disk": f"{cache.bytes / 1e6:.1f} MB",
        "damaged parts set aside": len(cache.damaged),
        "numbers a bottleneck": cache.dim,
        "values that are not finite": int((~np.isfinite(features)).sum()),
    }
    if len(table):
        lengths = np.linalg.norm(features, axis=1)
        facts |= {
            "dead features": int((features.std(axis=0) == 0).sum()),
            "length of a bottleneck, median": f"{np.median(lengths):.2f}",
            "length of a bottleneck, smallest and largest": f"{lengths.min():.2f} to {lengths.max():.2f}",
        }
    return pd.DataFrame({"value": [str(value) for value in facts.values()]}, index=pd.Index(facts, name="quantity"))
