"""Read a file by several threads at once, in so much memory: `python bombs.py FILE GIGABYTES THREADS`.

Prints a line for each thread: the mean of a small picture of it, or why there is none.
"""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from retrainlab.errors import RetrainLabError
from retrainlab.pixels.decoding import read_pixels


def read(data: bytes) -> str:
    try:
        return f"mean {read_pixels(data, (64, 64)).mean():.0f}"
    except RetrainLabError as error:
        return str(error)


if __name__ == "__main__":
    file, gigabytes, threads = sys.argv[1:]
    content = Path(file).read_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (int(float(gigabytes) * 1e9),) * 2)
    with ThreadPoolExecutor(int(threads)) as pool:
        print(*pool.map(read, [content] * int(threads)), sep="\n")
