"""Where the elements of a tensor go behind layers that move them: numbers that are moved as values are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mipin_ref.layers import Conv, Gather, Reshape, Shape, Slice, TokenDense, Transpose, Wired

Numbers = npt.NDArray[np.int32]


def moved(numbers: Numbers, chain: Sequence[Wired]) -> Numbers:
    """Numbers of elements [*shape] behind a chain of layers; those that move nothing leave them, or copy them."""
    for layer in chain:
        if isinstance(layer, Reshape):
            numbers = numbers.reshape(layer.out_shape)
        elif isinstance(layer, Transpose):
            numbers = numbers.transpose([axis - 1 for axis in layer.perm[1:]])
        elif isinstance(layer, Slice):
            numbers = numbers[tuple(map(slice, layer.begin, layer.end))]
        elif isinstance(layer, Gather):
            for axis, pick in enumerate(layer.picks):
                numbers = numbers if pick is None else numbers.take(pick, axis)
        elif isinstance(layer, TokenDense | Conv):
            numbers = _mixed(numbers, 0 if isinstance(layer, Conv) else layer.axis - 1, layer.out_shape)
        elif numbers.shape != layer.out_shape:
            numbers = np.broadcast_to(numbers, layer.out_shape)
    return numbers


def _mixed(numbers: Numbers, axis: int, shape: Shape) -> Numbers:
    """Numbers behind a product along an axis, which leaves what is alike along it; nothing that they tell else."""
    if np.any(np.ptp(numbers, axis=axis)):
        return np.full(shape, -1, numbers.dtype)
    return np.broadcast_to(numbers.take([0], axis), shape)
