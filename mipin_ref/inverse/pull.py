"""Signals back through a layer whose inverse has no shared weights: moved, put back, cut out or spread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.layer import (
    AveragePool,
    Concat,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Reshape,
    Slice,
    Transpose,
)
from mipin_ref.inverse.plan import Branch
from mipin_ref.layers.average import covering_mean
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
    xp, shape = backend.xp, layer.in_shapes[slot]
    if isinstance(layer, MaxPool):
        return unpool(backend, signal, taps[layer.output], layer.window, shape[1:])
    if isinstance(layer, AveragePool):
        return covering_mean(backend, signal, layer.window, shape[1:])
    if isinstance(layer, GlobalAveragePool):
        return xp.broadcast_to(signal, (signal.shape[0], *shape))
    if isinstance(layer, Transpose):
        return xp.permute_dims(signal, tuple(int(i) for i in np.argsort(layer.perm)))
    if isinstance(layer, Reshape):
        return xp.reshape(signal, (signal.shape[0], *shape))
    if isinstance(layer, Concat):
        axis = layer.axis - 1
        before = sum(other[axis] for other in layer.in_shapes[:slot])
        return signal[(slice(None),) * layer.axis + (slice(before, before + shape[axis]), ...)]
    if isinstance(layer, Pad):
        inside = (slice(b, b + n) for b, n in zip(layer.begin, shape, strict=True))
        return signal[(slice(None), *inside)]
    if isinstance(layer, Slice):
        whole = xp.zeros((signal.shape[0], *shape), dtype=signal.dtype, device=backend.device)
        whole[(slice(None), *(slice(b, e) for b, e in zip(layer.begin, layer.end, strict=True)))] = signal
        return whole
    return signal
