"""How fast is the way from image files to bottlenecks beside others', with the same weights on the same cores?

Retrain Lab; TensorFlow's own `image_dataset_from_directory` and `predict`; OpenVINO; PyTorch with timm's
tf_efficientnet_lite0, whose weights come from the same file. All take the same 300 x 300 PNG files to the same 1,280
numbers, in blocks that take turns; each is checked to agree with ours (mean cosine above 0.95: they resize in ways of
their own). Then, where fastai is there, the whole way from
files to a classifier, on the same training and validation images. Each way has a process of its own.

torch, torchvision, timm, openvino and fastai belong to no environment of ours; what is not installed is left out.
"""

import importlib.util
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
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
Way = Callable[[Path], Any]  # of a folder of label folders


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.png"))


# ---------------------------------------------------- from files to features [n, dim], in the order of the sorted paths


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
        loader = torch.utils.data.DataLoader(images, BATCH)
        with torch.inference_mode():
            given = (pixels.to(memory_format=torch.channels_last) for pixels, _ in loader)
            return np.concatenate([network(pixels).numpy() for pixels in given])

    return features


# ------------------------------------ from files to a classifier: is it right about every fourth, held-out image


def held(paths: list[str]) -> np.ndarray:
    return np.arange(len(paths)) % 4 == 0


def our_classifier(backbone: Backbone) -> Way:
    def right(folder: Path) -> np.ndarray:
        features, table = of_ours(backbone)(folder), scanning.scan(folder).images
        mine = held(list(table["path"]))
        split = np.where(mine, "validation", "train").astype(object)
        (head,) = solver.solve(features, table["label"], split, [HeadSettings(weight_decay=0.3)])
        answers = np.array(head.labels)[head.logits(features[mine]).argmax(axis=1)]
        return answers == table["label"].to_numpy()[mine]

    return right


def fastai_learner(backbone: Backbone) -> Way:
    import torch
    from fastai.vision.all import ImageDataLoaders, Learner, Resize, ResizeMethod

    def right(folder: Path) -> np.ndarray:
        paths = [path.relative_to(folder).as_posix() for path in files(folder)]
        table = pd.DataFrame({"path": paths, "label": [path.split("/")[0] for path in paths], "held": held(paths)})
        data = ImageDataLoaders.from_df(
            table, folder, fn_col="path", label_col="label", valid_col="held", bs=BATCH, num_workers=1, seed=0,
            item_tfms=Resize(backbone.image_size[0], ResizeMethod.Squish),
        )  # fmt: skip
        network = torch.nn.Sequential(timm_network(), torch.nn.Linear(backbone.dim, table["label"].nunique()))
        learner = Learner(data, network, splitter=lambda model: [list(part.parameters()) for part in model])
        learner.freeze()
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(EPOCHS)
            chances, classes = learner.get_preds()
        return (chances.argmax(dim=1) == classes).numpy()

    return right


# ------------------------------------------------------------------------------------------------------- side by side


FEATURES = {
    "Retrain Lab": (of_ours, []),
    "TensorFlow": (of_tensorflow, []),
    "OpenVINO": (of_openvino, ["openvino"]),
    "PyTorch, timm": (of_timm, ["torch", "torchvision", "timm"]),
}
CLASSIFIERS = {"Retrain Lab": (our_classifier, []), "fastai": (fastai_learner, ["torch", "timm", "fastai"])}


def work(make: Callable[[Backbone], Way], backbone_dir: Path, pipe: Any) -> None:
    """Do a way's work on every folder that comes, in a process of its own: libraries do not bear with each other."""
    way = make(registry.resolve("efficientnet_lite0", backbone_dir))
    pipe.send(None)
    while folder := pipe.recv():
        started = time.perf_counter()
        found = way(folder)
        pipe.send((time.perf_counter() - started, found))


def side_by_side(ways: dict[str, Any], folders: list[Path], scratch: Path) -> dict[str, list[tuple[float, Any]]]:
    """Let ways take turns, folder by folder: by way, the seconds and what came of each."""
    processes, pipes = multiprocessing.get_context("spawn"), {}
    for name, (make, needed) in ways.items():
        if missing := [module for module in needed if importlib.util.find_spec(module) is None]:
            print(f"{name}: left out, for {', '.join(missing)} is not installed")
            continue
        pipes[name], end = processes.Pipe()
        backbone_dir = scratch / f"backbone of {name}"  # each way finds an empty cache
        shutil.copytree(scratch / "backbone", backbone_dir, dirs_exist_ok=True)
        processes.Process(target=work, args=(make, backbone_dir, end)).start()
        end.close()  # so that a process that dies ends the wait for it
        pipes[name].recv()
    found: dict[str, list[tuple[float, Any]]] = {name: [] for name in pipes}
    for folder in folders:
        for name, pipe in pipes.items():
            pipe.send(folder)
            found[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(None)
    return found


def copied(paths: pd.Series, source: Path, folder: Path) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    return folder


def main() -> None:
    source = fetching.locate("elpv")
    paths = scanning.scan(source).images["path"].sample(BLOCK * (BLOCKS + 1), random_state=0)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        registry.resolve("efficientnet_lite0", scratch / "backbone")
        blocks = [copied(paths[number :: BLOCKS + 1], source, scratch / str(number)) for number in range(BLOCKS + 1)]
        found = side_by_side(FEATURES, blocks, scratch)
        ours = sum(seconds for seconds, _ in found["Retrain Lab"][1:])  # the first block warms up
        known = np.concatenate([features for _, features in found["Retrain Lab"]])
        for name, each in found.items():
            taken, features = sum(seconds for seconds, _ in each[1:]), np.concatenate([part for _, part in each])
            lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(features, axis=1)
            cosine = float(((known * features).sum(axis=1) / lengths).mean())
            rate = BLOCK * BLOCKS / taken
            print(f"{name:14} {rate:5.0f} images/s, {taken / ours:.2f} times our time; cosine with ours {cosine:.3f}")
            assert cosine > 0.95, name
        found = side_by_side(CLASSIFIERS, [copied(paths, source, scratch / "all")], scratch)
        ((ours, _),) = found["Retrain Lab"]
        for name, ((taken, right),) in found.items():
            said = f"{taken:.1f} s, {taken / ours:.1f} times our time; held out: {percent(accuracy(right))}"
            print(f"{name:14} to a classifier: {said}")


if __name__ == "__main__":
    main()
