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

            for gpu in tf.config.list_physical_devices(
                "GPU"
            ):  # it would take all memory, and notebooks run side by side
                tf.config.experimental.set_memory_growth(gpu, True)
            tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 is what modules are checked in
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


def in_one_line(error: Exception) -> str:
    """Cut what TensorFlow says down to one line: the first, or the last if it begins with where the fault was."""
    lines = [line for line in getattr(error, "message", str(error)).splitlines() if line and not line[0].isspace()]
    line = lines[-1 if lines[0].startswith("Graph execution error") else 0] if lines else type(error).__name__
    return line.rstrip(".") + "."


def frozen(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Open a frozen graph of one input and one output as a function, array -> array, that TensorFlow runs on the CPU.

    Threads may call it side by side; they share one session. Where it fails on an array, it raises a RuntimeError.

    Raises:
        ValueError: the file is no such graph.
    """
    tf = tensorflow()
    graph, definition = tf.Graph(), tf.compat.v1.GraphDef()
    session = tf.compat.v1.Session(graph=graph, config=tf.compat.v1.ConfigProto(device_count={"GPU": 0}))

    def run(values: np.ndarray) -> np.ndarray:
        try:
            return session.run(gives, {takes: values})
        except tf.errors.OpError as error:
            raise RuntimeError(in_one_line(error)) from error

    try:
        definition.ParseFromString(file.read_bytes())
        with graph.as_default():
            tf.graph_util.import_graph_def(definition, name="")
        operations = graph.get_operations()
        (takes,) = (each.outputs[0] for each in operations if each.type == "Placeholder")
        (gives,) = (each.outputs[0] for each in operations if not any(out.consumers() for out in each.outputs))
        with quiet():  # the first call brings TensorFlow's notes, and finds out a damaged file
            run(np.random.default_rng(0).random([side or 1 for side in takes.shape], np.float32))
    except Exception as error:  # that of protocol buffers has no public name
        raise ValueError(f"no frozen graph: {error}") from error
    return run


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
