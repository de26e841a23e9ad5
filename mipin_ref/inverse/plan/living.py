"""Which elements of each tensor a path leads from to the target (method, section 10, dead locations)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from weakref import WeakKeyDictionary

import numpy as np

from mipin_ref.graph.network import Network
from mipin_ref.layers import Shape
from mipin_ref.layers.kind import Flags

Flagged = Mapping[str, Flags]
"""By tensor [*shape], per sample."""


class Living:
    """The elements that lead to a target, followed against the direction of the layers.

    Of most networks, and below the first Dense of nearly all, they are those of any other target: they are traced once
    as if every logit were wanted, and for a target only as far as its own differ.
    """

    def __init__(self, net: Network) -> None:
        self._net = net
        self._all: Flagged = {}
        self._all, _ = self._traced(_everything(net.shapes[net.logits]))

    def of(self, index: int | None) -> Flagged:
        """The flags for a target, an index into the logits, of the tensors that lead to it; None for all targets."""
        return self._all if index is None else self._traced(self._seed(index))[0]

    def signature(self, index: int) -> tuple[tuple[str, bytes], ...]:
        """What a target has apart from the flags of all; targets that have the same share a plan."""
        flags, apart = self._traced(self._seed(index))
        return tuple((name, np.packbits(flags[name]).tobytes()) for name in apart if name != self._net.logits)

    def _seed(self, index: int) -> Flags:
        seed = np.zeros(self._net.shapes[self._net.logits], np.bool_)
        seed.reshape(-1)[index] = True
        return seed

    def _traced(self, seed: Flags) -> tuple[dict[str, Flags], dict[str, None]]:
        """The flags from `seed` [*logits] down, and the tensors where they are not those of all targets."""
        net, known = self._net, self._all
        flags, apart = {net.logits: seed}, dict.fromkeys([net.logits] if known else [])
        for name in reversed([*net.shapes]):
            readers = [(x, slot) for x, slot in net.consumers[name] if slot in x.paths and x.output in flags]
            if name == net.logits or not readers:
                continue
            if known and not any(layer.output in apart for layer, _ in readers):
                flags[name] = known[name]
                continue
            one = reduce(np.logical_or, (layer.leads(flags[layer.output], slot) for layer, slot in readers))
            flags[name] = _everything(one.shape) if np.all(one) else one
            if known and not np.array_equal(flags[name], known[name]):
                apart[name] = None
        return flags, apart


def _everything(shape: Shape) -> Flags:
    return np.broadcast_to(np.True_, shape)


_traced: WeakKeyDictionary[Network, Living] = WeakKeyDictionary()


def living(net: Network) -> Living:
    """The tracer of a network, made once."""
    if net not in _traced:
        _traced[net] = Living(net)
    return _traced[net]


def locations(flags: Flags, axis: int) -> Flags | None:
    """The locations of a tensor, its channels on `axis` counted with the batch, of which any element is flagged.

    Returns [*shape] with one channel; None where all are.
    """
    if not flags.ndim or np.all(flags):
        return None
    found = np.any(flags, axis=axis - 1, keepdims=True)
    return None if np.all(found) else found
