"""The trained layer alone, head.npz in an exported folder: what a later training starts from."""

import json
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..backbones.backbone import Backbone
from ..errors import RetrainLabError
from ..training.heads import Head, HeadSettings
from . import contracts

_FILE = "head.npz"


def save(folder: Path, head: Head) -> None:
    """Write the arrays of a head; its labels and settings are in the contract."""
    hidden = {} if head.hidden is None else {"hidden_kernel": head.hidden[0], "hidden_bias": head.hidden[1]}
    arrays = {"kernel": head.kernel, "bias": head.bias, "temperature": head.temperature} | hidden
    np.savez(folder / _FILE, **arrays)  # type: ignore[arg-type]


def load_head(folder: Path, backbone: Backbone) -> Head:
    """Read the head of an exported model, with the temperature that it was exported with.

    Raises:
        RetrainLabError: no export there, or it stands on another backbone.
    """
    try:
        contract = json.loads((folder / contracts.FILE).read_text(encoding="utf-8"))
        with np.load(folder / _FILE) as arrays:
            values = dict(arrays)
        hidden = (values["hidden_kernel"], values["hidden_bias"]) if "hidden_kernel" in values else None
        settings, temperature = HeadSettings(**contract["settings"]), float(values["temperature"])
        head = Head(contract["labels"], settings, values["kernel"], values["bias"], hidden, temperature)
        handle, digest = contract["backbone"], contract["backbone_digest"]
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise RetrainLabError(
            f"'{folder}' holds no head to start from ({error}). Expected the model folder of a run, such as "
            "reports/demo/model."
        ) from error
    if digest != backbone.digest:
        raise RetrainLabError(
            f"The head in '{folder}' was trained on bottlenecks of {handle}, which are not those of "
            f"{backbone.handle}. Start from a head of the same backbone, or from none."
        )
    return head
