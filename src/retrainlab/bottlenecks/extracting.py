"""Compute the bottlenecks that a cache lacks, on every core."""

import hashlib
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..backbones.registry import Backbone
from ..errors import RetrainLabError
from ..images.decoding import read_pixels
from ..images.distortions import Distortion, apply
from .caching import Cache

_ROWS_A_PART = 2048
_SECONDS_A_PART = 20.0  # the most work that a crash can lose


@dataclass(frozen=True)
class Extraction:
    """What `extract` did: counts of images or variants, wall seconds, and a sentence for each file that failed."""

    what: str
    cached: int
    computed: int
    seconds: float
    problems: dict[str, str]
    damaged: int

    def __str__(self) -> str:
        parts = [f"{self.cached + self.computed:,} {self.what}: {self.cached:,} bottlenecks from the cache"]
        if self.computed:
            rate = self.computed / max(self.seconds, 1e-9)
            parts.append(f"{self.computed:,} computed in {self.seconds:.1f} s ({rate:.0f} images/s)")
        else:
            parts.append("none computed")
        if self.problems:
            parts.append(f"{len(self.problems):,} could not be read")
        if self.damaged:
            parts.append(f"{self.damaged} damaged part{'s' * (self.damaged > 1)} set aside and computed again")
        return ", ".join(parts) + "."


def extract(
    backbone: Backbone,
    cache: Cache,
    image_dir: Path | str,
    images: pd.DataFrame,
    distortion: Distortion | None = None,
    variants: int = 0,
    threads: int | None = None,
) -> Extraction:
    """Compute the bottlenecks that the cache lacks, on every core.

    Each thread takes one image from file to bottleneck: decoding and inference both release the interpreter lock.
    What was computed is kept whatever ends the work, an interrupt included.

    Args:
        images: the images table; rows with a problem are passed over, equal content is computed once.
        distortion: None for the images as they are.
        variants: with a distortion, how many variants of each image, 1 to 255.
        threads: how many; None = one a core.
    """
    root, size = Path(image_dir), backbone.image_size
    if distortion is not None and variants < 1:
        raise RetrainLabError(f"distortion_variants is {variants}. Expected 1 to 255, or no distortion.")
    good = images[images["problem"].isna()].drop_duplicates("sha256")
    numbers = (
        {0: 0} if distortion is None else {number: distortion.variant(number) for number in range(1, variants + 1)}
    )
    wanted = [
        (path, digest, number) for path, digest in zip(good["path"], good["sha256"], strict=True) for number in numbers
    ]
    missing = [job for job in wanted if (job[1], numbers[job[2]]) not in cache]
    problems: dict[str, str] = {}
    kept: list[tuple[tuple[str, int], np.ndarray]] = []  # not written yet
    computed, started = 0, time.perf_counter()

    def one(path: str, digest: str, number: int) -> np.ndarray:
        try:
            data = (root / path).read_bytes()
        except OSError as error:
            raise RetrainLabError(f"the file cannot be read any more: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != digest:  # the cache must never hold it under another file's name
            raise RetrainLabError("the file has changed since it was scanned; run again")
        if distortion is None:
            pixels = read_pixels(data, size)
        else:
            drawn = distortion.draw(size, digest, number)
            pixels = apply(read_pixels(data, drawn.resized), drawn, size)
        return backbone.bottlenecks(pixels[None])[0]

    def flush() -> None:
        nonlocal computed
        if kept:
            cache.add([key for key, _ in kept], np.stack([row for _, row in kept]))
            computed += len(kept)
            kept.clear()

    pool = ThreadPoolExecutor(threads or os.cpu_count())
    jobs: dict[Future[np.ndarray], tuple[str, str, int]] = {}
    try:
        jobs.update((pool.submit(one, *job), job) for job in missing)
        written = time.perf_counter()
        bar = tqdm(as_completed(jobs), "bottlenecks", len(jobs), unit=" images", leave=False, disable=None)
        for job in bar:
            path, digest, number = jobs.pop(job)
            try:
                kept.append(((digest, numbers[number]), job.result()))
            except RetrainLabError as error:
                problems[path] = str(error)
            if len(kept) >= _ROWS_A_PART or time.perf_counter() - written > _SECONDS_A_PART:
                flush()
                written = time.perf_counter()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for job, (_, digest, number) in jobs.items():  # finished before the work was ended, not collected yet
            if not job.cancelled() and job.exception() is None:
                kept.append(((digest, numbers[number]), job.result()))
        flush()
    seconds = time.perf_counter() - started
    what = "images" if distortion is None else "distorted images"
    return Extraction(what, len(wanted) - len(missing), computed, seconds, problems, len(cache.damaged))
