"""`retrain.py`, flag by flag, on the functions that the notebooks use, without papermill.

Names, files and arithmetic are the predecessor's, so that a script changes the command's name and nothing else: plain
gradient descent on bottlenecks as they are, on batches that draw a label first and then an image of it. What its users
suffered from is gone; `flags` says where that changed what a flag does.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import asides
from ..backbones import freezing, registry
from ..backbones.registry import Backbone
from ..backbones.runtimes import quiet, tensorflow
from ..bottlenecks.features import Features
from ..bottlenecks.features import load as load_features
from ..errors import RetrainLabError, writing
from ..evaluation import scores
from ..export import exporting, formats
from ..files import replacing, replacing_folder
from ..images import overview, scanning
from ..pixels.decoding import ImageFolder
from ..pixels.distortions import Distortion
from ..runs import summaries
from ..training import trainer
from ..training.heads import Head, HeadSettings
from .flags import Flags

log = logging.getLogger("retrainlab")
_PROGRESS = "Step %d: %s accuracy = %.1f%%, cross entropy = %f"
_PROGRESS_LINES = 10  # of a training at INFO; DEBUG says every evaluation
_NAMED = 20  # files that are left out and named, at most
_SEED = 0
_Replacing = Callable[[Path], AbstractContextManager[Path]]
_FILES = ("output_graph", "output_labels", "checkpoint_path")  # flags that name one


def retrain(flags: Flags) -> dict[str, Any]:
    """Do what retrain.py does; progress and results go to the logger `retrainlab`.

    Returns:
        What `scores.summarise` says of the three splits.

    Raises:
        RetrainLabError: a flag, a file or the module is wrong. Bottlenecks that were computed stay in the cache.
    """
    own: dict[str, Any] = {"standardize": False, "class_weight": "balanced", "seed": _SEED}  # as retrain.py does
    settings = HeadSettings(flags.how_many_training_steps, flags.learning_rate, flags.train_batch_size, **own)
    distortion = Distortion(flags.flip_left_right, flags.random_crop, flags.random_scale, flags.random_brightness)
    table = _images(flags)
    backbone = registry.resolve(flags.tfhub_module, flags.bottleneck_dir, flags.image_size)
    backbone_graph = freezing.freeze(backbone)
    formats.check_name(backbone_graph, flags.final_tensor_name)
    features = _features(flags, backbone, table, distortion)
    logs_dir = _set_aside(Path(flags.summaries_dir).expanduser())
    matrix, learn = features.learning
    with summaries.TrainingLogs(logs_dir, settings.how_many_training_steps) as logs:
        watch = _watch(flags, logs, backbone_graph)
        (head,), _ = trainer.train(matrix, learn["label"], learn["split"], [settings], _evaluations(flags), watch)
    predicted = scores.predictions(features.table, head.logits(features.matrix), head.labels)
    metrics = scores.summarise(predicted, head.labels)
    _say(flags, predicted, metrics)
    _write(flags, features, backbone_graph, head, logs_dir)
    return metrics


def _images(flags: Flags) -> pd.DataFrame:
    """Find and split the images, saying what is left out; and make room for what will be written."""
    root, percentages = Path(flags.image_dir).expanduser(), (flags.testing_percentage, flags.validation_percentage)
    found = scanning.load(root, *percentages, even=False)  # by the hash alone, as retrain.py does
    table = found.images
    _make_room(flags)  # now, not after an hour of work
    for said in found.said:
        log.info(said)
    for note in overview.notes(table, named=0):
        log.warning(note)
    bad = table[table["problem"].notna()]
    _name(dict(zip(bad["path"], bad["problem"], strict=True)))
    return table


def _features(flags: Flags, backbone: Backbone, table: pd.DataFrame, distortion: Distortion) -> Features:
    """Load the bottlenecks, and draw the validation and test images that the flags ask for."""
    photos = ImageFolder.of(Path(flags.image_dir).expanduser(), table)
    features = load_features(backbone, photos, table, distortion, flags.distortion_variants)
    for done in features.extractions:
        log.info(done)
    if features.note:
        log.info(features.note)
    _name(features.extractions[0].problems)
    known = _drawn(features.table, "validation", flags.validation_batch_size)
    return replace(features, table=_drawn(known, "test", flags.test_batch_size))


def _write(flags: Flags, features: Features, backbone_graph: Any, head: Head, logs_dir: Path) -> None:
    """Write what was trained, in retrain.py's files: each aside, and when all are whole, all into their places.

    The flags put them anywhere, so a process may end between two renamings; but what can fail has been done by then.
    """
    with ExitStack() as places:

        def place(flag: str, replaced: _Replacing = replacing) -> Path:
            file = Path(getattr(flags, flag)).expanduser()
            places.enter_context(_writing(file, flag))
            return places.enter_context(replaced(file))

        if flags.saved_model_dir:
            made_of = features.backbone, head, flags.final_tensor_name, features.photos.levels
            exporting.write_saved_model(place("saved_model_dir", replacing_folder), *made_of)
        _write_checkpoint(place("checkpoint_path", _replacing_checkpoint), head)
        exporting.write_labels(place("output_labels"), head.labels)
        _write_graph(place("output_graph"), backbone_graph, head, flags.final_tensor_name)
    graph = Path(flags.output_graph).expanduser()
    with summaries.ResultLogs(logs_dir / "train", flags.how_many_training_steps) as results:
        results.graph(graph)
    log.info("Wrote %s and %s", graph, Path(flags.output_labels).expanduser())


def _evaluations(flags: Flags) -> list[int]:
    """The steps to evaluate at; intermediate graphs want to be written in between, too."""
    steps = set(range(0, flags.how_many_training_steps, flags.eval_step_interval))
    if flags.intermediate_store_frequency:
        steps |= set(range(0, flags.how_many_training_steps, flags.intermediate_store_frequency))
    return sorted(steps)


def _drawn(table: pd.DataFrame, split: str, count: int) -> pd.DataFrame:
    """Keep `count` images of a split, -1 for all; the others belong to none."""
    mine = table.index[table["split"] == split]
    if count == -1 or count >= len(mine):
        return table
    kept = np.random.default_rng(_SEED).choice(mine, count, replace=False)
    return table.assign(split=table["split"].where(~table.index.isin(mine.difference(kept)), "not drawn"))


def _watch(flags: Flags, logs: summaries.TrainingLogs, backbone_graph: Any) -> Callable[[trainer.Snapshot], None]:
    every = max(1, flags.how_many_training_steps // _PROGRESS_LINES)
    folder = Path(flags.intermediate_output_graphs_dir).expanduser()
    next_line = 0

    def watch(snapshot: trainer.Snapshot) -> None:
        nonlocal next_line
        step, last = snapshot.step, snapshot.step == flags.how_many_training_steps
        if step % flags.eval_step_interval == 0 or last:
            logs(snapshot)
            said = logging.INFO if step >= next_line or last else logging.DEBUG
            next_line = step + every if said == logging.INFO else next_line
            for split, figures in snapshot.metrics.items():
                percent, loss = 100 * figures["accuracy"], figures["cross_entropy"]
                log.log(said, _PROGRESS, step, split.capitalize(), percent, loss)
        frequency = flags.intermediate_store_frequency
        if frequency and step and step % frequency == 0:
            file = folder / f"intermediate_{step}.pb"
            with _writing(file, "intermediate_output_graphs_dir"), replacing(file) as aside:
                _write_graph(aside, backbone_graph, snapshot.head, flags.final_tensor_name)
            log.info("Wrote %s", file)

    return watch


def _say(flags: Flags, predicted: pd.DataFrame, metrics: dict[str, Any]) -> None:
    test = metrics["test"]
    if test["n"]:
        # word by word what retrain.py says: scripts look for it
        log.info("Final test accuracy = %.1f%% (N=%d)", 100 * test["accuracy"], test["n"])
        low, high = test["interval"]
        log.info("With 95%% confidence it is between %.1f%% and %.1f%%", 100 * low, 100 * high)
    else:
        log.warning("There are no test images, so how good it is on new ones is not known")
    if flags.print_misclassified_test_images:
        wrong = predicted[(predicted["split"] == "test") & (predicted["label"] != predicted["predicted"])]
        log.info("=== MISCLASSIFIED TEST IMAGES ===")
        for row in wrong.itertuples():
            log.info("%70s  %s", row.path, row.predicted)


def _name(problems: dict[str, str]) -> None:
    """Name the files that are left out, and why."""
    for path, problem in list(problems.items())[:_NAMED]:
        log.warning("%s is left out: %s.", path, problem)
    if len(problems) > _NAMED:
        log.warning("%d more are left out.", len(problems) - _NAMED)


@contextmanager
def _writing(file: Path, flag: str) -> Iterator[None]:
    with writing(f"'{file}'", f"Set --{flag} to another place."):
        file.parent.mkdir(parents=True, exist_ok=True)
        yield


def _make_room(flags: Flags) -> None:
    """Make the folders of all that will be written, and find out whether it can be."""
    _keep_apart(flags)
    places = {flag: getattr(flags, flag) for flag in _FILES} | {"summaries_dir": f"{flags.summaries_dir}/train"}
    if flags.intermediate_store_frequency:
        places["intermediate_output_graphs_dir"] = f"{flags.intermediate_output_graphs_dir}/intermediate"
    if flags.saved_model_dir:
        exporting.check_replaceable(Path(flags.saved_model_dir).expanduser())
        places["saved_model_dir"] = flags.saved_model_dir
    for flag, place in places.items():
        file = Path(place).expanduser().resolve()
        if flag in _FILES and file.is_dir():
            raise RetrainLabError(f"--{flag} is the folder '{file}'. Expected the name of a file.")
        with _writing(file, flag):
            with tempfile.TemporaryFile(dir=file.parent):
                pass
            if file.is_file():  # it may be somebody else's
                with file.open("ab"):
                    pass


def _keep_apart(flags: Flags) -> None:
    """Refuse places that would overwrite one another; `saved_model_dir` is replaced as a whole."""
    names = [*_FILES, "summaries_dir", "bottleneck_dir", "image_dir"]
    names += ["intermediate_output_graphs_dir"] if flags.intermediate_store_frequency else []
    names += ["tfhub_module"] if Path(flags.tfhub_module).expanduser().is_dir() else []
    places = {flag: Path(getattr(flags, flag)).expanduser().resolve() for flag in names}
    for flag, other in combinations(_FILES, 2):
        if places[flag] == places[other]:
            raise RetrainLabError(f"--{flag} and --{other} are both '{places[flag]}'. Give each file its own name.")
    model = Path(flags.saved_model_dir).expanduser().resolve()
    for flag, place in places.items() if flags.saved_model_dir else ():
        if place.is_relative_to(model):
            raise RetrainLabError(
                f"--{flag} '{place}' lies in --saved_model_dir '{model}', which is replaced as a whole. Choose another "
                "folder for one of them."
            )


def _set_aside(logs: Path) -> Path:
    """Keep the logs of an earlier training: TensorBoard would draw both as one line."""
    earlier = [logs / split for split in ("train", "validation") if (logs / split).exists()]
    if earlier:
        aside = logs / time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(max(e.stat().st_mtime for e in earlier)))
        number = 1
        while aside.exists():  # two trainings within a second
            number += 1
            aside = aside.with_name(f"{aside.name.partition(' ')[0]} {number}")
        with _writing(aside / "train", "summaries_dir"):
            for folder in earlier:
                folder.replace(aside / folder.name)
        log.info("The logs of the earlier training are now in %s", aside)
    return logs


def _write_graph(file: Path, backbone_graph: Any, head: Head, final_tensor_name: str) -> None:
    file.write_bytes(formats.with_head(backbone_graph, head, final_tensor_name).SerializeToString())


@contextmanager
def _replacing_checkpoint(prefix: Path) -> Iterator[Path]:
    """Give a prefix to write a checkpoint's two files by, which take their places when both are written."""
    with asides.beside(prefix, folder=True) as place:
        files = place / asides.NEW
        files.mkdir()
        yield files / prefix.name
        for file in files.iterdir():
            file.replace(prefix.with_name(file.name))


def _write_checkpoint(prefix: Path, head: Head) -> None:
    """Write the layer under the names of its variables in retrain.py, for `tf.train.load_checkpoint` or a Saver."""
    tf = tensorflow()
    names = ["final_retrain_ops/weights/final_weights", "final_retrain_ops/biases/final_biases"]
    with quiet():
        tf.raw_ops.SaveV2(
            prefix=str(prefix), tensor_names=names, shape_and_slices=["", ""], tensors=[head.kernel, head.bias]
        )
