"""The Dask client: found, checked, and what it raises in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mipin_ref.errors import BackendUnavailable, ClusterError, InvalidData, MipinError

CONNECT_SECONDS = 5


def itself(value: Any) -> Any:
    """A task's result that the scheduler can always bring back: it has the argument."""
    return value


def held(client: Any, value: Any, kind: str, *name: str | int) -> Any:
    """A future of `value`, which the scheduler keeps."""
    with large_graphs():
        return client.submit(itself, value, key=task_key(kind, *name), pure=False)


def task_key(kind: str, *name: str | int) -> str:
    """The key of a task; Dask learns how long tasks take from those whose keys begin alike."""
    return "-".join([f"mipin_{kind}", *map(str, name)])


def connect(address: str) -> Any:
    """A Client of the scheduler at `address`.

    Raises BackendUnavailable without Dask, ClusterError where no scheduler answers or it has no workers.
    """
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address!r}: {error}") from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        client.close()
        raise ClusterError(f"the Dask scheduler at {address!r} has no workers") from error
    return client


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise BackendUnavailable("a cluster needs Dask: pip install 'mipin_ref[dask]'") from error
    return distributed


def check_client(client: Any) -> None:
    distributed = _distributed()
    if not isinstance(client, distributed.Client):
        raise InvalidData(f"client must be a dask.distributed.Client, not {type(client).__name__}")
    if client.asynchronous:
        raise InvalidData("client is asynchronous; a fit needs one made without asynchronous=True")
    if client.status != "running":
        raise ClusterError(f"the Dask client is {client.status}")


@contextmanager
def large_graphs() -> Iterator[None]:
    """Without Dask's warning that a task holds large arguments, which here it is meant to."""
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"}):
        yield


@contextmanager
def cluster_errors() -> Iterator[None]:
    """What Dask raises, in a sentence."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        yield
    except MipinError as error:
        # Without the way that it took through the worker.
        raise error.with_traceback(None) from None
    except KilledWorker as error:
        raise ClusterError(
            f"workers died again and again at one task of the fit, most often for want of memory: {error}"
        ) from error
    except ImportError as error:
        raise ClusterError(f"scheduler or workers lack a module, install the same on all machines: {error}") from error
    except (CancelledError, CommClosedError, TimeoutError) as error:
        raise ClusterError(f"the connection to the cluster was lost: {error}") from error
