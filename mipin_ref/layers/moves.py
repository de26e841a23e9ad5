"""Signals back through the layers that only move values: reshaped, cut out, put back in their place, or handed on."""

from __future__ import annotations

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.layer import Add, Concat, Layer, Pad, Reshape, Slice, Transpose, unknown_kind

MOVES = (Add, Concat, Pad, Reshape, Slice, Transpose)


def moved_back(backend: Backend, layer: Layer, slot: int, signal: Array) -> Array:
    """The adjoint of one of MOVES: of the signal at its output [n, *out_shape] the part at input `slot`.

    Raises UnsupportedModel for a layer of any other kind.
    """
    xp, shape = backend.xp, layer.in_shapes[slot]
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
    if isinstance(layer, Add):
        return signal
    raise unknown_kind(layer, "the way back through layers that move values")
