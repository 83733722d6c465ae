"""A classifier with an 8-bit backbone, and a head that makes up for what 8 bits do to the bottlenecks."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones.backbone import Backbone
from ..backbones.runtimes import litert
from ..training.heads import Head
from .formats import lite

_RANGES = 200  # images that suffice to find the ranges of activations


def quantized(backbone: Backbone, head: Head, module: tuple[Any, Any], images: np.ndarray) -> bytes:
    """Convert a classifier to an 8-bit LiteRT model.

    Args:
        module: what `load_module` returned for the backbone.
        images: uint8 [n, height, width, 3], some hundreds of training images: the ranges of activations are taken
            from them (Jacob et al. 2018, arxiv.org/abs/1712.05877), and the head is fitted to what 8 bits make of them.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        file = Path(folder, "int8.tflite")
        file.write_bytes(lite(backbone, None, module, images[:_RANGES]))
        run = litert(file)
        found = np.concatenate(list(pool.map(lambda image: run(image[None].astype(np.float32) / 255), images)))
        wanted = np.concatenate(list(pool.map(lambda image: backbone.bottlenecks(image[None]), images)))
    if head.hidden is None:
        kernel, bias = _corrected(head.kernel, head.bias, found, wanted)
        fitted = replace(head, kernel=kernel, bias=bias)
    else:
        fitted = replace(head, hidden=_corrected(*head.hidden, found, wanted))
    return lite(backbone, fitted, module, images[:_RANGES])


def _corrected(
    kernel: np.ndarray, bias: np.ndarray, found: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a layer on the features `found` that gives what `kernel` and `bias` give on those `wanted`, both [n, dim].

    8 bits shift and shrink every feature a little: a line a feature takes that back (bias correction, Nagel et al.
    2019, arxiv.org/abs/1906.04721, with a slope). What remains is fitted by ridge regression of the outputs.
    """
    centre, target = found.mean(axis=0), wanted.mean(axis=0)
    # the small constant: a feature that hardly varies says nothing of its slope, and is set to its mean
    slope = ((found - centre) * (wanted - target)).mean(axis=0) / (found.var(axis=0) + 1e-4)
    scale = found.std(axis=0) + 0.02  # likewise
    scaled = (found - centre) / scale
    rest = (wanted - target - (found - centre) * slope) @ kernel
    gram = scaled @ scaled.T
    penalty = np.trace(gram) / len(gram) * np.eye(len(gram))
    new = slope[:, None] * kernel + (scaled.T @ np.linalg.solve(gram + penalty, rest)) / scale[:, None]
    return new.astype(np.float32), (bias + target @ kernel - centre @ new).astype(np.float32)
