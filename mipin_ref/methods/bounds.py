"""Bounds of the network's input, carried to the tensors that hold nothing but its values, moved or scaled."""

from __future__ import annotations

from typing import Any

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.layers import Affine, Concat, Gather, HostArray, Layer, Pad, Reshape, Slice, Transpose, Where

SCALED_OR_MOVED: tuple[type[Layer], ...] = (Affine, Concat, Gather, Pad, Reshape, Slice, Transpose, Where)
"""Kinds whose outputs are each one input's value, scaled and shifted at most, or a constant."""

Bounds = tuple[HostArray, HostArray]
"""low and high of a tensor, [*shape] each."""


def first_tensors(net: Network) -> tuple[str, ...]:
    """The input, and the tensors behind it that only moves and affines lie before, in execution order."""
    first = [net.input]
    for layer in net.layers:
        if type(layer) in SCALED_OR_MOVED and all(name in first for name in layer.inputs):
            first.append(layer.output)
    return tuple(first)


def input_bounds(net: Network, low: Any, high: Any) -> Bounds:
    """Numbers or arrays that broadcast to the input's shape, as arrays of it. Raises InvalidData unless low < high."""
    try:
        arrays = [np.broadcast_to(np.asarray(bound, np.float64), net.input_shape) for bound in (low, high)]
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"low and high must be numbers that broadcast to {net.input_shape}: {error}") from error
    if not (np.isfinite(arrays).all() and np.all(arrays[0] < arrays[1])):
        raise InvalidData("low and high must be finite, and low below high everywhere")
    return arrays[0], arrays[1]


def carried(net: Network, bounds: Bounds) -> dict[str, Bounds]:
    """The bounds of each of `first_tensors`; a padding is bounded by its own value on both sides."""
    bounded = {net.input: bounds}
    first, host = first_tensors(net), get_backend()
    for layer in net.layers:
        if layer.output in first:
            inputs = [[bounded[name][side][None] for name in layer.inputs] for side in (0, 1)]
            low, high = (layer.forward(host, one)[0] for one in inputs)
            # A negative scale has turned them round.
            bounded[layer.output] = np.minimum(low, high), np.maximum(low, high)
    return bounded
