"""Signals back through a layer whose inverse has no shared weights: moved, put back, cut out or spread."""

from __future__ import annotations

from collections.abc import Mapping

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.layer import Activation, Affine, AveragePool, GlobalAveragePool, Layer, MaxPool
from mipin_ref.inverse.plan import Branch
from mipin_ref.layers.average import covering_mean
from mipin_ref.layers.moves import moved_back
from mipin_ref.layers.pool import unpool


def pull(backend: Backend, branch: Branch, signals: Mapping[str, Array], taps: Mapping[str, Array]) -> Array:
    """The signals of a branch at the tensor that it reads [n, *shape], before any weights and mask.

    signals: by tensor [n, ...]; taps: of max-pools, by output.
    """
    first, *others = branch.layers
    found = _pull(backend, first, branch.slot, signals[first.output], taps)
    for layer in others:
        found = found + _pull(backend, layer, branch.slot, signals[layer.output], taps)
    return found


def _pull(backend: Backend, layer: Layer, slot: int, signal: Array, taps: Mapping[str, Array]) -> Array:
    shape = layer.in_shapes[slot]
    if isinstance(layer, MaxPool):
        return unpool(backend, signal, taps[layer.output], layer.window, shape[1:])
    if isinstance(layer, AveragePool):
        return covering_mean(backend, signal, layer.window, shape[1:])
    if isinstance(layer, GlobalAveragePool):
        return backend.xp.broadcast_to(signal, (signal.shape[0], *shape))
    if isinstance(layer, Activation | Affine):
        # Element-wise: the signal passes, and what an Affine scales is in its fitted weights.
        return signal
    return moved_back(backend, layer, slot, signal)
