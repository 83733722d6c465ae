"""State dicts in PyTorch's legacy format, read without torch and without running what a pickle may carry."""

import pickle
import struct
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np

# every name that such a file has need of, and what it stands for here
_NAMES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments[:4],
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _TensorReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"unexpected {module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        _, dtype, key, *_ = pid  # ("storage", type, key, device, count, view)
        return key, dtype


def read_torch_file(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read a state dict: the tensors by name.

    Five pickles (magic number, version, system info, state dict, storage keys), then for each key an int64 count
    and the raw little-endian numbers.

    Raises:
        pickle.UnpicklingError: the file names anything but tensors of floats or longs.
    """
    _, _, _, state, keys = (_TensorReader(file).load() for _ in range(5))
    dtypes = dict(storage for storage, *_ in state.values())
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    tensors = {}
    for name, ((key, _), offset, shape, stride) in state.items():
        values = storages[key][offset:]
        steps = [step * values.itemsize for step in stride]  # ported weights keep TensorFlow's order in memory
        tensors[name] = np.lib.stride_tricks.as_strided(values, shape, steps)
    return tensors
