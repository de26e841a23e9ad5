"""Weights that stay on the device between calls."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from threading import Lock
from weakref import WeakKeyDictionary

from mipin_ref.backend import Backend
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights

DEVICE_CACHE_BYTES = 1 << 30
"""Bytes of weights that stay; those of the last owner stay however many they are."""


class DeviceCache:
    """The device weights of the owners that asked last, while these live."""

    def __init__(self, most: int = DEVICE_CACHE_BYTES) -> None:
        self._most = most
        self._kept: MutableMapping[object, dict[str, DeviceWeights]] = WeakKeyDictionary()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, owner: object, backend: Backend, weights: Mapping[str, Weights]) -> dict[str, DeviceWeights]:
        """An owner's weights on the device, by tensor; the owner never changes those of a tensor."""
        with self._lock:
            there = dict(self._kept.pop(owner, {}))
        for name in weights.keys() - there.keys():
            there[name] = DeviceWeights.of(backend, weights[name])
        with self._lock:
            self._kept.pop(owner, None)
            self._kept[owner] = there
            held = sum(_bytes(kept) for kept in self._kept.values())
            for other in list(self._kept)[:-1]:
                if held > self._most:
                    held -= _bytes(self._kept.pop(other))
        return there


def _bytes(weights: Mapping[str, DeviceWeights]) -> int:
    return sum(kept.bytes for kept in weights.values())
