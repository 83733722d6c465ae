"""Does every family of modules.csv work, in both of TF Hub's formats, and how far are LiteRT and TensorFlow apart?

No network is needed: each architecture is built anew with random weights, its batch norms set to what they see, and
saved as TF Hub's modules are, as TF2's reusable SavedModel and as TF1's module of two graphs. Each runs in a process of
its own. One of each family took half an hour on two busy cores; names of rows choose others, and `all` takes them all.
A module of 2.2 GB takes 11 GiB to convert.
"""

import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from retrainlab.backbones import hub, registry
from retrainlab.backbones.runtimes import quiet, tensorflow, tensorflow_hub
from retrainlab.errors import RetrainLabError

FIRST = ["Inception v1", "Inception v3", "Inception-ResNet v2", "MobileNet v1", "MobileNet v2", "MobileNet v3 small",
         "EfficientNet B0", "EfficientNet-Lite0", "EfficientNet v2 B0", "ResNet v2 50", "BiT-M R50X1"]  # fmt: skip

# slim's Inception v1: channels of the branches 1x1, 3x3 (reduced, full), 5x5 (reduced, full) and pooled
_INCEPTION_V1 = [
    [(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)],
    [(192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
     (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128)],
    [(256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)],
]  # fmt: skip
# EfficientNet-Lite: how much wider and deeper than Lite0; B0's blocks: repeats, kernel, stride, expansion, channels
_LITE = {"0": (1.0, 1.0), "1": (1.0, 1.1), "2": (1.1, 1.2), "3": (1.2, 1.4), "4": (1.4, 1.8)}
_MBCONV = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
           (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]  # fmt: skip
_BIT = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}


def inception_v1(k: Any, images: Any) -> Any:
    """Szegedy et al. 2014 with batch norm, as slim has it."""

    def conv(x: Any, filters: int, side: int, stride: int = 1) -> Any:
        x = k.layers.Conv2D(filters, side, stride, "same", use_bias=False)(x)
        return k.layers.ReLU()(k.layers.BatchNormalization(scale=False, epsilon=1e-3)(x))

    def pool(x: Any, side: int, stride: int) -> Any:
        return k.layers.MaxPooling2D(side, stride, "same")(x)

    x = pool(conv(images, 64, 7, 2), 3, 2)
    x = pool(conv(conv(x, 64, 1), 192, 3), 3, 2)
    for group, blocks in enumerate(_INCEPTION_V1):
        for one, reduced3, full3, reduced5, full5, pooled in blocks:
            branches = [conv(x, one, 1), conv(conv(x, reduced3, 1), full3, 3), conv(conv(x, reduced5, 1), full5, 3)]
            x = k.layers.Concatenate()([*branches, conv(pool(x, 3, 1), pooled, 1)])
        x = pool(x, (3, 2)[group], 2) if group < 2 else x
    return k.layers.GlobalAveragePooling2D()(x)


