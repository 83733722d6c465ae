"""TensorFlow and LiteRT, imported late and quietly.

Importing TensorFlow takes seconds, so only functions that need it do so. Its C++ parts write notes on processors and
absent GPUs to the standard error, past Python's and its own log levels; they would fill notebooks, pages and terminals.
"""

import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_LOCK = threading.Lock()  # file descriptors belong to the whole process


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what C++ code writes to the standard error; Python's exceptions and warnings are not touched."""
    with _LOCK:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def tensorflow() -> Any:
    """Import TensorFlow and find its devices."""
    if "tensorflow" not in sys.modules:
        with quiet():
            # convolutions of Intel's library, which is off by default on AMD: fine-tuning is 1.7 times as fast with it
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
            import tensorflow as tf

            tf.config.list_physical_devices()
            tf.get_logger().setLevel("ERROR")
            tf.constant(0)  # the first tensor is what wakes the devices, and their notes
    return sys.modules["tensorflow"]


def tensorflow_hub() -> Any:
    """Import tensorflow_hub."""
    tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorflow_hub 0.16.1 still uses pkg_resources; the lock file pins that
        import tensorflow_hub as hub
    return hub


@contextmanager
def without_wildcards(folder: Path) -> Iterator[Path]:
    """Give a path to a folder that TensorFlow can read: it takes `[`, `]`, `*` and `?` for wildcards."""
    if not set("[]*?") & set(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        link = Path(place) / "folder"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link


def litert(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Open a .tflite file of one input and one output as a function, array -> array.

    Threads may call it side by side: each gets an interpreter of its own, on its first call. An interpreter runs on one
    core, so that as many threads as cores keep all of them busy.

    Raises:
        ValueError: the file is no LiteRT model.
    """
    with quiet():
        from ai_edge_litert.interpreter import Interpreter
    own = threading.local()

    def interpreter() -> Any:
        if not hasattr(own, "interpreter"):
            with quiet():
                own.interpreter = Interpreter(model_path=str(file), num_threads=1)
                own.interpreter.allocate_tensors()
        return own.interpreter

    interpreter()  # a damaged file is found out now, not at the first image

    def run(values: np.ndarray) -> np.ndarray:
        mine = interpreter()
        mine.set_tensor(mine.get_input_details()[0]["index"], values)
        mine.invoke()
        return mine.get_tensor(mine.get_output_details()[0]["index"])

    return run
