"""Backbones made from another one's graph: read at several depths, averaged over views, or cut.

Each is a module like any other, with a digest, a SavedModel and a cache of its own, so that nothing downstream knows
the difference: it is extracted, trained on, exported and asked as one.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from ..errors import writing
from ..files import replacing_folder
from . import converting, cuts, modules
from .backbone import Backbone, BackboneSettings
from .freezing import INPUT, OUTPUT, freeze
from .runtimes import quiet, tensorflow

_RECIPE = "1"  # raise it when `reading` changes what it computes: cached bottlenecks then no longer match
_SMALL = 1e-8  # variance: its square root has a slope

Build = Callable[[Any], Callable[[Any], Any]]


def derive(backbone: Backbone, recipe: str, build: Build, settings: BackboneSettings | None = None) -> Backbone:
    """Make a backbone from another one's frozen graph, or open it where that was done before.

    Args:
        recipe: names what is made, the same for the same; with the digest of the backbone it gives the new one's.
        build: GraphDef, from `freezing.INPUT` to `freezing.OUTPUT` -> a function of float32 [n, height, width, 3] in
            [0, 1] to float32 [n, numbers], of TensorFlow's operations.
        settings: what it is asked for by; those of `backbone` where it is left out.

    Raises:
        RetrainLabError: LiteRT cannot run what is made, or it cannot be written.
    """
    settings = settings or backbone.settings
    digest = hashlib.sha256(f"{backbone.digest} {recipe}".encode()).hexdigest()
    folder = backbone.folder.with_name(digest)
    module = folder / "saved_model"
    with writing(f"The bottleneck folder '{folder.parent}'", "Set bottleneck_dir to one that can."):
        folder.mkdir(exist_ok=True)
        found = converting.opened(settings, module, folder)
        if found is not None and modules.is_whole(module):
            return found
        tf, owner = tensorflow(), tensorflow().train.Checkpoint()
        spec = tf.TensorSpec([None, *backbone.image_size, 3], tf.float32, "images")
        owner.__call__ = tf.function(build(freeze(backbone)), input_signature=[spec], autograph=False)
        with replacing_folder(module) as aside, quiet():
            tf.saved_model.save(owner, str(aside))
        modules.seal(module)
        return found or converting.convert(replace(settings, image_size=0), digest, module, folder, None)


def reading(backbone: Backbone, depth: str = "last", average_views: bool = False) -> Backbone:
    """Read more from a backbone than its last layer, or from more than one view of an image.

    Args:
        depth: "last" for its bottleneck alone; "all" for that and, of cuts at every depth, the mean and the deviation
            over the image of each channel; or names of cuts, separated by spaces. Of neighbouring cuts of one shape,
            "all" takes the last: the others say nearly the same (on solar cells 88.2% with all of them, 88.2% so).
        average_views: whether what is read is the mean of that of the image and of its mirror image.

    Raises:
        RetrainLabError: there is no such cut.
    """
    wanted = chosen(backbone, depth)
    if not wanted and not average_views:
        return backbone
    settings = replace(backbone.settings, depth=depth, average_views=average_views)
    recipe = f"reading {_RECIPE} {' '.join(cut.name for cut in wanted)} {average_views}"
    return derive(backbone, recipe, partial(_read, wanted, average_views), settings)


def maps(backbone: Backbone, depth: str) -> list[str]:
    """Name the operations that a reading of a backbone is made of and that still have height and width.

    Those are the cuts that `depth` reads, and the last map, of which its last layer is made; none where there is none.

    Args:
        backbone: read at its last layer, from one view.
    """
    last = cuts.last_map(backbone)
    return [] if last is None else list(dict.fromkeys(cut.name for cut in [*chosen(backbone, depth), last]))


def chosen(backbone: Backbone, depth: str) -> list[cuts.Cut]:
    """Tell which cuts a depth, as of `reading`, stands for.

    Raises:
        RetrainLabError: there is no such cut.
    """
    if depth == "last":
        return []
    found = cuts.of(backbone)
    if depth == "all":
        return [list(alike)[-1] for _, alike in groupby(found, key=lambda cut: cut.shape)]
    return [cuts.named(found, name, "depth", "'last', 'all' or") for name in depth.replace(",", " ").split()]


def _read(wanted: list[cuts.Cut], average_views: bool, graph: Any) -> Callable[[Any], Any]:
    tf = tensorflow()

    def once(images: Any) -> Any:
        names = [OUTPUT, *(cut.name for cut in wanted)]
        last, *maps = tf.graph_util.import_graph_def(graph, {f"{INPUT}:0": images}, [f"{name}:0" for name in names])
        read = [last]
        for values in maps:  # [n, height, width, channels]
            mean = tf.reduce_mean(values, [1, 2], keepdims=True)
            variance = tf.reduce_mean((values - mean) ** 2, [1, 2])
            read += [mean[:, 0, 0], tf.sqrt(variance + _SMALL)]
        return tf.concat(read, 1)

    return (lambda images: (once(images) + once(images[:, :, ::-1])) / 2) if average_views else once
