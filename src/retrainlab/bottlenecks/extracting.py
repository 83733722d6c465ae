"""Compute the bottlenecks that a cache lacks: on every core, on a GPU, or on every worker of a Dask cluster."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..backbones.registry import Backbone
from ..errors import RetrainLabError
from ..pixels.decoding import ImageFolder
from . import cluster
from .caching import Cache, digests
from .computing import Change, Key, Source, Work, compute, on_threads

_IMAGES_A_TASK, _TASKS_A_THREAD = 256, 4  # of a cluster: at most, and at least


@dataclass(frozen=True)
class Extraction:
    """What `extract` did: counts of images or variants, wall seconds, and a sentence for each file that failed.

    device: what computed them.
    """

    what: str
    cached: int
    computed: int
    seconds: float
    problems: dict[str, str]
    damaged: int
    device: str
    unkept: str = ""

    def __str__(self) -> str:
        said = f"{self.cached + self.computed:,} {self.what}: {self.cached:,} bottlenecks from the cache, "
        rate = self.computed / max(self.seconds, 1e-9)
        done = f"{self.computed:,} computed in {self.seconds:.1f} s ({rate:.0f} images/s) on {self.device}"
        said += done if self.computed else "none computed"
        if self.problems:
            said += f", {len(self.problems):,} could not be read"
        if self.damaged:
            said += f", {self.damaged} damaged part{'s' * (self.damaged > 1)} set aside and computed again"
        if self.computed and self.unkept:
            said += f", none of them kept: {self.unkept}"
        return f"{said}."


def extract(
    backbone: Backbone,
    cache: Cache,
    photos: ImageFolder,
    images: pd.DataFrame,
    change: Change | None = None,
    variants: int = 1,
    threads: int | None = None,
) -> Extraction:
    """Compute the bottlenecks that the cache lacks, on this machine; on a Dask cluster, where one was joined.

    What was computed is kept whatever ends the work, an interrupt included.

    Args:
        images: the images table; rows with a problem are passed over, equal content is computed once.
        change: what makes variants of them; None for the images as they are.
        variants: with a distortion, how many of each image, 1 to 255.
        threads: which read images and, without a GPU, compute. None = one a core; a cluster's workers have their own.

    Raises:
        RetrainLabError: the number of variants is impossible, the cache cannot be written, or the folder has vanished;
            see also `cluster.run`.
    """
    if change is None:
        numbers = {0: 0}  # what the cache calls a variant -> its number, 0 for the image as it is
    elif variants < 1:
        raise RetrainLabError(f"distortion_variants is {variants}. Expected 1 to 255, or no distortion.")
    else:
        numbers = {change.variant(number): number for number in range(1, variants + 1)}
    good = images[images["problem"].isna()].drop_duplicates("sha256")
    known_by = digests(good, photos.levels)
    sources = pd.DataFrame({"digest": known_by, "sha256": good["sha256"].array, "path": good["path"].array})
    lacking = {variant: ~cache.knows(known_by, variant) for variant in numbers}
    any_ = np.any([*lacking.values()], axis=0)
    missing = {
        (digest, variant): Source(path, sha256, numbers[variant])
        for row, digest, sha256, path in sources[any_].itertuples()
        for variant, lacks in lacking.items()
        if lacks[row]
    }

    started = time.perf_counter()
    before = len(cache)
    work, client = Work(backbone, photos, change), cluster.current() if missing else None
    with tqdm(total=len(missing), desc="bottlenecks", unit=" images", leave=False, disable=None) as bar:
        if client is None:
            problems, device = compute(work, missing, cache, threads, bar.update)
        else:
            problems, device = _distribute(client, work, missing, cache, bar.update), "a Dask cluster"
    seconds, computed = time.perf_counter() - started, len(cache) - before
    what, cached = "images" if change is None else change.what, len(good) * len(numbers) - len(missing)
    return Extraction(what, cached, computed, seconds, problems, len(cache.damaged), device, cache.unkept)


def _distribute(
    client: Any, work: Work, missing: dict[Key, Source], cache: Cache, count: Callable[[int], object]
) -> dict[str, str]:
    """Compute on the workers of a cluster, which write what comes of it; returns what went wrong, by path."""
    tasks = _TASKS_A_THREAD * max(1, cluster.threads(client))
    size = min(_IMAGES_A_TASK, -(-len(missing) // tasks))
    items = iter(missing.items())
    chunks = [dict(islice(items, size)) for _ in range(0, len(missing), size)]
    there = replace(work, backbone=replace(work.backbone))  # without the network that is open here
    problems: dict[str, str] = {}
    for chunk, (parts, found) in cluster.run(client, partial(_compute_there, there, cache.dtype), chunks):
        try:
            cache.take(parts)
        except FileNotFoundError as error:
            raise RetrainLabError(
                f"What the Dask workers write to '{cache.folder}' does not appear here: their folder of that name lies "
                "on another disk. Set bottleneck_dir to a folder that all machines share, and run again."
            ) from error
        problems |= found
        count(len(chunk))
    return problems


def _compute_there(work: Work, dtype: type[np.floating], missing: dict[Key, Source]) -> tuple[set[str], dict[str, str]]:
    """Compute on one of a worker's threads: (names of the parts that were written, what went wrong, by path).

    On the CPU: a GPU would be opened for each task anew, and by all workers of its machine.
    """
    folder = work.backbone.folder
    cluster.see(image_dir=work.photos.root, bottleneck_dir=folder)
    cache = Cache(folder, work.backbone.dim, dtype)
    problems = on_threads(work, missing, cache, 1, lambda _: None)
    if cache.unkept:
        raise RetrainLabError(f"{cache.unkept}, and what this machine computes would be lost. Make it writable.")
    return cache.parts, problems
