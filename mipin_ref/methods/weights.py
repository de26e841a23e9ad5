"""Constants of layers on the device, kept from call to call for the network that was explained last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from weakref import ref

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray, Layer


@dataclass(eq=False)
class LayerWeights:
    """Arrays made of a layer's constants, by name of its output and of what was made."""

    backend: Backend
    _held: dict[tuple[str, str], Array] = field(default_factory=dict)

    def of(self, layer: Layer, name: str, make: Callable[[Layer], HostArray]) -> Array:
        key = (layer.output, name)
        if key not in self._held:
            self._held[key] = self.backend.put(make(layer))
        return self._held[key]


_lock = Lock()
_last: list[tuple[ref[Network], LayerWeights]] = []


def weights_of(net: Network, backend: Backend) -> LayerWeights:
    """The constants of a network on a backend; those of the network before are let go."""
    with _lock:
        for owner, held in _last:
            if owner() is net and held.backend == backend:
                return held
        made = LayerWeights(backend)
        # With the network goes what was kept of it.
        _last[:] = [(ref(net, lambda gone: _forget(gone)), made)]
        return made


def _forget(gone: ref[Network]) -> None:
    _last[:] = [(owner, held) for owner, held in _last if owner is not gone]
