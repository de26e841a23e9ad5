"""The linear layers forward and back in the namespace, with their own weights or with others of the same shape."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.layer import Affine, AveragePool, Conv, Dense, GlobalAveragePool, Layer, unknown_kind
from mipin_ref.layers.average import average, average_adjoint
from mipin_ref.layers.conv import conv_adjoint
from mipin_ref.layers.conv_forward import conv_forward

LINEAR = (Dense, Conv, AveragePool, GlobalAveragePool, Affine)


def linear_forward(backend: Backend, layer: Layer, x: Array, weight: Array) -> Array:
    """x [n, *in_shape] -> [n, *out_shape] without the bias; weight: `Site.weight`, or another of its shape.

    Averages have no weight: an AveragePool's is its window counts, a GlobalAveragePool's is not looked at.
    Raises UnsupportedModel for a layer that is not one of LINEAR.
    """
    if isinstance(layer, Dense):
        return x @ weight
    if isinstance(layer, Conv):
        return conv_forward(backend, x, weight, layer.window, layer.groups, layer.out_shape[1:])
    if isinstance(layer, AveragePool):
        return average(backend, x, layer.window, weight)
    if isinstance(layer, GlobalAveragePool):
        return backend.xp.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)
    if isinstance(layer, Affine):
        return x * weight
    raise unknown_kind(layer, "the arithmetic of linear layers")


def linear_adjoint(backend: Backend, layer: Layer, s: Array, weight: Array) -> Array:
    """s [n, *out_shape] -> [n, *in_shape], the adjoint of `linear_forward` with the same weight."""
    xp, shape = backend.xp, layer.in_shape
    if isinstance(layer, Dense):
        return s @ weight.T
    if isinstance(layer, Conv):
        return conv_adjoint(backend, s, weight, layer.window, layer.groups, shape[1:])
    if isinstance(layer, AveragePool):
        return average_adjoint(backend, s, layer.window, weight, shape[1:])
    if isinstance(layer, GlobalAveragePool):
        return xp.broadcast_to(s / prod(shape[1:]), (s.shape[0], *shape))
    if isinstance(layer, Affine):
        return s * weight
    raise unknown_kind(layer, "the arithmetic of linear layers")
