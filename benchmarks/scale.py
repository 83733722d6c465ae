"""What does an image cost in bytes, memory and seconds, beside pixels and network? docs/scale.md counts with it.

Everything is made up: rows of the images table as a scan writes them, bottlenecks as extraction does, tiny image files.
The two ratios that are printed last say how far a quarter of the rows is from a quarter of the cost.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from retrainlab.bottlenecks.caching import Cache
from retrainlab.images import scanning
from retrainlab.pixels.levels import OWN

ROWS, DIM, PART, FILES = 40_000, 1280, 2048, 5_000


def table_of(rows: int) -> pd.DataFrame:
    names = [f"label {n % 100:03}/IMG_{n:08}.jpg" for n in range(rows)]
    facts = {"path": names, "label": [name[:9] for name in names], "given": [name[:9] for name in names]}
    facts |= {"split": "train", "group": names, "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names]}
    facts |= {"bytes": np.arange(rows) + 100_000, "modified": np.arange(rows) + 1.7e9, "width": 500, "height": 375}
    return pd.DataFrame(facts | {"format": "JPEG"}).reindex(columns=scanning.COLUMNS)


def memory() -> int:
    """Bytes that this process holds itself, without the files that it has mapped."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def fill(folder: Path, table: pd.DataFrame) -> float:
    cache, random, started = Cache(folder, DIM), np.random.default_rng(0), time.perf_counter()
    for at in range(0, len(table), PART):
        keys = [(sha256, 0) for sha256 in table["sha256"].iloc[at : at + PART]]
        cache.add(keys, random.random((len(keys), DIM), np.float32))
    return time.perf_counter() - started


def opening(folder: str, rows: str) -> None:
    """In a process of its own: what opening the cache of so many rows takes, and gathering them."""
    table, before, started = table_of(int(rows)), memory(), time.perf_counter()
    cache = Cache(Path(folder), DIM)
    cache.refresh()
    opened, held = time.perf_counter() - started, memory() - before
    matrix, _ = cache.features(table, OWN)
    print(opened, held, time.perf_counter() - started - opened, len(matrix))


def main() -> None:
    table = table_of(ROWS)
    with tempfile.TemporaryDirectory() as place:
        file, took = Path(place) / "images.parquet", {}
        table.to_parquet(file)
        held = table.memory_usage(deep=True).sum()
        print(f"images table: {file.stat().st_size / ROWS:.0f} bytes a row in Parquet, {held / ROWS:.0f} in pandas")
        for rows in (ROWS // 4, ROWS):
            folder = Path(place) / str(rows)
            folder.mkdir()
            wrote = fill(folder, table.head(rows))
            size = sum(part.stat().st_size for part in folder.iterdir())
            command = [sys.executable, __file__, str(folder), str(rows)]
            opened, held, gathered, _ = map(float, subprocess.check_output(command, text=True).split())
            took[rows] = opened, gathered
            per = 1e6 / rows
            print(
                f"cache, {rows:,} rows: {size / rows:.0f} bytes a row on disk, {held / rows:.0f} in memory once open;"
            )
            print(
                f"written in {wrote * per:.0f} us a row, opened in {opened * per:.0f}, gathered in {gathered * per:.0f}"
            )
        for label in "ab":
            (Path(place) / "photos" / label).mkdir(parents=True)
        for number in range(FILES):
            Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(
                Path(place) / "photos" / "ab"[number % 2] / f"{number}.png"
            )
        started = time.perf_counter()
        first = scanning.scan(Path(place) / "photos")
        again = time.perf_counter()
        scanning.scan(Path(place) / "photos", first.images)
        seconds = time.perf_counter() - again
        print(f"scan: {FILES / (again - started):,.0f} tiny files a second, and {FILES / seconds:,.0f} unchanged ones")
    least, most = took[ROWS // 4], took[ROWS]
    ratios = [4 * small / large for small, large in zip(least, most, strict=True)]
    print(f"ratio: a quarter of the rows, four times, against all: opening {ratios[0]:.2f}, gathering {ratios[1]:.2f}")


if __name__ == "__main__":
    opening(*sys.argv[1:]) if len(sys.argv) > 1 else main()
