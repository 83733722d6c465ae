"""How near does a GPU come to its limits: extraction to decoding and the forward pass, fine-tuning to its steps?

Inception v3's architecture with random weights, which are as fast as trained ones, on photos of 500 x 375 pixels that
are made here. Beside float32, in which bottlenecks are computed, TF32 and mixed precision say what that gives away.
Where TensorFlow finds no GPU, that is said; `python benchmarks/gpu.py cpu` tries the script on its CPU device, on few
photos.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retrainlab.backbones import cuts, cutting, freezing, gpu, registry
from retrainlab.backbones.gpu import Gpu
from retrainlab.backbones.runtimes import quiet, tensorflow
from retrainlab.bottlenecks import activations, caching, extracting, pipeline
from retrainlab.bottlenecks.features import Features, load
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder, read_pixels
from retrainlab.training import devices, finetuning, tops
from retrainlab.training.devices import Device
from retrainlab.training.finetuning import TuningSettings
from retrainlab.training.heads import Head, HeadSettings

PHOTOS, TRIED = 8192, 24
CORES = os.cpu_count() or 1


def photos(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        rough = Image.fromarray(random.integers(0, 256, (47, 63, 3), dtype=np.uint8))
        place = folder / f"label {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        rough.resize((500, 375)).save(place / f"{number}.jpg", quality=90)


def rate(images: int, run: Callable[[], Any]) -> float:
    """Images a second of what takes so many, in the best of three."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return images / min(seconds)


def extraction(place: Path, device: Gpu) -> Features:
    tf, folder = tensorflow(), place / "photos"
    with quiet():
        keras = tf.keras.applications.InceptionV3(
            weights=None, include_top=False, pooling="avg", input_shape=(299, 299, 3)
        )
        keras.save(place / "inception.keras")
    backbone = registry.resolve(str(place / "inception.keras"), place / "cache")
    images = scanning.load(folder, 10, 10).images
    paths = [str(folder / path) for path in images["path"]]

    def decode() -> None:
        for _ in pipeline.batches(lambda n: read_pixels(paths[n], size), len(paths), size, gpu.BATCH, CORES):
            pass

    size, network = backbone.image_size, gpu.open_network(backbone, device)
    batch, many = np.zeros((gpu.BATCH, *size, 3), np.uint8), max(1, len(paths) // gpu.BATCH // 3)

    def forward(run: Callable[[np.ndarray], Any]) -> float:
        run(batch)  # warms up
        return rate(many * gpu.BATCH, lambda: [run(batch) for _ in range(many)])

    limits = {"decoding": rate(len(paths), decode), "forward pass": forward(network)}
    done = extracting.extract(backbone, caching.open_cache(backbone), ImageFolder.of(folder, images), images)
    limits |= other_precisions(backbone, device, forward)
    for name, found in limits.items():
        print(f"{name}: {found:.0f} images/s")
    own, limit = done.computed / done.seconds, min(limits["decoding"], limits["forward pass"])
    print(f"{done}\n{own / limit:.2f} of the nearer limit, its start of TensorFlow not counted")
    return load(backbone, ImageFolder.of(folder, images), images)


def other_precisions(backbone: registry.Backbone, device: Gpu, forward: Callable[..., float]) -> dict[str, float]:
    """What the forward pass would be in less than float32, as the cache does not take it."""
    math = tensorflow().config.experimental
    gpu.open_network.cache_clear()  # a graph is made for the precision that it first runs in
    network = gpu.open_network(backbone, device)
    math.enable_tensor_float_32_execution(True)
    found = {"forward pass in TF32": forward(network)}
    math.enable_tensor_float_32_execution(False)
    gpu.open_network.cache_clear()
    with Device(device.name, mixed=True).computing():
        found["forward pass in mixed precision"] = forward(gpu.open_network(backbone, device))
    gpu.open_network.cache_clear()
    return found


def fine_tuning(features: Features, place: Path, device: Gpu) -> None:
    settings = TuningSettings(epochs=2, batch_size=gpu.BATCH // 2)
    cut = cutting.choose(cuts.of(features.backbone), "auto")
    graph, kept = (
        cutting.above(freezing.freeze(features.backbone), cut),
        activations.load(features, cut, features.table),
    )
    labels = sorted(features.table["label"].unique())
    head = Head(labels, HeadSettings(), np.zeros((features.backbone.dim, 2), np.float32), np.zeros(2, np.float32))
    print(f"activations at {cut.name}: {kept.done[0]}")
    rows = np.arange(settings.batch_size)
    batch, classes = kept.batch(rows, rows * 0), rows % 2
    on = devices.found() if device.place != "/CPU:0" else devices.CPU
    speed = {}
    for each, where in {on: device.place, Device(on.name): device.place, devices.CPU: "/CPU:0"}.items():
        with tensorflow().device(where):
            top, steps = tops.Top(graph, cut, head, settings, each), 3 if where == "/CPU:0" else 50
            top.step(batch, classes, 1, 100)  # warms up
            speed[each] = rate(steps * len(rows), lambda: [top.step(batch, classes, 2, 100) for _ in range(steps)])  # noqa: B023
        print(f"steps on the {each}: {speed[each]:.0f} images/s")
    began = time.perf_counter()
    finetuning.fine_tune(graph, kept, head, settings, place / "state", until=settings.epochs)
    learnt = settings.epochs * (features.table["split"] == "train").sum() / (time.perf_counter() - began)
    print(f"two epochs, all counted: {learnt:.0f} images/s, {learnt / speed[on]:.2f} of its steps")


def main() -> None:
    tried = sys.argv[1:] == ["cpu"]
    device = Gpu("/CPU:0", "CPU device of TensorFlow") if tried else gpu.find()
    if device is None:
        print("TensorFlow finds no GPU on this machine, so there is nothing to measure.")
        return
    if tried:
        gpu.find, gpu.BATCH = lambda: device, 8  # so that `extract` takes it for one
    with tempfile.TemporaryDirectory() as place:
        photos(Path(place, "photos"), TRIED if tried else PHOTOS)
        features = extraction(Path(place), device)
        fine_tuning(features, Path(place), device)


if __name__ == "__main__":
    main()
