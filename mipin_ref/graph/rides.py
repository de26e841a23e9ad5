"""The sessions of ways back that stay open between calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from threading import Lock
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from mipin_ref.threads import BLAS_THREADS

RIDES_BYTES = 1 << 29
"""Bytes of weights and workspace that stay; those of the last owner stay however many they are."""
RIDES = 2
"""Sessions of an owner that stay open."""


class Ride(Protocol):
    """A way back in a session of onnxruntime."""

    @property
    def bytes(self) -> int:
        """What it holds, roughly."""
        ...


R = TypeVar("R", bound=Ride)


class Rides(Generic[R]):
    """The open sessions of the owners that asked last, while these live. most: bytes of weights that they hold."""

    def __init__(self, most: int = RIDES_BYTES) -> None:
        self._most = most
        self._kept: MutableMapping[object, dict[tuple[object, ...], R | None]] = WeakKeyDictionary()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, owner: object, key: tuple[object, ...], make: Callable[[], R | None]) -> R | None:
        """An owner's session of a key, which `make` opens; None where it can open none.

        Two threads that ask at a time may open two, of which one stays.
        """
        key = (*key, BLAS_THREADS.count)
        with self._lock:
            there = self._kept.get(owner, {})
            known = key in there
            ride = there.get(key)
        if not known:
            ride = make()
        with self._lock:
            others = self._kept.pop(owner, {})
            others.pop(key, None)
            self._kept[owner] = dict([*others.items(), (key, ride)][-RIDES:])
            held = sum(_bytes(kept) for kept in self._kept.values())
            for other in list(self._kept)[:-1]:
                if held > self._most:
                    held -= _bytes(self._kept.pop(other))
        return ride


def _bytes(rides: Mapping[tuple[object, ...], Ride | None]) -> int:
    return sum(ride.bytes for ride in rides.values() if ride is not None)
