"""Compute the bottlenecks that a cache lacks, on every core, or on every worker of a Dask cluster."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..backbones.registry import Backbone
from ..errors import RetrainLabError
from ..pixels.bounds import content
from ..pixels.decoding import ImageFolder, read_pixels
from . import cluster
from .caching import Cache, digests

_ROWS_A_PART, _BYTES_A_PART = 2048, 2**26
_SECONDS_A_PART = 20.0  # the most work that a crash can lose
_IMAGES_AHEAD = 32  # of what is written, for each thread
_IMAGES_A_TASK, _TASKS_A_THREAD = 256, 4  # of a cluster: at most, and at least
_Key = tuple[str, int]  # what the cache knows an image by, and what it calls a variant of it


class Change(Protocol):
    """What makes variants of an image, always the same of the same image: a Distortion, or a Condition."""

    @property
    def what(self) -> str:
        """What it makes, for a sentence with their count."""

    def variant(self, number: int) -> int:
        """Name variant `number` (from 1) in the cache: never 0, below 2 to the 31, and no other change's."""

    def make(
        self, read: Callable[[tuple[int, int]], np.ndarray], size: tuple[int, int], sha256: str, number: int
    ) -> np.ndarray:
        """Make variant `number`: uint8 [height, width, 3] of `size`, (height, width).

        Args:
            read: gives the image, uint8 [height, width, 3], in the size that is asked for.
            sha256: of its content; what chance decides is drawn from it.
        """


@dataclass(frozen=True, slots=True)
class _Source:
    """What a bottleneck is made from: a file, and the number of the variant, 0 for the image as it is."""

    path: str
    sha256: str
    number: int


class _Gone(RetrainLabError):
    """There is no image folder any more."""


@dataclass(frozen=True)
class _Work:
    """How a source becomes a bottleneck: by what, from where, changed how."""

    backbone: Backbone
    photos: ImageFolder
    change: Change | None

    def bottleneck(self, source: _Source) -> np.ndarray:
        size, change = self.backbone.image_size, self.change
        with _content(self.photos.root, source) as data:

            def read(wanted: tuple[int, int]) -> np.ndarray:
                return read_pixels(data, wanted, self.photos.levels, source.path)

            pixels = read(size) if change is None else change.make(read, size, source.sha256, source.number)
        return self.backbone.bottlenecks(pixels[None])[0]


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
    photos: ImageFolder,
    images: pd.DataFrame,
    change: Change | None = None,
    variants: int = 1,
    threads: int | None = None,
) -> Extraction:
    """Compute the bottlenecks that the cache lacks, on every core; on a Dask cluster, where one was joined.

    Each thread takes one image from file to bottleneck: decoding and inference both release the interpreter lock.
    What was computed is kept whatever ends the work, an interrupt included.

    Args:
        images: the images table; rows with a problem are passed over, equal content is computed once.
        change: what makes variants of them; None for the images as they are.
        variants: with a distortion, how many of each image, 1 to 255.
        threads: None = one a core; a cluster's workers have their own.

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
        (digest, variant): _Source(path, sha256, numbers[variant])
        for row, digest, sha256, path in sources[any_].itertuples()
        for variant, lacks in lacking.items()
        if lacks[row]
    }

    started = time.perf_counter()
    before = len(cache)
    work, client = _Work(backbone, photos, change), cluster.current() if missing else None
    with tqdm(total=len(missing), desc="bottlenecks", unit=" images", leave=False, disable=None) as bar:
        if client is None:
            problems = _compute(work, missing, cache, threads, bar.update)
        else:
            problems = _distribute(client, work, missing, cache, bar.update)
    seconds, computed = time.perf_counter() - started, len(cache) - before
    what = "images" if change is None else change.what
    return Extraction(what, len(good) * len(numbers) - len(missing), computed, seconds, problems, len(cache.damaged))


@contextmanager
def _content(root: Path, source: _Source) -> Iterator[bytes]:
    """Hold the content of an image file, which is what it was when it was scanned."""
    try:
        holding = ExitStack()
        data = holding.enter_context(content(root / source.path))
    except OSError as error:
        if cluster.is_gone(root):  # said once, not for each of ten thousand files
            raise _Gone(
                f"The image folder '{root}' has vanished, or is empty, while its images were read ({source.path}: "
                f"{error.strerror}). What was computed is kept: see that its disk or network drive is there, and run "
                "again."
            ) from error
        raise RetrainLabError(f"the file cannot be read any more: {error.strerror}") from error
    with holding:
        if hashlib.sha256(data).hexdigest() != source.sha256:  # the cache must never hold it under another file's name
            raise RetrainLabError("the file has changed since it was scanned; run again")
        yield data


def _distribute(
    client: Any, work: _Work, missing: dict[_Key, _Source], cache: Cache, count: Callable[[int], object]
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


def _compute_there(
    work: _Work, dtype: type[np.floating], missing: dict[_Key, _Source]
) -> tuple[set[str], dict[str, str]]:
    """Compute on one of a worker's threads: (names of the parts that were written, what went wrong, by path)."""
    folder = work.backbone.folder
    cluster.see(image_dir=work.photos.root, bottleneck_dir=folder)
    cache = Cache(folder, work.backbone.dim, dtype)
    problems = _compute(work, missing, cache, 1, lambda _: None)
    return cache.parts, problems


def _compute(
    work: _Work, missing: dict[_Key, _Source], cache: Cache, threads: int | None, count: Callable[[int], object]
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

    def submit(more: int) -> None:
        for key, source in islice(waiting, more):
            job = pool.submit(work.bottleneck, source)
            running[job] = key
            job.add_done_callback(ended.put)

    most = max(1, min(_ROWS_A_PART, _BYTES_A_PART // (cache.dim * np.dtype(cache.dtype).itemsize)))
    workers = threads or os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    try:
        submit(workers * _IMAGES_AHEAD)
        while running:
            job = ended.get()
            key = running.pop(job)
            submit(1)
            count(1)
            try:
                kept[key] = job.result().astype(cache.dtype, copy=False)
            except _Gone:
                raise
            except RetrainLabError as error:
                problems[missing[key].path] = str(error)
            if len(kept) >= most or time.perf_counter() - written > _SECONDS_A_PART:
                write()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        finished = {key: job for job, key in running.items() if not job.cancelled() and job.exception() is None}
        kept.update((key, job.result()) for key, job in finished.items())  # beside the one that ended the work
        write()
    return problems
