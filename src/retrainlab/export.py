"""Write a backbone with a trained head in every format that people use it in.

The folder holds a SavedModel; beside it output_graph.pb, output_labels.txt, model.tflite and contract.json, which says
what a client must feed and may expect.
"""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from .backbones import Backbone, load_module
from .backend import quiet, tensorflow
from .heads import Head

INPUT = "Placeholder"  # retrain.py's name for the frozen graph's input


def export(folder: Path, backbone: Backbone, head: Head, final_tensor_name: str = "final_result") -> dict[str, int]:
    """Export a classifier; the folder is replaced as a whole, once everything is written.

    - `saved_model.pb`, `variables/`: SavedModel. Signature `serving_default` is retrain.py's: `image`, float32
      [n, height, width, 3] in [0, 1], to `prediction`, float32 [n, labels]. Signature `image_bytes` takes
      `image_bytes`, string [n], JPEG, PNG, GIF or BMP files, to `prediction`.
    - `output_graph.pb`: frozen graph, from `Placeholder` to `final_tensor_name`, for TF1-style clients.
    - `model.tflite`: float32 LiteRT model, [1, height, width, 3] in [0, 1] to [1, labels].
    - `output_labels.txt`: the labels in class order, one a line.
    - `contract.json`: image size, input range, names, labels.

    Returns:
        Size in bytes of each format.
    """
    tf = tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    height, width = backbone.image_size
    features, loaded = load_module(backbone.module)
    module = tf.Module()
    module.backbone = loaded  # owns the variables that the signatures use
    module.head = [tf.Variable(array) for array in (*(head.hidden or ()), head.kernel, head.bias)]

    def predict(images: Any, name: str = "prediction") -> Any:
        x = features(images)
        *inner, kernel, bias = module.head
        if inner:
            x = tf.nn.relu(x @ inner[0] + inner[1])
        return tf.nn.softmax(x @ kernel + bias, name=name)

    def decode(data: Any) -> Any:
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        resized = tf.image.resize(tf.cast(image, tf.float32), [height, width], antialias=True)
        return tf.round(resized) / 255.0  # to whole numbers, as the training images were: networks see the difference

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, "image")])
    def serve(image: Any) -> Any:
        return {"prediction": predict(image)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def serve_bytes(image_bytes: Any) -> Any:
        return {"prediction": predict(tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32))}

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, INPUT)])
    def graph(images: Any) -> Any:
        return predict(images, final_tensor_name)

    @tf.function(input_signature=[tf.TensorSpec([1, height, width, 3], tf.float32, "image")])
    def lite(image: Any) -> Any:
        return predict(image)

    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    tf.saved_model.save(module, str(aside), {"serving_default": serve, "image_bytes": serve_bytes})
    with quiet():
        frozen = convert_variables_to_constants_v2(graph.get_concrete_function())
    (aside / "output_graph.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([lite.get_concrete_function()], module)
    with quiet():
        (aside / "model.tflite").write_bytes(converter.convert())
    lines = [" ".join(label.splitlines()) + "\n" for label in head.labels]  # a label stays on its line
    (aside / "output_labels.txt").write_text("".join(lines), encoding="utf-8")
    contract = {
        "labels": head.labels,
        "image_size": [height, width],
        "input_range": [0, 1],
        "channels": "RGB",
        "resize": "bilinear, antialiased, aspect not kept, rounded to whole numbers of 0 to 255",
        "input": INPUT,
        "output": final_tensor_name,
        "backbone": backbone.handle,
        "backbone_digest": backbone.digest,
        "exported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    (aside / "contract.json").write_text(json.dumps(contract, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.replace(folder)
    saved = [folder / "saved_model.pb", *(folder / "variables").iterdir()]
    return {
        "SavedModel": sum(file.stat().st_size for file in saved),
        "frozen graph": (folder / "output_graph.pb").stat().st_size,
        "LiteRT": (folder / "model.tflite").stat().st_size,
    }
