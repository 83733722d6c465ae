import hashlib

import numpy as np

from retrainlab.bottlenecks import lookup as module
from retrainlab.bottlenecks.lookup import Index


def names(*numbers):
    return np.array([hashlib.sha256(bytes([number])).hexdigest() for number in numbers], "S64")


def test_rows_are_found_by_image_and_variant_and_the_later_one_counts():
    index = Index()
    assert len(index) == 0 and index.find(names(1)).tolist() == [-1]
    index.add(names(3, 1, 2), np.array([0, 0, 7], np.int32))
    index.add(names(1, 2), np.array([0, 0], np.int32))
    assert index.find(names(1, 2, 3, 4)).tolist() == [3, 4, 0, -1]
    assert index.find(names(2, 3), 7).tolist() == [2, -1]
    assert index.find(names(2, 2, 3), np.array([7, 0, 0])).tolist() == [2, 4, 0]
    assert index.find([]).tolist() == [] and len(index) == 4


def test_images_whose_keys_collide_are_told_apart(monkeypatch):
    monkeypatch.setattr(module, "mixed", lambda digests, variants: np.full(len(digests), 5, np.uint64))
    index = Index()
    index.add(names(0, 1, 2, 3), np.zeros(4, np.int32))
    assert index.find(names(3, 0, 9, 2)).tolist() == [3, 0, -1, 2]


def test_many_rows_are_found_as_a_dictionary_finds_them():
    index, known = Index(), {}
    random = np.random.default_rng(0)
    for part in range(5):
        numbers, variants = random.integers(0, 200, 100), random.integers(0, 3, 100)
        known |= {(n, v): 100 * part + row for row, (n, v) in enumerate(zip(numbers, variants, strict=True))}
        index.add(names(*numbers), variants.astype(np.int32))
        asked, variant = random.integers(0, 256, 300), random.integers(0, 4, 300)
        expected = [known.get(key, -1) for key in zip(asked, variant, strict=True)]
        assert index.find(names(*asked), variant).tolist() == expected and len(index) == len(known)
