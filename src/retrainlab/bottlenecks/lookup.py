"""Where in a cache the bottleneck of an image lies, for a million images as for ten: sorted numbers, no objects."""

from collections.abc import Sequence

import numpy as np

_HEX = "S64"  # a sha256 as text


class Index:
    """Finds rows by what they are known by: a sha256, 64 hex digits, and the number of a variant."""

    def __init__(self) -> None:
        self._new: list[tuple[np.ndarray, np.ndarray]] = []  # digests and variants that came since it was sorted
        self._digests = np.zeros(0, _HEX)  # of all rows; like the variants, in the order in which they came
        self._variants = np.zeros(0, np.int32)
        self._order = np.zeros(0, np.int64)  # rows sorted by `_keys`, without earlier ones of the same image
        self._keys = np.zeros(0, np.uint64)  # each digest mixed with its variant

    def add(self, digests: np.ndarray, variants: np.ndarray) -> None:
        """Append rows, S64 [n] and int [n]. Of two rows of one image and variant, the later one is found."""
        self._new.append((digests, variants))

    def __len__(self) -> int:
        self._sort()
        return len(self._order)

    def find(self, digests: Sequence[str] | np.ndarray, variants: int | np.ndarray = 0) -> np.ndarray:
        """Tell the numbers of rows, in the order in which they were added: int64 [n], -1 where there is none."""
        self._sort()
        wanted = np.asarray(digests, _HEX)
        found = np.full(len(wanted), -1, np.int64)
        if not len(self._keys):
            return found
        numbers = np.broadcast_to(np.asarray(variants, np.int32), wanted.shape)
        keys = mixed(wanted, numbers)
        place, open_ = np.searchsorted(self._keys, keys), np.arange(len(wanted))
        while len(open_):  # once, unless the keys of two images are equal
            open_ = open_[place[open_] < len(self._keys)]
            open_ = open_[self._keys[place[open_]] == keys[open_]]
            row = self._order[place[open_]]
            same = (self._digests[row] == wanted[open_]) & (self._variants[row] == numbers[open_])
            found[open_[same]] = row[same]
            open_ = open_[~same]
            place[open_] += 1
        return found

    def _sort(self) -> None:
        if not self._new:
            return
        digests, variants = zip(*self._new, strict=True)
        self._new = []
        self._digests = np.concatenate([self._digests, *digests])
        self._variants = np.concatenate([self._variants, *variants])
        keys = mixed(self._digests, self._variants)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        earlier = np.zeros(len(order), bool)
        (equal,) = np.nonzero(keys[1:] == keys[:-1])
        first, second = order[equal], order[equal + 1]
        same = (self._digests[first] == self._digests[second]) & (self._variants[first] == self._variants[second])
        earlier[equal[same]] = True
        self._order, self._keys = order[~earlier], keys[~earlier]


def mixed(digests: np.ndarray, variants: np.ndarray) -> np.ndarray:
    """Mix digests and variants into numbers: uint64 [n]. All of each counts: not every name is as random as a hash."""
    words = np.ascontiguousarray(digests).view(np.uint64).reshape(len(digests), 8)
    mixed = variants.astype(np.uint64)
    for word in words.T:
        mixed = (mixed ^ word) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
