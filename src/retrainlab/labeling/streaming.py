"""Images in, answers out: one by one, in their order, on every core, and in little memory however many there are."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import RetrainLabError
from ..images.walking import ARCHIVES
from ..trust.guard import Opinion
from .labelers import Labeler

Source = Path | str | bytes  # an image file, or its content
_Told = tuple[np.ndarray | RetrainLabError, str]
_Judged = tuple[np.ndarray | RetrainLabError, str, Opinion | None, np.ndarray | None]
_Result = TypeVar("_Result")
_AHEAD = 8  # images a thread, that are begun before the first of them is asked for: one large file halts nobody


@dataclass(frozen=True)
class Answer:
    """What a classifier says of an image.

    Attributes:
        path: as `shown`.
        labels: (label, probability from 0 to 1), the most probable first; none where there is a problem.
        problem: why there are none, a sentence without its full stop; else None.
        note: what to know of how it was read, likewise, or empty.
        opinion: how far the answer goes; None where the classifier does not know that.
        pixels: uint8 [height, width, 3], as the classifier was given them; None where nobody asked for them.
    """

    path: str
    labels: list[tuple[str, float]]
    problem: str | None = None
    note: str = ""
    opinion: Opinion | None = None
    pixels: np.ndarray | None = None


def sources(images: Iterable[Path | str] | Mapping[str, Source]) -> dict[str, Source]:
    """Lay out what there is to read, by path as `shown`; what is given twice is there once.

    Args:
        images: image files and folders, which become the images below them (see `scanning.image_files`); or what to
            read, by name. A folder without images stays a folder: `answers` says so in its place.

    Raises:
        RetrainLabError: a folder may not be read.
    """
    if isinstance(images, Mapping):
        return {shown(path): source for path, source in images.items()}
    return {shown(file): file for path in images for file in _files(Path(path))}


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    from ..images import scanning  # it brings pandas, for which one image need not wait

    return scanning.image_files(path) or [path]


def shown(path: Path | str) -> str:
    r"""Return a path as text that can be printed and stored: bytes that are not UTF-8 become \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def answers(
    labeler: Labeler,
    found: Mapping[str, Source],
    top: int = 5,
    keep_pixels: bool = False,
    threads: int | None = None,
) -> Generator[Answer, None, None]:
    """Label images, and give each answer as soon as it and those before it are there.

    Args:
        found: what to read, by path, as from `sources`.
        top: how many labels to give for each, most probable first.
        keep_pixels: whether answers carry the pixels that were read.
        threads: None = one a core.
    """
    with closing(_in_order(found, partial(_judged, labeler), threads)) as rows:
        for path, (chances, note, opinion, pixels) in zip(found, rows, strict=True):
            if isinstance(chances, RetrainLabError):
                yield Answer(path, [], str(chances).rstrip("."))
                continue
            best = np.argsort(-chances, kind="stable")[:top]
            labels = [(labeler.labels[at], float(chances[at])) for at in best]
            yield Answer(path, labels, None, note, opinion, pixels if keep_pixels else None)


def probabilities(labeler: Labeler, found: Mapping[str, Source]) -> Generator[_Told, None, None]:
    """Label images by threads, in their order: the probabilities of each, float32 [labels], or why there are none.

    With each comes what to know of how it was read, or nothing: see `Labeler.read`.
    """
    return _in_order(found, lambda path, source: _judged(labeler, path, source)[:2])


def _in_order(
    found: Mapping[str, Source], work: Callable[[str, Source], _Result], threads: int | None = None
) -> Generator[_Result, None, None]:
    """Do the work by threads, and give its results in order.

    Each thread takes one image from file to result. Only some images are begun ahead of the one that is asked for;
    closing the iterator drops them.
    """
    threads = threads or os.cpu_count() or 1
    begun: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for path, source in found.items():
            begun.append(pool.submit(work, path, source))
            if len(begun) == _AHEAD * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _judged(labeler: Labeler, path: str, source: Source) -> _Judged:
    try:
        pixels, note = labeler.read(source, path)
        if labeler.guarded is None:
            return labeler.probabilities(pixels), note, None, pixels
        chances, opinion = labeler.guarded.judge(pixels)
        return chances, note, opinion, pixels
    except RetrainLabError as error:
        return error if isinstance(source, bytes) else _why(Path(source)) or error, "", None, None


def _why(path: Path) -> RetrainLabError | None:
    """Say what a person gave in place of an image, where it is a folder or an archive."""
    if path.is_dir():
        return RetrainLabError("the folder holds no images")
    if path.name.lower().endswith(ARCHIVES) and path.exists():
        return RetrainLabError("an archive, not an image; unpack it, and name the folder")
    return None
