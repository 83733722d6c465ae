"""How much faster is extraction than retrain.py's way, one image a call to TensorFlow?

Both take the same image files to the same bottlenecks (efficientnet_lite0), side by side in this run, in blocks that
take turns; the ratio of the total times is printed.
"""

import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from retrainlab.backbones import registry
from retrainlab.backbones.runtimes import tensorflow
from retrainlab.bottlenecks import caching, extracting
from retrainlab.datasets import fetching
from retrainlab.pixels.decoding import ImageFolder, read_pixels

BLOCK, BLOCKS = 100, 4


def main() -> None:
    tf = tensorflow()
    folder = fetching.locate("elpv")
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))[: BLOCK * (BLOCKS + 1)]
    digests = [hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in paths]
    table = pd.DataFrame({"path": paths, "sha256": digests, "dtype": None, "problem": None})
    with tempfile.TemporaryDirectory() as cache_dir:
        backbone = registry.resolve("efficientnet_lite0", cache_dir)
        module = tf.saved_model.load(str(backbone.module))
        cache = caching.open_cache(backbone)

        def ours(rows: pd.DataFrame) -> None:
            done = extracting.extract(backbone, cache, ImageFolder(folder), rows)
            assert done.computed == len(rows), done

        def theirs(rows: pd.DataFrame) -> None:
            for path in rows["path"]:
                pixels = read_pixels(Path(folder, path), backbone.image_size)
                module(tf.constant(pixels[None].astype(np.float32) / 255.0)).numpy()

        seconds = {ours: 0.0, theirs: 0.0}
        for block in range(BLOCKS + 1):
            rows = table.iloc[block * BLOCK : (block + 1) * BLOCK]
            for way in seconds:
                started = time.perf_counter()
                way(rows)
                if block:  # the first one warms up
                    seconds[way] += time.perf_counter() - started
    count = BLOCK * BLOCKS
    print(f"one image a call: {count / seconds[theirs]:.0f} images/s; extract: {count / seconds[ours]:.0f} images/s")
    print(f"ratio: {seconds[theirs] / seconds[ours]:.1f} times as fast")


if __name__ == "__main__":
    main()
