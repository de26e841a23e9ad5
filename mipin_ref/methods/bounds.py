"""Bounds of the network's input, carried to the tensors that hold nothing but its values, moved or scaled."""

from __future__ import annotations

from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.graph.layer import Add, Affine, Array, Concat, Layer, Pad, Reshape, Slice, Transpose
from mipin_ref.graph.network import Network

Bounds = tuple[Array, Array]
"""low and high of a tensor, [*shape] each."""


def first_tensors(net: Network) -> tuple[str, ...]:
    """The input, and the tensors behind it that only moves and affines lie before, in execution order."""
    found = [net.input]
    for layer in net.layers:
        if not isinstance(layer, Add) and _carries(layer) and all(name in found for name in layer.inputs):
            found.append(layer.output)
    return tuple(found)


def input_bounds(net: Network, low: Any, high: Any) -> Bounds:
    """Numbers or arrays that broadcast to the input's shape, as arrays of it. Raises InvalidData unless low < high."""
    try:
        found = [np.broadcast_to(np.asarray(bound, np.float64), net.input_shape) for bound in (low, high)]
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"low and high must be numbers that broadcast to {net.input_shape}: {error}") from error
    if not (np.isfinite(found).all() and np.all(found[0] < found[1])):
        raise InvalidData("low and high must be finite, and low below high everywhere")
    return found[0], found[1]


def carried(net: Network, bounds: Bounds) -> dict[str, Bounds]:
    """The bounds of each of `first_tensors`; a padding is bounded by its own value on both sides."""
    found = {net.input: bounds}
    first = first_tensors(net)
    for layer in net.layers:
        if layer.output in first:
            low, high = (_moved(layer, [found[name][side] for name in layer.inputs]) for side in (0, 1))
            # A negative scale has turned them round.
            found[layer.output] = np.minimum(low, high), np.maximum(low, high)
    return found


def _carries(layer: Layer) -> bool:
    return isinstance(layer, Affine | Concat | Pad | Reshape | Slice | Transpose)


def _moved(layer: Layer, values: list[Array]) -> Array:
    value = values[0]
    if isinstance(layer, Affine):
        return np.asarray(value * layer.scale + layer.shift)
    if isinstance(layer, Concat):
        return np.concatenate(values, axis=layer.axis - 1)
    if isinstance(layer, Pad):
        return np.pad(value, list(zip(layer.begin, layer.end, strict=True)), constant_values=layer.value)
    if isinstance(layer, Slice):
        return value[tuple(slice(b, e) for b, e in zip(layer.begin, layer.end, strict=True))]
    if isinstance(layer, Transpose):
        return np.transpose(value, [axis - 1 for axis in layer.perm[1:]])
    return value.reshape(layer.out_shape)
