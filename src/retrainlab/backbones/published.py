"""What publishers say of their networks: well-known modules, and the pixels a side that a module of some name takes."""

import csv
import re
from importlib.resources import files

# Pixels a side that published networks take; other numbers in a name count layers, like resnet_v2_152.
_SIZES = {96, 128, 160, 192, 224, 240, 256, 260, 280, 288, 299, 300}
_SIZES |= {320, 331, 336, 380, 384, 448, 456, 480, 512, 528, 600}
# Google's networks that modules.csv has no row of, by the words (see `_network`) that their names begin with. The sizes
# are those of TF Hub's own tutorial, github.com/tensorflow/hub: examples/colab/tf2_image_retraining.ipynb.
_FAMILIES = {("bit",): 224, ("resnet", "v1"): 224, ("resnet", "v2"): 224, ("efficientnet", "v2", "xl"): 512}
_GOOGLE = re.compile(
    r"(https?://(tfhub\.dev|hub\.tensorflow\.google\.cn|(www\.)?kaggle\.com/models)/)?(google|tensorflow)/(?P<name>.+)"
)
# words that say where a network lies, or what it learnt from, not which one it is
_BESIDE = {"models", "frameworks", "variations", "versions", "tensorflow1", "tensorflow2", "feature", "vector"}
_BESIDE |= {"imagenet", "imagenet1k", "imagenet21k", "ft1k"}


def known_modules() -> list[dict[str, str]]:
    """List well-known image feature vector modules, as their publishers describe them.

    Returns:
        The rows of `modules.csv`: handle, image_size (pixels a side), dim, network.
    """
    with (files("retrainlab.backbones") / "modules.csv").open(encoding="utf-8") as table:
        return list(csv.DictReader(table))


def image_size(handle: str) -> int | None:
    """Tell the pixels a side that a module of this name takes; None where the name does not say."""
    sizes = _FAMILIES | {_network(module["handle"]): int(module["image_size"]) for module in known_modules()}
    words = _network(handle)
    for length in range(len(words), 0, -1):
        if words[:length] in sizes:
            return sizes[words[:length]]
    if "inception_v3" in handle or "inception-v3" in handle:
        return 299
    # of a path on this disk, only the module's own name and version
    name = handle if "://" in handle else "/".join(handle.rstrip("/").split("/")[-2:])
    in_name = [int(number) for number in re.findall(r"(?<!\d)(\d{2,3})(?!\d)", name)]
    return next((number for number in reversed(in_name) if number in _SIZES), None)


def _network(handle: str) -> tuple[str, ...]:
    """Name a network of Google's by the words that TF Hub's address and Kaggle's handle share: ("resnet", "v2", "50").

    Data, format and version are left out. Modules of anybody else have no words: theirs may take what they like.
    """
    published = _GOOGLE.match(handle)
    if not published:
        return ()
    plain = re.sub(r"/\d+/?$", "", published["name"].lower())
    return tuple(word for word in re.split("[/_-]", plain) if word and word not in _BESIDE)
