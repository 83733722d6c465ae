"""How fast is the way from image files to bottlenecks beside others', with the same weights on the same cores?

Retrain Lab; TensorFlow's own `image_dataset_from_directory` and `predict`; OpenVINO; PyTorch with timm's
tf_efficientnet_lite0, whose weights come from the same file; the body of fastai's learner with that network. All take
the same 300 x 300 PNG files to the same 1,280 numbers, in blocks that take turns; each is checked to agree with ours
(mean cosine above 0.95: they resize in ways of their own). Then, where fastai is there, the whole way from
files to a classifier, on the same training and validation images.

torch, torchvision, timm, openvino and fastai belong to no environment of ours; what is not installed is left out.
"""

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retrainlab.backbones import embedded, registry
from retrainlab.backbones.backbone import Backbone
from retrainlab.backbones.runtimes import tensorflow
from retrainlab.bottlenecks import caching, extracting
from retrainlab.datasets import fetching
from retrainlab.evaluation.intervals import accuracy, percent
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder, read_pixels
from retrainlab.training import solver
from retrainlab.training.heads import HeadSettings

BLOCK, BLOCKS, BATCH = 200, 4, 16
EPOCHS = 4  # of fastai's learner, its body frozen
CORES = len(os.sched_getaffinity(0))
Way = Callable[[Path], np.ndarray]  # a folder of label folders -> features, in the order of the sorted paths


def there(*modules: str) -> bool:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    for name in missing:
        print(f"{name} is not installed: left out")
    return not missing


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.png"))


def of_ours(backbone: Backbone) -> Way:
    cache = caching.open_cache(backbone)

    def features(folder: Path) -> np.ndarray:
        table = scanning.scan(folder).images
        extracting.extract(backbone, cache, ImageFolder(folder), table)
        return cache.load(table["sha256"])

    return features


def of_tensorflow(backbone: Backbone) -> Way:
    tf = tensorflow()
    height, width = backbone.image_size
    pixels = tf.keras.Input((height, width, 3))
    layer = tf.keras.layers.TFSMLayer(str(backbone.module), call_endpoint="serving_default")
    model = tf.keras.Model(pixels, layer(tf.keras.layers.Rescaling(1 / 255)(pixels)))

    def features(folder: Path) -> np.ndarray:
        images = tf.keras.utils.image_dataset_from_directory(
            folder, labels=None, shuffle=False, image_size=(height, width), batch_size=BATCH, verbose=False
        )
        found = model.predict(images.prefetch(tf.data.AUTOTUNE), verbose=0)
        return next(iter(found.values())) if isinstance(found, dict) else found

    return features


def of_openvino(backbone: Backbone) -> Way:
    import openvino

    core = openvino.Core()
    height, width = backbone.image_size
    model = openvino.convert_model(str(backbone.module), input=[("images", [-1, height, width, 3])])
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", settings)

    def features(folder: Path) -> np.ndarray:
        paths, queue = files(folder), openvino.AsyncInferQueue(compiled)
        found = np.zeros((len(paths), backbone.dim), np.float32)

        def keep(request: Any, row: int) -> None:
            found[row : row + BATCH] = request.get_output_tensor().data.reshape(-1, backbone.dim)

        queue.set_callback(keep)
        with ThreadPoolExecutor(CORES) as pool:
            pixels = pool.map(lambda path: read_pixels(path, backbone.image_size), paths)
            for row in range(0, len(paths), BATCH):
                batch = [next(pixels) for _ in paths[row : row + BATCH]]
                queue.start_async(np.stack(batch).astype(np.float32) / 255, row)
        queue.wait_all()
        return found

    return features


def timm_network() -> Any:
    """timm's network, with the weights of the embedded one: both list the same tensors in the same order."""
    import timm
    import torch

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    with embedded.weights_file("efficientnet_lite0").open("rb") as file:
        given = [value for name, value in embedded.read_torch_file(file).items() if "num_batches" not in name]
    own = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    assert [tuple(value.shape) for value in own.values()] == [value.shape for value in given]
    values = {name: torch.from_numpy(np.array(value)) for name, value in zip(own, given, strict=True)}
    network.load_state_dict(values, strict=False)
    network.reset_classifier(0)
    return network.eval()


