"""The content-addressed bottleneck cache: what is missing, compute it, load the matrix.

`bottleneck_dir/<backbone digest>/` holds immutable Arrow IPC files with the columns sha256 (of the image file),
variant (0 = undistorted) and bottleneck (float32 [dim]). Each is named by the SHA-256 of its own content, written
aside and renamed: a crash loses at most the part in the making, and two processes can fill one cache.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm.auto import tqdm

from ..backbones.registry import Backbone
from ..errors import RetrainLabError
from ..images.decoding import read_pixels
from ..images.distortions import Distortion, apply

_ROWS_A_PART = 2048
_SECONDS_A_PART = 20.0  # the most work that a crash can lose


@dataclass
class Cache:
    """The bottlenecks of one backbone, memory-mapped.

    Attributes:
        folder: where the parts lie.
        dim: length of a bottleneck.
        damaged: parts that were found damaged on opening; they are set aside under these names.
    """

    folder: Path
    dim: int
    damaged: list[Path] = field(default_factory=list)
    _parts: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # part -> [rows, dim]
    _index: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._index

    @property
    def bytes(self) -> int:
        """Size of all parts on disk."""
        return sum(part.stat().st_size for part in self.folder.glob("*.arrow"))

    def refresh(self) -> None:
        """Open the parts that were not seen yet; set damaged ones aside."""
        for part in sorted(self.folder.glob("*.arrow")):
            if part.name not in self._parts:
                try:
                    self._open(part)
                except (FileNotFoundError, PermissionError):
                    continue  # another process has just set it aside; or it is somebody's who does not share it
                except (pa.ArrowException, ValueError, KeyError):
                    aside = part.with_suffix(".damaged")
                    with contextlib.suppress(OSError):  # likewise, or a cache that only others may write
                        part.replace(aside)
                    self.damaged.append(aside)

    def _open(self, part: Path) -> None:
        with part.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != part.stem:
                raise ValueError("content does not match the name")
        table = pa.ipc.open_file(pa.memory_map(str(part))).read_all().combine_chunks()
        column = table["bottleneck"].chunk(0)
        self._parts[part.name] = column.flatten().to_numpy().reshape(-1, self.dim)
        keys = zip(table["sha256"].to_pylist(), table["variant"].to_pylist(), strict=True)
        self._index.update((key, (part.name, row)) for row, key in enumerate(keys))

    def add(self, keys: list[tuple[str, int]], rows: np.ndarray) -> None:
        """Write one part.

        Args:
            keys: (sha256, variant), one a row.
            rows: float32 [len(keys), dim].
        """
        if not keys:
            return
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float32()), self.dim)
        table = pa.table(
            {
                "sha256": pa.array([sha256 for sha256, _ in keys]),
                "variant": pa.array([variant for _, variant in keys], pa.int32()),
                "bottleneck": values,
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=len(keys))
        content = sink.getvalue()
        part = self.folder / f"{hashlib.sha256(content).hexdigest()}.arrow"
        aside = part.with_suffix(f".{os.getpid()}")
        try:
            aside.write_bytes(content)
            aside.replace(part)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise RetrainLabError(
                f"Bottlenecks could not be written to '{self.folder}': {error.strerror}. What was written before is "
                "kept; make room or set bottleneck_dir, and run again."
            ) from error
        self._open(part)

    def load(self, sha256: Iterable[str], variant: int = 0) -> np.ndarray:
        """Gather bottlenecks by image content: float32 [len(sha256), dim]. KeyError if one is missing."""
        places = [self._index[digest, variant] for digest in sha256]
        matrix = np.empty((len(places), self.dim), np.float32)
        owner = np.array([part for part, _ in places], dtype=object)
        row = np.array([row for _, row in places], dtype=np.int64)
        for name, values in self._parts.items():
            mine = owner == name
            matrix[mine] = values[row[mine]]
        return matrix


def open_cache(backbone: Backbone) -> Cache:
    """Open a backbone's cache, checking every part against the hash that it is named by."""
    cache = Cache(backbone.folder, backbone.dim)
    cache.refresh()
    return cache


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


def load(cache: Cache, images: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Load the matrix of all usable images that the cache knows.

    Returns:
        (features, table): float32 [n, dim] and the rows of `images` they belong to, aligned, index 0 to n - 1.
    """
    known = np.array([(digest, 0) in cache for digest in images["sha256"]], dtype=bool)
    usable = images["problem"].isna() & known
    table = images[usable].reset_index(drop=True)
    return cache.load(table["sha256"]), table


def with_variants(
    cache: Cache, features: np.ndarray, table: pd.DataFrame, distortion: Distortion, variants: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Append the variants of the training images to what `load` returned, as rows of the split `distorted`.

    `training.train` then learns from those rows, and still measures on the undistorted images.
    """
    train = table[table["split"] == "train"]
    numbers = [distortion.variant(number) for number in range(1, variants + 1)]
    known = np.array([all((d, n) in cache for n in numbers) for d in train["sha256"]], dtype=bool)
    train = train[known]
    more = [cache.load(train["sha256"], number) for number in numbers]
    extra = pd.concat([train.assign(split="distorted")] * len(numbers))
    return np.concatenate([features, *more]), pd.concat([table, extra], ignore_index=True)


def audit(cache: Cache, images: pd.DataFrame) -> pd.DataFrame:
    """Describe the cache for these images: one row a quantity, column `value`.

    Dead features are those that are the same for every image: they carry nothing.
    """
    features, table = load(cache, images)
    lengths = np.linalg.norm(features, axis=1)
    facts: dict[str, object] = {
        "images with a bottleneck": len(table),
        "images without": int(images["problem"].isna().sum()) - len(table),
        "bottlenecks in the cache, of this and other folders": len(cache),
        "size on disk": f"{cache.bytes / 1e6:.1f} MB",
        "damaged parts set aside": len(cache.damaged),
        "numbers a bottleneck": cache.dim,
        "values that are not finite": int((~np.isfinite(features)).sum()),
        "dead features": int((features.std(axis=0) == 0).sum()) if len(table) else 0,
        "length of a bottleneck, median": f"{np.median(lengths):.2f}" if len(table) else "",
        "length of a bottleneck, smallest and largest": f"{lengths.min():.2f} to {lengths.max():.2f}"
        if len(table)
        else "",
    }
    return pd.DataFrame({"value": [str(value) for value in facts.values()]}, index=pd.Index(facts, name="quantity"))


def principal_components(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, float]:
    """Project bottlenecks onto the directions in which they differ most (principal component analysis).

    Returns:
        (points, share): float32 [n, count], and the share of the whole variance that they carry, 0 to 1.
    """
    centred = features - features.mean(axis=0, keepdims=True)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    share = float(variances[-count:].sum() / max(variances.sum(), 1e-12))
    return centred @ directions[:, ::-1][:, :count], share
