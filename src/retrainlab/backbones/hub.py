"""Handles that are an address on TF Hub or Kaggle: their modules are fetched once, and kept; what a name tells.

Modules lie where tensorflow_hub would put them, but it is not used to fetch them: it unpacks what it streams, takes
the half of an archive for the whole, and waits without end for a server that has gone silent or for the lock of a
process that was killed. Here an archive arrives as a whole, with a bar, or not at all.
"""

import csv
import hashlib
import os
import re
import shutil
from importlib.resources import files
from pathlib import Path

from ..errors import RetrainLabError
from . import addresses, embedded, modules
from .backbone import Kind

_CHINA = "https://hub.tensorflow.google.cn/"
_KAGGLE = re.compile(r"[\w.-]+(/[\w.-]+){3,4}$")  # owner/model/framework/variation, and its version
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


def is_handle(text: str) -> bool:
    """Say whether a text is an address (https://...) or a Kaggle handle (owner/model/framework/variation/version)."""
    return bool(re.match(r"https?://", text) or _KAGGLE.match(text))


def fetch(handle: str) -> Path:
    """Fetch a module, or find it where an earlier call put it: `TFHUB_CACHE_DIR`, else `~/.cache/retrainlab/modules`.

    Raises:
        RetrainLabError: it cannot be had; the message says by what other means.
    """
    address = _address(handle)
    kept = Path(os.environ.get("TFHUB_CACHE_DIR") or "~/.cache/retrainlab/modules").expanduser()
    module = kept / hashlib.sha1(address.encode()).hexdigest()  # the name that tensorflow_hub gives it
    asked = f"{address}{'&' if '?' in address else '?'}tf-hub-format=compressed"
    if address.startswith(_CHINA):  # where the archives themselves lie under another name
        asked = f"https://gcs.tensorflow.google.cn/tfhub-modules/{address.removeprefix(_CHINA)}.tar.gz"
    if modules.is_sealed(module) and not modules.is_whole(module):
        shutil.rmtree(module, ignore_errors=True)
    if not (module / "saved_model.pb").exists():
        try:
            addresses.fetch(asked, module)
            modules.seal(module)
        except addresses.NotFetched as error:
            raise RetrainLabError(
                f"The module {handle} could not be fetched: {error}. Check the address and the network; "
                "or fetch and unpack it elsewhere and give the folder of its SavedModel as tfhub_module; or use an "
                f"embedded backbone, which needs no network: {', '.join(embedded.NETWORKS)}."
            ) from error
    return module


def _address(handle: str) -> str:
    if not _KAGGLE.match(handle):
        return handle
    owner, model, framework, variation, *version = handle.split("/")
    if not version:
        raise RetrainLabError(f"The module {handle} does not say which version; add one, such as {handle}/1.")
    parts = [owner, model, "frameworks", framework, "variations", variation, "versions", *version]
    return "https://www.kaggle.com/models/" + "/".join(parts)


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
    in_name = [int(number) for number in re.findall(r"(?<!\d)\d{2,3}(?!\d)", name) if int(number) in _SIZES]
    return in_name[-1] if in_name else None


def _network(handle: str) -> tuple[str, ...]:
    """Name a network of Google's by the words that TF Hub's address and Kaggle's handle share: ("resnet", "v2", "50").

    Data, format and version are left out. Modules of anybody else have no words: theirs may take what they like.
    """
    published = _GOOGLE.match(handle)
    if not published:
        return ()
    plain = re.sub(r"/\d+/?$", "", published["name"].lower())
    return tuple(word for word in re.split("[/_-]", plain) if word and word not in _BESIDE)


KIND = Kind(
    order=2,
    listed=("the address of a TF Hub module (https://...)", "a Kaggle handle (owner/model/framework/variation/1)"),
    recognises=is_handle,
    digest=lambda handle: modules.digest(fetch(handle)),  # an address alone says nothing of what lies there
    module=lambda handle, _: fetch(handle),
    renewable=True,
)