def of_timm(backbone: Backbone) -> Way:
    import torch
    from torchvision import datasets, transforms

    network = timm_network().to(memory_format=torch.channels_last)
    mean, std = [127 / 255] * 3, [128 / 255] * 3
    steps = [transforms.Resize(backbone.image_size), transforms.ToTensor(), transforms.Normalize(mean, std)]

    def features(folder: Path) -> np.ndarray:
        images = datasets.ImageFolder(folder, transforms.Compose(steps))
        loader = torch.utils.data.DataLoader(images, BATCH, num_workers=1)
        with torch.inference_mode():
            given = (pixels.to(memory_format=torch.channels_last) for pixels, _ in loader)
            return np.concatenate([network(pixels).numpy() for pixels in given])

    return features


def blocks(table: pd.DataFrame, source: Path, scratch: Path) -> Iterator[Path]:
    """Folders of `BLOCK` images each, as label folders."""
    for number in range(BLOCKS + 1):
        folder = scratch / f"block {number}"
        for path in table["path"].iloc[number * BLOCK : (number + 1) * BLOCK]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, folder / path)
        yield folder


def extraction(backbone: Backbone, table: pd.DataFrame, source: Path, scratch: Path) -> None:
    ways = {"Retrain Lab": of_ours(backbone), "TensorFlow": of_tensorflow(backbone)}
    if there("openvino"):
        ways["OpenVINO"] = of_openvino(backbone)
    if there("torch", "torchvision", "timm"):
        ways["PyTorch, timm"] = of_timm(backbone)
    seconds = dict.fromkeys(ways, 0.0)
    alike: dict[str, list[float]] = {name: [] for name in ways}
    for number, folder in enumerate(blocks(table, source, scratch)):
        known = None
        for name, way in ways.items():
            started = time.perf_counter()
            found = way(folder)
            if number:  # the first one warms up
                seconds[name] += time.perf_counter() - started
            known = found if known is None else known
            lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(found, axis=1)
            alike[name].append(float(((known * found).sum(axis=1) / lengths).mean()))
    ours = seconds["Retrain Lab"]
    for name, taken in seconds.items():
        rate, cosine = BLOCK * BLOCKS / taken, np.mean(alike[name])
        print(f"{name:14} {rate:5.0f} images/s, {taken / ours:.2f} times our time; cosine with ours {cosine:.3f}")
        assert cosine > 0.95, name


def classifiers(backbone: Backbone, table: pd.DataFrame, source: Path, scratch: Path) -> None:
    """From files to a classifier: a layer on our bottlenecks, and fastai's learner with its body frozen."""
    import torch
    from fastai.vision.all import ImageDataLoaders, Learner, Resize, ResizeMethod

    rows = table.iloc[: BLOCK * (BLOCKS + 1)]
    folder = scratch / "all"
    for path in rows["path"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    held = set(rows["path"].iloc[::4])

    started = time.perf_counter()
    features, found = of_ours(backbone)(folder), scanning.scan(folder).images
    mine = found["path"].isin(held).to_numpy()
    split = np.where(mine, "validation", "train").astype(object)
    (head,) = solver.solve(features, found["label"], split, [HeadSettings(weight_decay=0.3)])
    right = np.array(head.labels)[head.logits(features[mine]).argmax(axis=1)] == found["label"].to_numpy()[mine]
    ours = time.perf_counter() - started
    print(f"Retrain Lab: {ours:.1f} s, validation accuracy {percent(accuracy(right))}")

    started = time.perf_counter()
    frame = found[["path", "label"]].assign(held=mine)
    data = ImageDataLoaders.from_df(
        frame, folder, fn_col="path", label_col="label", valid_col="held", bs=BATCH, num_workers=1,
        item_tfms=Resize(backbone.image_size[0], ResizeMethod.Squish),
    )  # fmt: skip
    body = timm_network()
    network = torch.nn.Sequential(body, torch.nn.Linear(backbone.dim, len(head.labels)))
    learner = Learner(data, network, splitter=lambda model: [list(part.parameters()) for part in model])
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(EPOCHS)
        chances, classes = learner.get_preds()
    theirs = time.perf_counter() - started
    right = (chances.argmax(dim=1) == classes).numpy()
    print(f"fastai, {EPOCHS} epochs: {theirs:.1f} s, {theirs / ours:.1f} times our time; {percent(accuracy(right))}")


def main() -> None:
    source = fetching.locate("elpv")
    table = scanning.scan(source).images.sample(BLOCK * (BLOCKS + 1), random_state=0)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        backbone = registry.resolve("efficientnet_lite0", scratch / "backbone")
        extraction(backbone, table, source, scratch)
        if there("fastai", "torch", "timm"):
            classifiers(registry.resolve("efficientnet_lite0", scratch / "again"), table, source, scratch)


if __name__ == "__main__":
    main()
