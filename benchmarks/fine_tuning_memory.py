"""Does the memory of fine-tuning grow with the number of images? One epoch of a small top, at 2,000 and at 20,000.

Activations of made-up images lie in a cache of the real format, in a temporary folder: 14 x 14 x 112 numbers each, 0.9
GB for 20,000. Each size runs in a process of its own. What counts is anonymous memory at its peak (Linux): pages of
mapped files are the page cache's, and go when others need them. About two minutes.
"""

import multiprocessing
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retrainlab.backbones.cuts import Cut
from retrainlab.backbones.freezing import OUTPUT
from retrainlab.backbones.runtimes import tensorflow
from retrainlab.bottlenecks.activations import Activations
from retrainlab.bottlenecks.caching import Cache
from retrainlab.training import finetuning
from retrainlab.training.finetuning import TuningSettings
from retrainlab.training.heads import Head, HeadSettings

CUT, CHANNELS, LABELS = Cut("cut", (14, 14, 112), 0.3), 320, [f"label {number}" for number in range(10)]


def write(folder: Path, names: list[str]) -> None:
    random, cache = np.random.default_rng(0), Cache(folder, CUT.numbers, np.float16)
    for begin in range(0, len(names), 1000):
        keys = [(name, 0) for name in names[begin : begin + 1000]]
        cache.add(keys, random.random((len(keys), CUT.numbers), np.float32).astype(np.float16))


def top() -> Any:
    """A convolution of 1 x 1 and a mean."""
    tf, random = tensorflow(), np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, *CUT.shape], CUT.name)
        kernel = tf.constant(random.normal(0, 0.1, (1, 1, CUT.shape[-1], CHANNELS)).astype(np.float32))
        tf.reduce_mean(tf.nn.relu6(tf.nn.conv2d(x, kernel, 1, "SAME")), [1, 2], name=OUTPUT)
    return graph.as_graph_def()


def anonymous() -> float:
    """MB of this process that no file holds."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


def peak(count: int, said: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{number:064x}" for number in range(count)]
        writer = multiprocessing.Process(target=write, args=(Path(folder), names))
        writer.start()  # a process of its own, so that writing leaves nothing here
        writer.join()
        graph, began = top(), anonymous()
        seen, ended = [began], threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                seen.append(anonymous())

        threading.Thread(target=watch, daemon=True).start()
        started = time.perf_counter()
        cache = Cache(Path(folder), CUT.numbers, np.float16)
        cache.refresh()
        random, split = np.random.default_rng(0), np.where(np.arange(count) % 5 == 0, "validation", "train")
        table = pd.DataFrame({"label": random.choice(LABELS, count), "split": split})
        kept = Activations(CUT, cache, table, names, (0,), (0,), ())
        head = Head(LABELS, HeadSettings(), np.zeros((CHANNELS, len(LABELS)), np.float32), np.zeros(10, np.float32))
        finetuning.fine_tune(graph, kept, head, TuningSettings(epochs=1), Path(folder) / "state")
        ended.set()
        said.put((began, max(seen), time.perf_counter() - started))


def main() -> None:
    spawn = multiprocessing.get_context("spawn")
    for count in (2_000, 20_000):
        said = spawn.Queue()
        process = spawn.Process(target=peak, args=(count, said))
        process.start()
        began, most, seconds = said.get()
        process.join()
        print(
            f"{count:,} images: {began:.0f} MB with TensorFlow, {most:.0f} MB at the peak, {seconds:.0f} s", flush=True
        )


if __name__ == "__main__":
    main()
