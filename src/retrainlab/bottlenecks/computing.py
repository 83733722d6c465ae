"""Images -> rows of a cache, here: on threads that each take one from file to bottleneck, or in batches on a GPU.

What was computed is kept whatever ends the work, an interrupt included.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from ..backbones import gpu
from ..backbones.registry import Backbone
from ..errors import RetrainLabError
from ..pixels.bounds import content
from ..pixels.decoding import ImageFolder, read_pixels
from . import cluster, pipeline
from .caching import Cache

_ROWS_A_PART, _BYTES_A_PART = 2048, 2**26
_SECONDS_A_PART = 20.0  # the most work that a crash can lose
_IMAGES_AHEAD = 32  # of what is written, for each thread
Key = tuple[str, int]  # what the cache knows an image by, and what it calls a variant of it


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
class Source:
    """What a bottleneck is made from: a file, and the number of the variant, 0 for the image as it is."""

    path: str
    sha256: str
    number: int


class _Gone(RetrainLabError):
    """There is no image folder any more."""


@dataclass(frozen=True)
class Work:
    """How a source becomes a bottleneck: by what, from where, changed how."""

    backbone: Backbone
    photos: ImageFolder
    change: Change | None

    def bottleneck(self, source: Source) -> np.ndarray:
        return self.backbone.bottlenecks(self.pixels(source)[None])[0]

    def pixels(self, source: Source) -> np.ndarray:
        size, change = self.backbone.image_size, self.change
        with _content(self.photos.root, source) as data:

            def read(wanted: tuple[int, int]) -> np.ndarray:
                return read_pixels(data, wanted, self.photos.levels, source.path)

            return read(size) if change is None else change.make(read, size, source.sha256, source.number)


def compute(
    work: Work, missing: dict[Key, Source], cache: Cache, threads: int | None, count: Callable[[int], object]
) -> tuple[dict[str, str], str]:
    """Compute on this machine: (what went wrong, by path; what computed it).

    What a GPU takes in one batch, threads have done before TensorFlow has started.
    """
    device, why = gpu.find() if len(missing) >= gpu.BATCH else None, ""
    if device is not None:
        try:
            network = gpu.open_network(work.backbone, device)
            return in_batches(work, network, missing, cache, threads, count), f"the {network}"
        except gpu.Unfit as error:
            why = f", since {error}"
    return on_threads(work, missing, cache, threads, count), f"the CPU{why}"


def on_threads(
    work: Work, missing: dict[Key, Source], cache: Cache, threads: int | None, count: Callable[[int], object]
) -> dict[str, str]:
    """Compute on threads, and write what comes of it; returns what went wrong, by path.

    Each thread takes one image from file to bottleneck: decoding and inference both release the interpreter lock.
    Only so many images are given to the threads at a time that they have enough to do while a part is written.
    """
    running: dict[Future[np.ndarray], Key] = {}
    ended: SimpleQueue[Future[np.ndarray]] = SimpleQueue()
    waiting = iter(missing.items())
    problems: dict[str, str] = {}

    def submit(more: int) -> None:
        for key, source in islice(waiting, more):
            job = pool.submit(work.bottleneck, source)
            running[job] = key
            job.add_done_callback(ended.put)

    workers, kept = threads or os.cpu_count() or 1, _Kept(cache)
    pool = ThreadPoolExecutor(workers)
    try:
        submit(workers * _IMAGES_AHEAD)
        while running:
            job = ended.get()
            key = running.pop(job)
            submit(1)
            count(1)
            if (error := job.exception()) is None:
                kept.add({key: job.result()})
            else:
                problems[missing[key].path] = _problem(error)
            kept.write_if_due()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        finished = {key: job for job, key in running.items() if not job.cancelled() and job.exception() is None}
        kept.add({key: job.result() for key, job in finished.items()})  # beside the one that ended the work
        kept.write()
    return problems


def in_batches(
    work: Work,
    network: Callable[[np.ndarray], np.ndarray],
    missing: dict[Key, Source],
    cache: Cache,
    threads: int | None,
    count: Callable[[int], object],
) -> dict[str, str]:
    """Compute as `on_threads` does, by a network that takes a batch at a time, while the next ones are read."""
    keys, sources, kept = list(missing), list(missing.values()), _Kept(cache)
    problems: dict[str, str] = {}
    size, cores = work.backbone.image_size, threads or os.cpu_count() or 1

    def read(number: int) -> np.ndarray:
        return work.pixels(sources[number])

    try:
        for numbers, pixels, failed in pipeline.batches(read, len(keys), size, gpu.BATCH, cores):
            count(len(numbers) + len(failed))
            try:
                rows = dict(enumerate(network(pixels))) if numbers else {}
            except RuntimeError:  # one image spoils its batch: which one, each alone will tell
                rows, wrong = _one_by_one(work.backbone, pixels)
                failed |= {numbers[row]: error for row, error in wrong.items()}
            kept.add({keys[numbers[row]]: values for row, values in rows.items()})
            problems |= {sources[number].path: _problem(error) for number, error in failed.items()}
            kept.write_if_due()
    finally:
        kept.write()
    return problems


def _one_by_one(backbone: Backbone, pixels: np.ndarray) -> tuple[dict[int, np.ndarray], dict[int, BaseException]]:
    """Compute on the CPU, by row: (bottlenecks, what went wrong)."""
    rows: dict[int, np.ndarray] = {}
    wrong: dict[int, BaseException] = {}
    for row, image in enumerate(pixels):
        try:
            rows[row] = backbone.bottlenecks(image[None])[0]
        except RetrainLabError as error:
            wrong[row] = error
    return rows, wrong


def _problem(error: BaseException) -> str:
    """What is wrong with a single file; an error that ends the work is raised."""
    if isinstance(error, RetrainLabError) and not isinstance(error, _Gone):
        return str(error)
    raise error


class _Kept:
    """What was computed and is not written yet."""

    def __init__(self, cache: Cache) -> None:
        self._cache, self._rows, self._written = cache, dict[Key, np.ndarray](), time.perf_counter()
        self._stuck = False
        self._most = max(1, min(_ROWS_A_PART, _BYTES_A_PART // (cache.dim * np.dtype(cache.dtype).itemsize)))

    def add(self, rows: Mapping[Key, np.ndarray]) -> None:
        self._rows |= {key: row.astype(self._cache.dtype, copy=False) for key, row in rows.items()}

    def write_if_due(self) -> None:
        if len(self._rows) >= self._most or time.perf_counter() - self._written > _SECONDS_A_PART:
            self.write()

    def write(self) -> None:
        if self._stuck:  # why it could not be written is being said
            return
        self._stuck = True
        self._cache.add(list(self._rows), np.array(list(self._rows.values())))
        self._written, self._stuck = time.perf_counter(), False
        self._rows.clear()


@contextmanager
def _content(root: Path, source: Source) -> Iterator[bytes]:
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
