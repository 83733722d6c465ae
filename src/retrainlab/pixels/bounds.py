"""How much is held at a time, by all threads together: pixels while they are decoded, and contents of files.

A small file may declare many pixels, and there is a thread a core: what one of them may hold is too much for all.
So each takes its share before it decodes, and waits for its turn where too much is held already.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Condition, Lock

from ..errors import RetrainLabError
from ..files import opened

Hold = Callable[[int, float], None]  # of pixels that are about to be decoded, and their weight: see `pixels`


class Bound:
    """Lets threads hold so much together, each in its turn: one that asks for much is not passed by for ever.

    Attributes:
        most: what is held at a time; whoever asks for more is refused, since it would never have its turn.
    """

    def __init__(self, most: int) -> None:
        self.most = self._free = most
        self._turn, self._freed = Lock(), Condition()

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        """Hold an amount, up to `most`, as soon as there is room for it."""
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._freed:
                self._free += amount
                self._freed.notify_all()


_PIXELS = Bound(178_956_970)  # at most 12 bytes each: about 2 GB. As many as Pillow calls safe, too
_BYTES = Bound(2**31)


def pixels(count: int, weight: float) -> AbstractContextManager[None]:
    """Hold so many pixels while they are decoded, converted and made small.

    Args:
        weight: how many bytes each of them takes, in dozens; at least 1.

    Raises:
        RetrainLabError: more than are safe to read.
    """
    if (amount := round(count * max(weight, 1))) > _PIXELS.most:
        raise RetrainLabError(
            f"it has {count / 1e6:,.0f} million pixels, and of its kind no more than {_PIXELS.most / weight / 1e6:.0f} "
            "million are read safely; save it smaller"
        )
    return _PIXELS.held(amount)


@contextmanager
def content(path: Path) -> Iterator[bytes]:
    """Read all of a file, and hold it.

    Raises:
        OSError: see `files.opened`.
        RetrainLabError: it is larger than any image that can be read.
    """
    with opened(path) as file:
        size = file.seek(0, 2)
        if size > _BYTES.most:
            raise RetrainLabError(f"it has {size / 1e9:,.1f} GB, more than an image that can be read safely")
        file.seek(0)
        with _BYTES.held(size):
            yield file.read(size)


TOO_MANY = f"it declares more than {_PIXELS.most / 1e6:.0f} million pixels, too many to be read safely; save it smaller"
