"""A classifier on a network as it came -> the same with the network above a cut fine-tuned."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ..backbones import cuts, cutting, derived, freezing
from ..backbones.backbone import Backbone
from ..backbones.cuts import Cut, short
from ..bottlenecks import activations
from ..bottlenecks.features import Features, load
from . import devices
from .classifier import Classifier
from .finetuning import Tuned, TuningSettings, fine_tune, refitting
from .heads import Head
from .study import study

_SMOOTHED = 0.1  # nats that label smoothing may add to a cross-entropy that was perfect


def fine_tuned(
    layer: Classifier,
    fine_tune_from: str,
    settings: TuningSettings,
    place: Path,
    watch: Callable[[pd.DataFrame], None] | None = None,
) -> Classifier:
    """Fine-tune the network of a classifier above a cut, starting from its layer; where that wins nothing, keep this.

    Fine-tuning makes the last layer's features the ones that tell labels apart; so the new classifier reads the last
    layer, whatever depth the old one read, and starts from a layer on that. Where the old one was refitted, so is the
    new one: for as many epochs as validation chose, on the images of training and validation together.

    Args:
        fine_tune_from: "auto", or the name of a cut; see `cutting.choose`.
        place: folder that keeps the state of an interrupted one; at the end, it goes.
        watch: see `finetuning.fine_tune`.

    Raises:
        RetrainLabError: the network has no such cut or cannot be trained there, the disk is too small, or see
            `finetuning.fine_tune`.
    """
    features, start = _at_the_end(layer)
    plain, table = features.plain, features.table
    cut = cutting.choose(cuts.of(plain), fine_tune_from)
    top = cutting.above(freezing.freeze(plain), cut)
    kept = activations.load(features, cut, table[table["split"] != "test"])
    found = fine_tune(top, kept, start, settings, place / "chosen", watch)
    chosen = _features(found, features, plain, cut)
    made, said = Classifier.of(chosen, found.head, found.history, layer.candidates), _said(cut, found, kept)
    if why := _won_nothing(made, found, layer):
        shutil.rmtree(place, ignore_errors=True)
        return replace(layer, said=f"{said}\n{why} The layer above is exported, and the network is as it was.")
    refitted, again = None, None
    if layer.refit:
        both = refitting(kept)
        more = activations.load(features.with_validation(), cut, both.table) if features.distortion.active else both
        again = fine_tune(top, more, start, settings, place / "refitted", until=found.epoch)
        if _held(again):
            refitted = _features(again, features, plain, cut), again.head
    tuning = {
        "fine_tune_from": short(cut.name),
        "fine_tune_epochs": settings.epochs,
        "fine_tune_learning_rate": settings.learning_rate,
    }
    shutil.rmtree(place, ignore_errors=True)
    if refitted is not None:
        made = Classifier.of(chosen, found.head, found.history, layer.candidates, refitted)
    elif again is not None:
        said += "\nLearning again with the validation images went astray, so what validation chose is exported."
    return replace(made, tuning=tuning, said=said)


def prepare(features: Features, fine_tune_from: str) -> None:
    """Compute at once, on all machines of a cluster, the activations that `fine_tuned` will look for in the cache.

    Raises:
        RetrainLabError: as `fine_tuned`.
    """
    last = _reading_last(features)
    cut = cutting.choose(cuts.of(features.plain), fine_tune_from)
    activations.load(last, cut, last.table[last.table["split"] != "test"])


def _won_nothing(made: Classifier, found: Tuned, layer: Classifier) -> str:
    """Say why fine-tuning is not kept; "" where it is."""
    after, before = (each.metrics["validation"]["cross_entropy"] for each in (made, layer))
    if after is None:
        if _held(found):
            return ""
        return "No validation images choose an epoch, and after the last it knows its own training images less well."
    if found.epoch and after < before:
        return ""
    return f"Fine-tuning won nothing: validation cross-entropy is {after:.3f} with it and {before:.3f} without it."


def _held(again: Tuned) -> bool:
    """Tell whether fine-tuning that no validation image judges has at least learnt what it was shown."""
    losses = again.history[again.history["split"] == "train"].sort_values("step")["cross_entropy"]
    return not again.said and bool(losses.iloc[-1] <= losses.iloc[0] + _SMOOTHED)


def _at_the_end(layer: Classifier) -> tuple[Features, Head]:
    """The features of the last layer, and a layer on them that validation chose."""
    features = _reading_last(layer.features)
    if features is layer.features:
        return features, layer.chosen
    decays = [settings.weight_decay for settings in layer.candidates]
    return features, study(features, layer.candidates[0], decays).train()[0]


def _reading_last(features: Features) -> Features:
    return features if features.backbone.settings.depth == "last" else features.reading(depth="last")


def _features(found: Tuned, features: Features, plain: Backbone, cut: Cut) -> Features:
    """The features of all images by the tuned network, read from as many views as before."""
    network = cutting.tuned(plain, cut, found.weights)
    network = replace(network, settings=replace(plain.settings, tuned=network.digest))
    network = derived.reading(network, "last", features.backbone.settings.average_views)
    again = load(network, features.photos, features.table)
    return replace(again, distortion=features.distortion, variants=features.variants)


def _said(cut: Cut, found: Tuned, kept: activations.Activations) -> str:
    computed = " ".join(map(str, kept.done))
    share = f"{cut.above:.0%} of the network's arithmetic"
    said = f"Trained above '{short(cut.name)}', {share}, on the {devices.found()}. Activations: {computed}"
    if (found.history["split"] == "validation").any():
        best = f"after epoch {found.epoch}" if found.epoch else "before the first"
        said += f"\nOf {found.history['step'].max()} epochs, validation cross-entropy is lowest {best}."
    else:
        said += "\nThere are no validation images to choose an epoch by, so the last one counts."
    return "\n".join(filter(None, [said, found.said]))
