"""Images in, answers out, by the workers of a cluster: each opens the classifier, and sends back what it says."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..bottlenecks import cluster
from . import streaming
from .labelers import Labeler
from .streaming import Answer

_IMAGES_A_TASK, _TASKS_A_THREAD = 1024, 4  # at most, since a lost worker's are labelled again; and at least


def answers(
    client: Any, opened: Callable[[], Labeler], found: Mapping[str, Path], top: int
) -> Generator[Answer, None, None]:
    """Label images by the workers of a cluster; the answers come as tasks end, those of one in their order.

    Args:
        client: as of `cluster.current`.
        opened: opens the classifier, from files that all machines see under the same path.
        found: image files by path, as from `streaming.sources`.
        top: how many labels to give for each, most probable first.

    Raises:
        RetrainLabError: a worker cannot open the classifier, or does not see a folder of images; see `cluster.run`.
    """
    files = {path: file.absolute() for path, file in found.items()}
    folders = {folder for folder in {file.parent for file in files.values()} if not cluster.is_gone(folder)}
    size = max(1, min(_IMAGES_A_TASK, len(files) // (_TASKS_A_THREAD * max(1, cluster.threads(client)))))
    items = iter(files.items())
    chunks = [dict(islice(items, size)) for _ in range(0, len(files), size)]
    for _, told in cluster.run(client, _Work(opened, top, folders).answers, chunks):
        yield from told


@dataclass(frozen=True)
class _Work:
    opened: Callable[[], Labeler]
    top: int
    folders: set[Path]  # of images, that whoever asks sees

    def answers(self, chunk: Mapping[str, Path]) -> list[Answer]:
        for folder in {file.parent for file in chunk.values()} & self.folders:
            cluster.see(IMAGES=folder)
        return list(streaming.answers(self.opened(), chunk, self.top, threads=1))
