"""How extraction goes about its work; what it computes is checked beside the cache that it fills."""

import os
import time

import numpy as np
from conftest import make_folder, make_image

from retrainlab.bottlenecks import caching, extracting
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder


class Counting:
    """A backbone that counts what it was asked for."""

    image_size, dim = (8, 8), 3

    def __init__(self):
        self.asked = 0

    def bottlenecks(self, pixels):
        self.asked += 1
        return np.full((1, 3), pixels.mean(), np.float32)


def test_threads_run_only_so_far_ahead_of_what_is_written(tmp_path, monkeypatch):
    """With 2 threads, 2 images ahead each and parts of 4: never more than 8 images beyond what lies in the cache."""
    monkeypatch.setattr(extracting, "_IMAGES_AHEAD", 2)
    monkeypatch.setattr(extracting, "_ROWS_A_PART", 4)
    table = scanning.scan(make_folder(tmp_path / "images", {"a": 15, "b": 15}, ("png",))).images
    backbone, cache, ahead = Counting(), caching.Cache(tmp_path, 3), []
    real = cache.add

    def slow(keys, rows):
        time.sleep(0.2)  # long enough for threads to run away
        ahead.append(backbone.asked - len(cache))
        real(keys, rows)

    monkeypatch.setattr(cache, "add", slow)
    done = extracting.extract(backbone, cache, ImageFolder(tmp_path / "images"), table, threads=2)
    assert done.computed == len(cache) == backbone.asked == 30 and done.problems == {}
    assert max(ahead) <= 8 and len(ahead) >= 30 // 4


def test_what_takes_the_place_of_a_file_after_the_scan_is_said(tmp_path):
    root = make_folder(tmp_path / "images", {"a": 4, "b": 2}, ("png",))
    table, cache = scanning.scan(root).images, caching.Cache(tmp_path, 3)
    changed, pipe, folder, gone = (root / "a" / f"image 00{number}.png" for number in range(4))
    make_image(9).save(changed)
    for path in (pipe, folder, gone):
        path.unlink()
    os.mkfifo(pipe), folder.mkdir()
    done = extracting.extract(Counting(), cache, ImageFolder(root), table)
    assert done.problems == {
        "a/image 000.png": "the file has changed since it was scanned; run again",
        "a/image 001.png": "the file cannot be read any more: it is a named pipe, not a file",
        "a/image 002.png": "the file cannot be read any more: Is a directory",
        "a/image 003.png": "the file cannot be read any more: No such file or directory",
    }
    assert done.computed == len(cache) == 2
