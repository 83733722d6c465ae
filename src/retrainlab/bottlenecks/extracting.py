"""Compute the bottlenecks that a cache lacks, on every core."""

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

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
_IMAGES_AHEAD = 32  # of what is written, for each thread
_Key = tuple[str, int]  # sha256 of an image file, and what the cache calls a variant of it


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
        said = f"{self.cached + self.computed:,} {self.what}: {self.cached:,} bottlenecks from the cache, "
        rate = self.computed / max(self.seconds, 1e-9)
        done = f"{self.computed:,} computed in {self.seconds:.1f} s ({rate:.0f} images/s)"
        said += done if self.computed else "none computed"
        if self.problems:
            said += f", {len(self.problems):,} could not be read"
        if self.damaged:
            said += f", {self.damaged} damaged part{'s' * (self.damaged > 1)} set aside and computed again"
        return f"{said}."


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
        variants: with a distortion, how many variants of each image, 1 to 255.
        threads: None = one a core.
    """
    if distortion is None:
        numbers = {0: 0}  # what the cache calls a variant -> its number, 0 for the image as it is
    elif variants < 1:
        raise RetrainLabError(f"distortion_variants is {variants}. Expected 1 to 255, or no distortion.")
    else:
        numbers = {distortion.variant(number): number for number in range(1, variants + 1)}
    good = images[images["problem"].isna()].drop_duplicates("sha256")
    wanted = {
        (sha256, variant): (path, number)
        for sha256, path in zip(good["sha256"], good["path"], strict=True)
        for variant, number in numbers.items()
    }
    missing = {key: source for key, source in wanted.items() if key not in cache}

    def bottleneck(sha256: str, path: str, number: int) -> np.ndarray:
        data = _content(Path(image_dir, path), sha256)
        if distortion is None:
            pixels = read_pixels(data, backbone.image_size)
        else:
            drawn = distortion.draw(backbone.image_size, sha256, number)
            pixels = apply(read_pixels(data, drawn.resized), drawn, backbone.image_size)
        return backbone.bottlenecks(pixels[None])[0]

    started = time.perf_counter()
    before = len(cache)
    problems = _compute(missing, bottleneck, cache, threads)
    seconds, computed = time.perf_counter() - started, len(cache) - before
    what = "images" if distortion is None else "distorted images"
    return Extraction(what, len(wanted) - len(missing), computed, seconds, problems, len(cache.damaged))


def _content(file: Path, sha256: str) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RetrainLabError(f"the file cannot be read any more: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:  # the cache must never hold it under another file's name
        raise RetrainLabError("the file has changed since it was scanned; run again")
    return data


def _compute(
    missing: dict[_Key, tuple[str, int]],
    bottleneck: Callable[[str, str, int], np.ndarray],
    cache: Cache,
    threads: int | None,
) -> dict[str, str]:
    """Compute on threads, and write what comes of it; returns what went wrong, by path.

    Only so many images are given to the threads at a time that they have enough to do while a part is written.
    """
    kept: dict[_Key, np.ndarray] = {}  # not written yet
    running: dict[Future[np.ndarray], _Key] = {}
    ended: SimpleQueue[Future[np.ndarray]] = SimpleQueue()
    waiting = iter(missing.items())
    problems: dict[str, str] = {}
    written = time.perf_counter()

    def write() -> None:
        nonlocal written
        cache.add(list(kept), np.array(list(kept.values())))
        written = time.perf_counter()
        kept.clear()

    def submit(count: int) -> None:
        for key, source in islice(waiting, count):
            job = pool.submit(bottleneck, key[0], *source)
            running[job] = key
            job.add_done_callback(ended.put)

    count = threads or os.cpu_count() or 1
    pool = ThreadPoolExecutor(count)
    try:
        with tqdm(total=len(missing), desc="bottlenecks", unit=" images", leave=False, disable=None) as bar:
            submit(count * _IMAGES_AHEAD)
            while running:
                job = ended.get()
                key = running.pop(job)
                submit(1)
                bar.update()
                try:
                    kept[key] = job.result()
                except RetrainLabError as error:
                    problems[missing[key][0]] = str(error)
                if len(kept) >= _ROWS_A_PART or time.perf_counter() - written > _SECONDS_A_PART:
                    write()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        finished = {key: job for job, key in running.items() if not job.cancelled() and job.exception() is None}
        kept.update((key, job.result()) for key, job in finished.items())  # beside the one that ended the work
        write()
    return problems
