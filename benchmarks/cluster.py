"""What does a Dask cluster cost and win on one machine, where threads are the other way?

The same number of image files goes to bottlenecks (efficientnet_lite0) by threads, by two worker processes and three,
side by side in this run, in blocks that take turns; ratios of the total times are printed. Beside them stands what a
cluster costs before its first image, what a task costs that does nothing, and how many answers of `label` one process
takes in: what bounds a cluster from above.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import distributed
import numpy as np

from retrainlab.backbones import registry
from retrainlab.backbones.registry import Backbone
from retrainlab.bottlenecks import caching, cluster, extracting
from retrainlab.cli.answer_files import Form
from retrainlab.cli.answer_parts import adding
from retrainlab.datasets import fetching
from retrainlab.images import scanning
from retrainlab.labeling.streaming import Answer
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.trust.guard import Opinion

BLOCK, ROUNDS, TASKS, ANSWERS = 120, 3, 200, 20_000
WAYS = {"threads": 0, "2 workers": 2, "3 workers": 3}


@contextmanager
def workers(count: int) -> Iterator[distributed.Client]:
    with (
        distributed.LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0") as machines,
        distributed.Client(machines, set_as_default=False) as client,
    ):
        yield client


def extraction(backbone: Backbone, folder: Path) -> None:
    images = scanning.scan(folder).images.drop_duplicates("sha256")
    blocks = iter(np.array_split(np.arange(len(images)), len(images) // BLOCK))
    cache = caching.open_cache(backbone)

    def seconds() -> float:
        rows, started = images.iloc[next(blocks)[:BLOCK]], time.perf_counter()
        done = extracting.extract(backbone, cache, ImageFolder(folder), rows)
        assert done.computed == BLOCK, done
        return time.perf_counter() - started

    with ExitStack() as stack:
        clients, took = {}, dict.fromkeys(WAYS, 0.0)
        for way, count in WAYS.items():
            started = time.perf_counter()
            clients[way] = stack.enter_context(workers(count)) if count else None
            started, ready = time.perf_counter(), time.perf_counter() - started
            with clients[way].as_current() if clients[way] else nullcontext():
                first = seconds()
            print(f"{way}: started in {ready:.1f} s; its first {BLOCK} images in {first:.1f} s")
        for _ in range(ROUNDS):
            for way, client in clients.items():
                with client.as_current() if client else nullcontext():
                    took[way] += seconds()
        for way, total in took.items():
            print(f"{way}: {BLOCK * ROUNDS / total:.0f} images/s, {took['threads'] / total:.2f} of threads")
        client, started = clients["2 workers"], time.perf_counter()
        assert len(list(cluster.run(client, abs, range(TASKS)))) == TASKS
        print(f"a task that does nothing: {1000 * (time.perf_counter() - started) / TASKS:.1f} ms")


def answers() -> None:
    """Take in answers as a cluster's client does: unpacked, laid out, written to Parquet."""
    from distributed.protocol import pickle

    def answer(number: int) -> Answer:
        near = [(f"a/{number + k}.jpg", "a", 0.1 + number) for k in range(3)]
        opinion = Opinion("a or b", ["a", "b"], False, 0.5 + number, near, np.full(33, number, np.float32), 0)
        return Answer(f"new/{number}.jpg", [("a", 1 / (2 + number))], opinion=opinion)

    packed = [pickle.dumps([answer(at + number) for number in range(1000)]) for at in range(0, ANSWERS, 1000)]
    with tempfile.TemporaryDirectory() as place:
        started, form = time.process_time(), Form("parquet", 1, "0" * 8)
        with adding(Path(place, "new.parquet"), form) as add:
            for some in packed:
                for each in pickle.loads(some):
                    add(each)
        seconds = time.process_time() - started  # of the processor: others may use it, too
        written = sum(part.stat().st_size for part in Path(place).rglob("*.parquet"))
    sent = sum(map(len, packed))
    print(
        f"answers that one process takes in: {ANSWERS / seconds:,.0f} a second of one core; {sent / ANSWERS:.0f} bytes"
    )
    print(f"each are sent, {written / ANSWERS:.0f} written")


def main() -> None:
    folder = fetching.locate("elpv")
    with tempfile.TemporaryDirectory() as cache_dir:
        extraction(registry.resolve("efficientnet_lite0", cache_dir), folder)
    answers()


if __name__ == "__main__":
    sys.exit(main())
