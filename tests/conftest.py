"""Seeded image folders and a tiny backbone: what the tests run on, with no network."""

import ast
import contextlib
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from retrainlab.images import scanning


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes minutes: whoever comes last of two cores waits for it."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@contextlib.contextmanager
def mounted(place: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own, of so many MB; skips the test where that is not allowed."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


# What metrics.json says of a training, at the least.
SPLIT = {"n": 10, "accuracy": 0.8, "interval": [0.5, 0.9], "cross_entropy": 0.4}
NONE = {"n": 0, "accuracy": None, "interval": None, "cross_entropy": None}
METRICS = {"labels": ["a", "b"], "backbone": "tiny", "steps": 5, "temperature": 1.0, "train": SPLIT,
           "validation": SPLIT, "test": NONE, "gap": {"accuracy": 0.0, "interval": [-0.3, 0.3]}}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet_figures():
    import matplotlib

    matplotlib.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
    plt.rcdefaults()  # `plots.style` is for the whole process


def make_image(seed: int, hue: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A noisy picture whose colour and stripes tell its label: learnable, and no two alike."""
    random = np.random.default_rng([seed, hue])
    height, width = size[1], size[0]
    colour = 80 + 120 * np.array([(hue * 37 % 100) / 100, (hue * 61 % 100) / 100, (hue * 17 % 100) / 100])
    stripes = 30 * np.sin(np.arange(width) * (0.2 + 0.13 * (hue % 7)))[None, :, None]
    pixels = colour + stripes + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def make_folder(root: Path, labels: dict[str, int], formats: tuple[str, ...] = ("jpg", "png")) -> Path:
    """A folder of label folders, `labels` says how many images each has; formats take turns."""
    for hue, (label, count) in enumerate(labels.items()):
        folder = root / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            make_image(number, hue).save(folder / f"image {number:03}.{formats[number % len(formats)]}")
    return root


def save_convolutions(folder: Path, shapes: dict[str, tuple[int, int, int, int]], side: int) -> str:
    """A SavedModel of convolutions with random weights by name, `<name>_out`, and the mean over the image."""
    import tensorflow as tf

    saved, random = tf.train.Checkpoint(), np.random.default_rng(0)
    saved.kernels = {n: tf.Variable(random.normal(0, 0.3, s).astype(np.float32)) for n, s in shapes.items()}

    def features(images):
        x = images - 0.5
        for name in shapes:
            x = tf.nn.relu(tf.nn.conv2d(x, saved.kernels[name], 2, "SAME"), name=f"{name}_out")
        return tf.reduce_mean(x, [1, 2])

    saved.__call__ = tf.function(features, input_signature=[tf.TensorSpec([None, side, side, 3])], autograph=False)
    tf.saved_model.save(saved, str(folder))
    return str(folder)


def run_notebook(name: str, **parameters) -> str:
    """Run a notebook's code cells here, which is quicker than in a kernel; returns what they print."""
    book = nbformat.read(next((Path(__file__).resolve().parents[1] / "notebooks").glob(f"{name}_*.ipynb")), 4)
    said, space = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        for cell in book.cells:
            if cell.cell_type == "code":
                _run_cell(cell.source, space)
                if "parameters" in cell.metadata.get("tags", []):
                    space.update(parameters)
    return said.getvalue()


def _run_cell(source: str, space: dict) -> None:
    """Run a cell as Jupyter does: what its last line comes to is shown, unless that ends in a semicolon."""
    body = ast.parse(source).body
    shown = bool(body) and isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";")
    exec(compile(ast.Module(body[:-1] if shown else body, []), "cell", "exec"), space)
    if shown and (value := eval(compile(ast.Expression(body[-1].value), "cell", "eval"), space)) is not None:
        print(value)


@pytest.fixture(scope="module")
def machines():
    """A scheduler, and worker processes once somebody asks for them."""
    from machines import Machines

    started = Machines()
    yield started
    started.stop()


@pytest.fixture
def joined(machines):
    """The same with three workers, computed on."""
    from retrainlab.bottlenecks import cluster

    cluster.join(machines.address)
    machines.three()
    yield machines
    cluster.current().close()


@pytest.fixture
def many() -> pd.DataFrame:
    """A table without files: 2,000 images of two labels."""
    paths = [f"{label}/{number}.jpg" for label in "ab" for number in range(1000)]
    table = pd.DataFrame({"path": paths, "label": [p[0] for p in paths], "sha256": paths, "problem": None})
    return table.reindex(columns=scanning.COLUMNS)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Three labels of 30 images, JPEG and PNG mixed; never written to."""
    return make_folder(tmp_path_factory.mktemp("photos"), {"red": 30, "green": 30, "blue": 30})


@pytest.fixture(scope="session")
def module(tmp_path_factory) -> Path:
    """A TF2-format feature vector module: colours and contrasts of a 32 x 32 image, 24 numbers."""
    return save_module(tmp_path_factory.mktemp("module") / "tiny")


def save_module(folder: Path, dim: int = 24, seed: int = 0) -> Path:
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    kernel = np.random.default_rng(seed).normal(0, 0.5, (5, 5, 3, dim)).astype(np.float32)
    saved.kernel = tf.Variable(kernel)

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32)])
    def features(images):
        return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images - 0.4, saved.kernel, 2, "SAME")), [1, 2])

    saved.__call__ = features
    tf.saved_model.save(saved, str(folder))
    return folder


@pytest.fixture(scope="session")
def bottleneck_dir(tmp_path_factory) -> Path:
    """A cache that tests may share: it is keyed by content."""
    return tmp_path_factory.mktemp("bottlenecks")


@pytest.fixture(scope="session")
def backbone(module, bottleneck_dir):
    from retrainlab.backbones import registry

    return registry.resolve(str(module), bottleneck_dir)


@pytest.fixture
def caches(module, backbone, tmp_path):
    """Makes caches of their own for the tiny backbone, converted already: name -> backbone."""
    from retrainlab.backbones import registry

    def make(name):
        root = tmp_path / name
        shutil.copytree(backbone.folder, root / backbone.digest, ignore=shutil.ignore_patterns("*.arrow"))
        return registry.resolve(str(module), root)

    return make


@pytest.fixture
def fresh(caches):
    """The tiny backbone with a cache of its own, converted already."""
    return caches("cache")


@pytest.fixture(scope="session")
def loaded(photos, backbone):
    """The Features of the three-label photos."""
    from retrainlab.bottlenecks import features
    from retrainlab.images import scanning
    from retrainlab.pixels.decoding import ImageFolder

    return features.load(backbone, ImageFolder(photos), scanning.load(photos, 20, 20).images)


@pytest.fixture(scope="session")
def trained(loaded):
    """Features, table, predictions and head of the three-label photos."""
    from retrainlab.evaluation import scores
    from retrainlab.training import heads, trainer

    features, known = loaded.matrix, loaded.table
    settings = heads.HeadSettings(how_many_training_steps=300)
    (head,), history = trainer.train(features, known["label"], known["split"], [settings])
    predicted = scores.predictions(known, head.logits(features), head.labels)
    return {"features": features, "table": known, "head": head, "history": history, "predicted": predicted}
