"""What all threads hold together is bounded: small files that become large, and files that are no files."""

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from handmade import dicom, png
from kinds import TOO_MANY, saved
from PIL import Image

from retrainlab.errors import RetrainLabError
from retrainlab.files import opened
from retrainlab.pixels import bounds
from retrainlab.pixels.bounds import Bound

SIDE = 13300  # 177 million pixels: nearly as many as are read


def test_threads_hold_no_more_than_the_bound_together():
    bound, now, most, lock = Bound(10), [0], [0], threading.Lock()

    def work(amount: int) -> None:
        with bound.held(amount):
            with lock:
                now[0] += amount
                most[0] = max(most[0], now[0])
            time.sleep(0.001)
            with lock:
                now[0] -= amount

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, np.random.default_rng(0).integers(0, 11, 200).tolist()))
    assert 5 < most[0] <= 10 and now[0] == 0


def test_what_is_large_is_not_passed_by_for_ever():
    bound, order, first = Bound(10), [], threading.Event()

    def ask(name: str, amount: int) -> None:
        with bound.held(amount):
            order.append(name)

    def small() -> None:
        first.wait()
        ask("small", 1)

    with bound.held(6):
        large = threading.Thread(target=ask, args=("large", 8))
        large.start()
        while not bound._turn.locked():
            time.sleep(0.001)
        later = threading.Thread(target=small)
        later.start(), first.set()
        time.sleep(0.05)
        assert order == []  # though there is room for the small one
    large.join(), later.join()
    assert order == ["large", "small"]


def test_what_fails_is_held_no_longer():
    bound = Bound(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), bound.held(1):
            1 / 0  # noqa: B018


@pytest.mark.parametrize(("count", "weight"), [(178_956_971, 1), (100_000_000, 2), (10**15, 1)])
def test_more_than_can_ever_be_held_is_refused(count, weight):
    with pytest.raises(RetrainLabError, match=r"million pixels, and of its kind no more than (179|89) million"):
        bounds.pixels(count, weight)


def test_a_file_larger_than_any_image_is_not_read(tmp_path):
    (tmp_path / "a.jpg").touch()
    os.truncate(tmp_path / "a.jpg", 2**31 + 1)  # sparse
    with (
        pytest.raises(RetrainLabError, match=r"it has 2\.1 GB, more than an image"),
        bounds.content(tmp_path / "a.jpg"),
    ):
        pass


# --------------------------------------------------------------------------------------------- files that are none


def test_only_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with opened(tmp_path / name) as file:
            assert file.read() == b"content"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    why = {"pipe": "a named pipe", os.devnull: "a device", ".": "directory", "none": "No such file", "loop": "links"}
    for name, words in why.items():
        with pytest.raises(OSError, match=words):
            opened(tmp_path / name)


def test_a_socket_is_no_file(tmp_path, monkeypatch):
    import socket

    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as place:
        place.bind("here.png")
        with pytest.raises(OSError, match="it is a socket, not a file"):
            opened(Path("here.png"))


# --------------------------------------------------------------------------------------------- bombs


def exploded(tmp_path: Path, content: bytes, gigabytes: float, threads: int = 2) -> list[str]:
    """Read a file in a process of little memory; its lines, the same for each thread."""
    (tmp_path / "bomb").write_bytes(content)
    command = [sys.executable, Path(__file__).with_name("bombs.py"), tmp_path / "bomb", str(gigabytes), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_many_pixels_of_16_bits_take_little_memory(tmp_path):
    content = png(SIDE, SIDE, 16, 0)
    assert len(content) < 400_000
    assert exploded(tmp_path, content, 1.2, threads=1) == ["mean 0"]


def test_where_memory_is_not_enough_that_is_said(tmp_path):
    said = exploded(tmp_path, png(SIDE, SIDE, 8, 2), 0.7, threads=1)
    assert said == ["this machine has not enough memory to read it; save it smaller"]


def large(kind: str, **options) -> bytes:
    mode = options.pop("mode", "RGB")
    return saved(Image.new(mode, (options.pop("side", SIDE),) * 2), kind, **options)


BOMBS = {  # what there is to read, and what comes of it
    "16 bits, PNG": (lambda: png(SIDE, SIDE, 16, 0), "mean 0"),
    "colours, PNG": (lambda: png(SIDE, SIDE, 8, 2), "mean 0"),
    "16-bit colours, PNG": (lambda: png(SIDE, SIDE, 16, 2), "mean 0"),
    "transparent, PNG": (lambda: png(SIDE, SIDE, 8, 6), "mean 255"),
    "palette, PNG": (lambda: png(SIDE, SIDE, 8, 3, b"", (b"PLTE", bytes(3)), (b"tRNS", b"\x80")), "mean 127"),
    "1 bit, PNG": (lambda: png(SIDE, SIDE, 1, 0), "mean 0"),
    "too large, PNG": (lambda: png(60000, 60000, 1, 0), TOO_MANY),
    "GIF": (lambda: large("GIF", mode="P"), "mean 0"),
    "floats, TIFF": (lambda: large("TIFF", mode="F", compression="tiff_lzw"), "mean 0"),
    "in one strip, TIFF": (lambda: large("TIFF", compression="tiff_adobe_deflate", strip_size=2**30), "mean 0"),
    "JPEG": (lambda: large("JPEG"), "mean 0"),
    "progressive, JPEG": (lambda: large("JPEG", progressive=True), "mean 0"),
    "for print, JPEG": (lambda: large("JPEG", mode="CMYK"), "mean 255"),
    "WebP": (lambda: large("WEBP", side=11000, quality=1, method=0), "mean 0"),
    "AVIF": (lambda: large("AVIF", side=9000, speed=10), "mean 0"),
    "JPEG 2000": (lambda: large("JPEG2000", side=6000), "mean 0"),
    "DICOM": (lambda: dicom(np.zeros((6000,) * 2, np.uint16), RescaleSlope=0.5, RescaleIntercept=0), "mean 0"),
}


@pytest.mark.hard
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_of_every_format_end_in_pixels_or_a_reason(tmp_path, name):
    make, expected = BOMBS[name]
    first, second = exploded(tmp_path, make(), 4)
    assert first == second and re.search(expected, first)
