"""A Dask cluster to compute on: joined once, and then used by all work of this process that falls into parts.

What is sent to workers and back is small: paths there, names of parts or figures back. Images, bottlenecks and runs lie
in folders that all machines share under the same paths. Dask is imported only where a cluster is asked for.
"""

import importlib.metadata
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tqdm.auto import tqdm

from .. import __version__
from ..errors import RetrainLabError

_SECONDS_TO_ANSWER = 10  # for a scheduler
_SECONDS_WITHOUT_WORKERS = 300.0  # a queue may take a while to start them
_SECONDS_BETWEEN_LOOKS = 5.0
# What pixels and bottlenecks depend on, besides the network; decoders of single formats may be missing, everywhere
_DECISIVE = ("numpy", "pillow", "ai-edge-litert", "pillow-heif", "pydicom", "rawpy")
_KEPT = "What was computed is kept"
_Chunk = TypeVar("_Chunk")
_Result = TypeVar("_Result")


def join(dask_scheduler: str, say: Callable[[str], None] = print) -> None:
    """Compute on a Dask cluster from now on, in this process: what `extracting.extract` and `spread` are asked for.

    Args:
        dask_scheduler: the address of its scheduler; `local` starts one here, with a worker process a core; "" changes
            nothing: a client that somebody has opened is used, and threads where there is none.
        say: told the address of Dask's dashboard.

    Raises:
        RetrainLabError: Dask is not installed, or no scheduler answers.
    """
    if not dask_scheduler:
        return
    try:
        import distributed
    except ImportError as error:
        raise RetrainLabError(
            f"dask_scheduler is '{dask_scheduler}', and Dask is not installed. Install it by: pip install "
            "'retrainlab[distributed]'. Or leave dask_scheduler empty, to compute on this machine."
        ) from error
    _leave()  # a cell that is run again
    if dask_scheduler == "local":
        client = distributed.Client(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=":0")
        say(_dashboard(client))
        return
    try:
        client = distributed.Client(dask_scheduler, timeout=_SECONDS_TO_ANSWER)
    except (OSError, ValueError, TypeError) as error:
        _leave()  # Dask keeps a client that could not make out the address
        raise RetrainLabError(
            f"No Dask scheduler answers at dask_scheduler '{dask_scheduler}'. Expected the address that it printed at "
            "its start, such as tcp://10.0.0.5:8786, or 'local'. See that it runs and that this machine may reach it, "
            "or leave dask_scheduler empty, to compute on this machine."
        ) from error
    say(_dashboard(client))


def _dashboard(client: Any) -> str:
    """Say where Dask shows what its workers do; a scheduler without bokeh has the page all the same, and says so."""
    link = client.dashboard_link if "dashboard" in client.scheduler_info()["services"] else ""
    return f"Dask's dashboard: {link} (if bokeh is installed for the scheduler)" if link else "Dask has no dashboard."


def _leave() -> None:
    if (client := current()) is not None:
        client.close()


