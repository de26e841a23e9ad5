"""Forward passes made while a device computes on the batch before."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

from mipin_ref.backend import Backend

T = TypeVar("T")


def batches(backend: Backend, made: Generator[T]) -> Generator[T]:
    """The batches of `made`, on a device of its own memory each being made while the one before is in use.

    There the host would wait: a signal that is kept is copied back, and the device has nothing to do until the next
    batch is recorded. What `put` copies needs no thread, as CuPy takes it through pinned memory without waiting. On the
    host itself both would share the same cores. An error in `made` comes when its batch is due; when the user of the
    batches stops early, the batch that is being made is waited for and `made` is closed.
    """
    if not backend.has_own_memory:
        yield from made
        return
    end: Any = object()
    with closing(made), ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, made, end)
        while (batch := coming.result()) is not end:
            coming = thread.submit(next, made, end)
            yield batch


def in_hand(backend: Backend) -> int:
    """How many batches there are at a time."""
    return 2 if backend.has_own_memory else 1
