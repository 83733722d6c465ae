"""Images in batches for a device that computes meanwhile: a tf.data pipeline that reads them ahead on every core."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backbones.runtimes import tensorflow

_AHEAD = 2  # batches that are read while one is computed


def batches(
    read: Callable[[int], np.ndarray], count: int, size: tuple[int, int], batch: int, cores: int
) -> Iterator[tuple[list[int], np.ndarray, dict[int, BaseException]]]:
    """Read images 0 to `count` - 1; in the order in which they are ready, so that a large one holds up nobody.

    Decoding is Pillow's, as everywhere, so that pixels are the same; it releases the interpreter lock.

    Args:
        read: the number of an image -> its pixels, uint8 [height, width, 3] of `size`.
        batch: images at a time.
        cores: images that are read side by side.

    Yields:
        (numbers, pixels, failed): those that were read, uint8 [numbers, height, width, 3], and what `read` raised for
        the others.
    """
    tf = tensorflow()
    errors: dict[int, BaseException] = {}

    def one(number: np.ndarray) -> np.ndarray:
        try:
            return read(int(number))
        except BaseException as error:  # TensorFlow would make a text of it, and end the pipeline
            errors[int(number)] = error
            return np.zeros((*size, 3), np.uint8)

    def image(number: Any) -> tuple[Any, Any]:
        return number, tf.ensure_shape(tf.numpy_function(one, [number], tf.uint8), (*size, 3))

    options = tf.data.Options()
    options.threading.private_threadpool_size = cores  # those that TensorFlow shares are as many as it sees cores
    images = tf.data.Dataset.range(count).map(image, num_parallel_calls=cores, deterministic=False)
    for numbers, pixels in images.batch(batch).prefetch(_AHEAD).with_options(options).as_numpy_iterator():
        failed = {number: errors.pop(number) for number in numbers.tolist() if number in errors}
        good = ~np.isin(numbers, list(failed))
        yield numbers[good].tolist(), pixels[good] if failed else pixels, failed