def current() -> Any:
    """Find the client of the cluster that was joined, or that somebody has opened; None where there is none.

    A worker has none: what it was given is not shared out once more.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None or _is_worker(distributed):
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def _is_worker(distributed: Any) -> bool:
    try:
        return distributed.get_worker() is not None
    except ValueError:
        return False


def spread(
    function: Callable[[_Chunk], _Result], chunks: Sequence[_Chunk], what: str
) -> Iterator[tuple[_Chunk, _Result]]:
    """Run a function on each chunk: on the cluster that was joined, as of `run`; without one here, one by one.

    Args:
        what: the chunks are, for a bar that counts them.
    """
    if (client := current()) is None:
        yield from ((chunk, function(chunk)) for chunk in chunks)
        return
    with tqdm(total=len(chunks), desc="on the cluster", unit=f" {what}", leave=False, disable=None) as bar:
        for pair in run(client, function, chunks):
            bar.update()
            yield pair


def see(**folders: Path) -> None:
    """Make sure, on a worker, that it sees folders that everybody shares, by the parameters that name them.

    Raises:
        RetrainLabError: one is not there, or is empty, as where a drive is not mounted.
    """
    for name, needed in folders.items():
        if is_gone(needed):
            raise RetrainLabError(
                f"It does not see the folder '{needed}', or sees it empty. {_KEPT}: let {name} be a folder that all "
                "machines share under the same path, and run again."
            )


def is_gone(folder: Path) -> bool:
    """A drive that is unplugged leaves nothing, an empty folder, or one whose every use is an error."""
    try:
        return not any(folder.iterdir())
    except OSError:
        return True


def run(
    client: Any, function: Callable[[_Chunk], _Result], chunks: Sequence[_Chunk]
) -> Iterator[tuple[_Chunk, _Result]]:
    """Run a function on each chunk, on the workers; gives (chunk, result) as they end. Lost workers' chunks run again.

    Raises:
        RetrainLabError: as the function did, with the worker's name; the workers are unlike this process, were lost
            again and again, or there are none; or the scheduler is gone.
    """
    from distributed.protocol import pickle

    ended: SimpleQueue[Any] = SimpleQueue()
    running, wanted, packed = {}, versions(), pickle.dumps(function)
    try:
        for chunk in chunks:
            # in a partial, where Dask does not look for tasks among the keys of the cache; impure: never from memory
            future = client.submit(partial(_on_worker, wanted, packed, chunk), pure=False)
            running[future] = chunk
            future.add_done_callback(ended.put)
        while running:
            future = _next(client, ended)
            yield running.pop(future), _result(client, future)
    finally:
        client.cancel(list(running))


def threads(client: Any) -> int:
    """Count the threads of all workers that are there now.

    Raises:
        RetrainLabError: the scheduler is gone.
    """
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise _gone(client) from error


def versions() -> dict[str, str]:
    """Tell the versions of what bottlenecks depend on, in this process."""
    found = {"retrainlab": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
    for name in _DECISIVE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _on_worker(wanted: dict[str, str], packed: bytes, chunk: Any) -> Any:
    """Run a function on a worker, if that is like the process that asks; errors for people say which worker it was.

    It is unpacked only then, which may read the shared folders.
    """
    from distributed import get_worker
    from distributed.protocol import pickle

    who = f"The Dask worker {get_worker().address} on {socket.gethostname()}"
    own = versions()
    if other := [f"{name} {own[name]} (here {wanted[name]})" for name in wanted if own[name] != wanted[name]]:
        raise RetrainLabError(
            f"{who} has other versions than this process: {', '.join(other)}. The same image might get other "
            f"bottlenecks there. {_KEPT}: install the same on all machines, as in requirements.lock, and run again."
        )
    try:
        return pickle.loads(packed)(chunk)
    except RetrainLabError as error:
        raise RetrainLabError(f"{who} had to stop. {error}") from error


def _next(client: Any, ended: SimpleQueue[Any]) -> Any:
    """Wait for the next task to end, as long as there are workers or any may still come."""
    since = time.monotonic()
    while True:
        try:
            return ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except Empty:
            if threads(client):
                since = time.monotonic()
        if time.monotonic() - since > _SECONDS_WITHOUT_WORKERS:
            raise RetrainLabError(
                f"The Dask scheduler at {client.scheduler.address} has had no workers for "
                f"{_SECONDS_WITHOUT_WORKERS:.0f} seconds. {_KEPT}: start workers, and run again."
            )


def _result(client: Any, future: Any) -> Any:
    from distributed import KilledWorker

    scheduler = client.scheduler.address
    try:
        return future.result()
    except KilledWorker as error:
        raise RetrainLabError(
            f"Dask workers were lost over the same images again and again, the last one at "
            f"{error.last_worker.address}. {_KEPT}: mostly memory ran out, which their logs tell. Give workers more "
            "memory or fewer threads, and run again."
        ) from error
    except CancelledError as error:
        raise _gone(client) from error
    except (ImportError, AttributeError) as error:
        raise RetrainLabError(
            f"A Dask worker, or the scheduler at {scheduler}, cannot load this version of retrainlab ({error}). "
            f"{_KEPT}: install retrainlab {__version__} on all machines, as here, and run again."
        ) from error


def _gone(client: Any) -> RetrainLabError:
    return RetrainLabError(
        f"The Dask scheduler at {client.scheduler.address} is gone, or has dropped the work. {_KEPT}: see that it "
        "runs, and run the notebook again from its start."
    )
