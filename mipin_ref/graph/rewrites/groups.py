"""A GroupNorm as exporters write it: channels reshaped into groups, each normalised, and reshaped back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import HostArray, Norm, Reshape, Shape


def join_groups(wiring: Wiring) -> None:
    """Make a Norm between a Reshape and one back the Norm of what the first reads, whose channels it then has."""
    for name in [layer.output for layer in wiring.layers if isinstance(layer, Norm)]:
        _join(wiring, name)


def _join(wiring: Wiring, tensor: str) -> None:
    norm = wiring.maker(tensor)
    assert isinstance(norm, Norm)
    there, back = wiring.maker(norm.input), wiring.sole_reader(tensor)
    if not isinstance(there, Reshape) or not isinstance(back, Reshape) or there.in_shape != back.out_shape:
        return
    axis = grouped_axis(there.in_shape, norm)
    if axis is None:
        return
    scale, shift = (_reshaped(value, norm.in_shape, there.in_shape) for value in (norm.scale, norm.shift))
    shapes = (there.in_shape,)
    alone = wiring.sole_reader(there.output) is not None
    joined = replace(
        norm, inputs=there.inputs, in_shapes=shapes, out_shape=there.in_shape, scale=scale, shift=shift, axis=axis
    )
    wiring.replace(joined)
    wiring.take_out(back.output)
    wiring.rename(tensor, back.output)
    if alone:
        wiring.take_out(there.output)


def grouped_axis(shape: Shape, norm: Norm) -> int | None:
    """The axis, counted with the batch, of a sample [*shape] whose channels the groups of a Norm part; None where it
    parts none.
    """
    split = norm.in_shape
    for axis, channels in enumerate(shape):
        group, each = split[axis : axis + 1], split[axis + 1 : axis + 2]
        apart = group and each and split == (*shape[:axis], *group, *each, *shape[axis + 1 :])
        if apart and group[0] * each[0] == channels and 1 + axis not in norm.over:
            return 1 + axis
    # [G, ...]: groups of the first axis, all that is in one of them in a row.
    return 1 if shape and 1 not in norm.over and shape[0] % split[0] == 0 else None


def _reshaped(value: HostArray, given: Shape, wanted: Shape) -> HostArray:
    return np.broadcast_to(value, given).reshape(wanted)
