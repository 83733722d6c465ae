"""The activations of a trunk, kept like bottlenecks: what fine-tuning learns from, without the images."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..backbones import cutting
from ..backbones.cuts import Cut, short
from ..errors import RetrainLabError
from ..pixels.distortions import MIRROR
from .caching import Cache, digests, open_cache
from .extracting import Extraction, extract
from .features import Features

_MARGIN = 1.1  # of the disk that activations need: names of images, and what else is written


@dataclass(frozen=True)
class Activations:
    """What lies at a cut of images and of their variants, memory-mapped in float16.

    Attributes:
        cut: where.
        cache: of the trunk.
        table: [n] rows of the images table.
        known_by: [n], what the cache knows each image by.
        views: the variants that an image is judged by, as the mean over them: itself, or itself and its mirror image.
        learnt: the variants that are learnt from.
        done: what was computed.
    """

    cut: Cut
    cache: Cache
    table: pd.DataFrame
    known_by: list[str]
    views: tuple[int, ...]
    learnt: tuple[int, ...]
    done: tuple[Extraction, ...]

    def batch(self, rows: Sequence[int] | np.ndarray, variants: Sequence[int] | np.ndarray) -> np.ndarray:
        """Gather activations, float32 [rows, height, width, channels]; `variants`: one for each row."""
        found = self.cache.load([self.known_by[row] for row in rows], np.asarray(variants))
        return found.reshape(-1, *self.cut.shape)


def load(features: Features, cut: Cut, images: pd.DataFrame) -> Activations:
    """Compute the activations at a cut that the cache lacks, and open them.

    Args:
        features: what was to be learnt from: their backbone (read at its last layer), views and distortions are used.
        cut: of the backbone as it is, without views.
        images: those of the features that are learnt from or judged.

    Raises:
        RetrainLabError: the disk is too small; see also `extracting.extract`.
    """
    trunk = cutting.trunk(features.plain, cut)
    cache = open_cache(trunk, np.float16)
    table = images.reset_index(drop=True)
    train = table[table["split"] == "train"]
    distortion, mirrored = features.distortion, features.backbone.settings.average_views
    numbers = tuple(distortion.variant(number) for number in range(1, features.variants + 1))
    learnt = numbers if distortion.active else (0, *[MIRROR.variant(1)] * mirrored)
    rows = len(table) * (1 + mirrored) + len(train) * len(numbers) * distortion.active - len(cache)
    _ask_for_disk(cache, cut, rows)
    done = [extract(trunk, cache, features.photos, table)]
    if mirrored:
        done.append(extract(trunk, cache, features.photos, table, MIRROR, 1))
    if distortion.active:
        done.append(extract(trunk, cache, features.photos, train, distortion, features.variants))
    views = (0, *[MIRROR.variant(1)] * mirrored)
    known_by = digests(table, features.photos.levels)
    for variant in {*views, *learnt}:
        wanted = np.full(len(table), variant in views) | (table["split"] == "train").to_numpy()
        lost = table["path"][wanted & ~cache.knows(known_by, variant)]
        if len(lost):
            raise RetrainLabError(f"'{lost.iloc[0]}' cannot be read any more, so it cannot be learnt from.")
    return Activations(cut, cache, table, known_by, views, learnt, tuple(done))


def _ask_for_disk(cache: Cache, cut: Cut, rows: int) -> None:
    needed = _MARGIN * max(rows, 0) * cut.numbers * np.dtype(cache.dtype).itemsize
    free = shutil.disk_usage(cache.folder).free
    if needed > free:
        raise RetrainLabError(
            f"The activations of {rows:,} images and variants at the cut '{short(cut.name)}' take about "
            f"{needed / 1e9:.1f} GB, and there are {free / 1e9:.1f} GB left in '{cache.folder.parent}'. Make room, set "
            "bottleneck_dir to a larger disk, or choose a cut higher up in fine_tune_from, with fewer numbers."
        )