def lite(k: Any, images: Any, number: str) -> Any:
    """EfficientNet-Lite: EfficientNet without squeezing and excitation, with ReLU6, stem and head as in Lite0."""
    width, depth = _LITE[number]

    def conv(x: Any, filters: int | None, side: int, stride: int = 1, active: bool = True) -> Any:
        plain = {"padding": "same", "use_bias": False}
        layer = k.layers.Conv2D(filters, side, stride, **plain) if filters else k.layers.DepthwiseConv2D(
            side, stride, **plain)  # fmt: skip
        x = k.layers.BatchNormalization(epsilon=1e-3)(layer(x))
        return k.layers.ReLU(6.0)(x) if active else x

    x = conv(images, 32, 3, 2)
    for group, (repeats, side, stride, expansion, channels) in enumerate(_MBCONV):
        channels = max(8, int(channels * width + 4) // 8 * 8)
        for repeat in range(repeats if group in (0, 6) else math.ceil(repeats * depth)):
            inner = conv(x, x.shape[-1] * expansion, 1) if expansion > 1 else x
            inner = conv(conv(inner, None, side, 1 if repeat else stride), channels, 1, active=False)
            x = k.layers.Add()([x, inner]) if repeat else inner
    return k.layers.GlobalAveragePooling2D()(conv(x, 1280, 1))


def bit(k: Any, images: Any, depth: str, width: int) -> Any:
    """Kolesnikov et al. 2019 (Big Transfer): ResNet v2 with group norm and standardised weights."""
    tf = tensorflow()

    class StandardConv(k.layers.Conv2D):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            kernel = tf.convert_to_tensor(self.kernel)
            mean, variance = tf.nn.moments(kernel, [0, 1, 2], keepdims=True)
            return tf.nn.conv2d(x, (kernel - mean) / tf.sqrt(variance + 1e-10), self.strides, "VALID")

    class GroupNorm(k.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight(name="gamma", shape=(shape[-1],), initializer="ones")
            self.beta = self.add_weight(name="beta", shape=(shape[-1],), initializer="zeros")
            self.built = True

        def call(self, x: Any) -> Any:
            shape, channels = tf.shape(x), x.shape[-1]
            grouped = tf.reshape(x, [shape[0], shape[1], shape[2], 32, channels // 32])
            mean, variance = tf.nn.moments(grouped, [1, 2, 4], keepdims=True)
            normal = tf.reshape((grouped - mean) * tf.math.rsqrt(variance + 1e-5), shape)
            return normal * self.gamma + self.beta

    def conv(x: Any, filters: int, side: int, stride: int = 1) -> Any:
        x = k.layers.ZeroPadding2D(side // 2)(x) if side > 1 else x
        return StandardConv(filters, side, stride, use_bias=False)(x)

    def active(x: Any) -> Any:
        return k.layers.ReLU()(GroupNorm()(x))

    x = k.layers.ZeroPadding2D(1)(conv(images, 64 * width, 7, 2))
    x = k.layers.MaxPooling2D(3, 2)(x)
    for group, repeats in enumerate(_BIT[depth]):
        filters = 64 * width * 2**group
        for repeat in range(repeats):
            stride = 2 if group and not repeat else 1
            before = active(x)
            shortcut = x if repeat else conv(before, 4 * filters, 1, stride)
            inner = active(conv(active(conv(before, filters, 1)), filters, 3, stride))
            x = k.layers.Add()([shortcut, conv(inner, 4 * filters, 1)])
    return k.layers.GlobalAveragePooling2D()(active(x))


def mobilenet_v3(k: Any, images: Any, size: str) -> Any:
    """TF Hub's bottleneck is what comes before the classes, one convolution behind the pooling."""
    whole = getattr(k.applications, f"MobileNetV3{size.title()}")(
        input_shape=tuple(images.shape[1:]), weights=None, include_preprocessing=False
    )
    last = next(number for number, layer in enumerate(whole.layers) if "ropout" in type(layer).__name__)
    headless = k.Model(whole.input, whole.layers[last - 1].output)
    return k.layers.Flatten()(headless(images))


def network(k: Any, name: str, side: int) -> Any:
    """Build a row of modules.csv by `k`, Keras 3 or Keras 2: images [n, side, side, 3] in [0, 1] -> bottlenecks."""
    images = k.Input((side, side, 3))
    scaled = k.layers.Rescaling(2.0, -1.0)(images)
    plain = {"input_shape": (side, side, 3), "weights": None, "include_top": False, "pooling": "avg"}
    apps = k.applications
    words = name.replace("-", " ").split()
    if name == "Inception v1":
        found = inception_v1(k, scaled)
    elif words[:2] == ["EfficientNet", "Lite"] or name.startswith("EfficientNet-Lite"):
        found = lite(k, scaled, name[-1])
    elif name.startswith("BiT"):
        depth, width = re.findall(r"R(\d+)X(\d)", name)[0]
        found = bit(k, scaled, depth, int(width))
    elif name.startswith("MobileNet v3"):
        found = mobilenet_v3(k, scaled, words[-1])
    elif name.startswith("EfficientNet"):
        made = getattr(apps, name.replace(" v2 ", "V2").replace(" ", ""))(**plain)
        found = made(k.layers.Rescaling(255.0)(images))  # Keras has the scaling inside
    elif name.startswith("MobileNet v1"):
        found = apps.MobileNet(alpha=0.25 if "quarter" in name else 1.0, **plain)(scaled)
    elif name.startswith("MobileNet v2"):
        found = apps.MobileNetV2(alpha=1.4 if "1.4" in name else 1.0, **plain)(scaled)
    else:
        classes = {"Inception v3": "InceptionV3", "Inception-ResNet v2": "InceptionResNetV2"}
        found = getattr(apps, classes.get(name, f"ResNet{words[-1]}V2"))(**plain)(scaled)
    return k.Model(images, found)


def leaves(model: Any) -> list[Any]:
    """List a model's layers, those of models inside it too."""
    return [leaf for layer in model.layers for leaf in (leaves(layer) if hasattr(layer, "layers") else [layer])]


def pictures(side: int, count: int) -> np.ndarray:
    """Images with something in them: uint8 [count, side, side, 3], smooth colours and noise."""
    random = np.random.default_rng(0)
    rough = random.integers(0, 256, (count, 8, 8, 3)).astype(np.float32)
    smooth = tensorflow().image.resize(rough, (side, side), "bicubic").numpy()
    return np.clip(smooth + random.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)


def settle(model: Any, side: int) -> None:
    """Set the batch norms to what they see, so that random weights neither vanish nor explode.

    Half of it is plain noise, such as `registry` compares LiteRT and TensorFlow on.
    """
    norms = [layer for layer in leaves(model) if type(layer).__name__ == "BatchNormalization"]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        count = 4 if side < 300 else 1  # what training sees of an image is large
        noise = np.random.default_rng(0).random((count, side, side, 3), np.float32)
        model(np.concatenate([pictures(side, count).astype(np.float32) / 255.0, noise]), training=True)


def save_tf2(model: Any, side: int | None, folder: Path) -> None:
    """Save as TF2's reusable SavedModel: a trace for training and one for inference, each with arguments of its own."""
    tf = tensorflow()
    module = tf.train.Checkpoint()
    module.variables = [variable.value for variable in model.variables]
    module.trainable_variables = [variable.value for variable in model.trainable_variables]
    module.regularization_losses = []

    @tf.function(autograph=False)
    def call(inputs: Any, training: bool = False, batch_norm_momentum: float = 0.99) -> Any:
        return model(inputs, training=training)

    images = tf.TensorSpec([None, side, side, 3], tf.float32, name="inputs")
    momentum = tf.TensorSpec([], tf.float32, name="batch_norm_momentum")
    for training in (True, False):
        call.get_concrete_function(images, training, momentum)
    module.__call__ = call
    signature = tf.function(lambda inputs: {"feature_vector": model(inputs, training=False)}, [images], autograph=False)
    tf.saved_model.save(module, str(folder), {"serving_default": signature})


def save_tf1(name: str, side: int, weights: list[list[np.ndarray]], folder: Path) -> None:
    """Save as TF1's module: a graph for inference and one for training, variables as TF1 had them, tfhub_module.pb."""
    import tf_keras
    from tf_keras.src import backend

    v1 = tensorflow().compat.v1
    builder = v1.saved_model.Builder(str(folder))
    v1.disable_control_flow_v2()
    for tags in ([], ["train"]):
        referred = v1.variable_creator_scope(lambda make, **options: make(**options | {"use_resource": False}))
        with v1.Graph().as_default(), referred, v1.Session() as session:
            backend.set_session(session)
            model = network(tf_keras, name, side)
            images = v1.placeholder("float32", [None, side, side, 3], "images")
            vectors = model(images, training=bool(tags))
            session.run(v1.global_variables_initializer())
            outputs = {"default": vectors}
            signatures = {
                key: v1.saved_model.predict_signature_def({"images": images}, outputs)
                for key in ("default", "image_feature_vector")
            }
            if tags:
                builder.add_meta_graph(tags, signatures)
                continue
            pairs = zip((layer for layer in leaves(model) if layer.weights), weights, strict=True)
            backend.batch_set_value([
                pair for layer, values in pairs if [v.shape for v in values] == [tuple(w.shape) for w in layer.weights]
                for pair in zip(layer.weights, values, strict=True)])  # fmt: skip
            builder.add_meta_graph_and_variables(session, tags, signatures)
    builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    v1.enable_control_flow_v2()


def measure(row: dict[str, str]) -> None:
    """Build one row of modules.csv, save and resolve it in both formats, and compare on two pictures; prints lines."""
    import keras

    tf, name, side = tensorflow(), row["network"], int(row["image_size"])
    keras.utils.set_random_seed(0)
    model = network(keras, name, side)
    settle(model, side)
    pixels = pictures(side, 2)
    batch = tf.constant(pixels.astype(np.float32) / 255.0)
    weights = [layer.get_weights() for layer in leaves(model) if layer.weights]
    free = "BiT" in name  # these take any size, in TF2's format
    for kind in ("TF2", "TF1"):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, "module")
            if kind == "TF2":
                save_tf2(model, None if free else side, folder)
            else:
                save_tf1(name, side, weights, folder)
            began = time.perf_counter()
            asked = side if free and kind == "TF2" else 0
            try:
                backbone = registry.resolve(str(folder), Path(place, "cache"), asked)
            except RetrainLabError as error:
                print(f"{name}, {kind}: FAILS. {error}", flush=True)
                continue
            seconds = time.perf_counter() - began
            with quiet():
                loaded = tensorflow_hub().load(str(folder))
            found = loaded(batch) if kind == "TF2" else loaded.signatures["default"](images=batch)["default"]
            found, largest = found.numpy(), float(np.abs(found).max())
            right = (backbone.image_size, backbone.dim) == ((side, side), int(row["dim"]))
            apart = float(np.abs(backbone.bottlenecks(pixels) - found).max())
            images_apart = float(np.abs(found[0] - found[1]).max())
            print(f"{name}, {kind}: {'right' if right else 'WRONG'} size and length; LiteRT and TensorFlow are "
                  f"{apart:.1e} apart, a ratio of {apart / largest:.1e} to the largest number; the two images "
                  f"{images_apart / largest:.2f}; {seconds:.0f} s to resolve", flush=True)  # fmt: skip


def main() -> None:
    chosen = sys.argv[1:] or FIRST
    rows = {row["network"]: row for row in hub.known_modules()}
    if chosen[0] == "--one":
        measure(rows[chosen[1]])
        return
    for name in rows if chosen == ["all"] else chosen:
        done = subprocess.run([sys.executable, __file__, "--one", name], check=False, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:]
            print(f"{name}: FAILS. Its process ended with code {done.returncode}: {' '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
