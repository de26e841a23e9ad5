"""A matrix product of a tensor with constant matrices, another one at each place of some axes, as heads have them: a
convolution of groups, whose locations are the places that share a matrix.
"""

from __future__ import annotations

from math import prod

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.equation import moved
from mipin_ref.graph.ops.registry import draft_as
from mipin_ref.layers import HostArray


def by_places(node: Node, draft: Draft, name: str, matrices: HostArray, *, left: bool) -> None:
    """x [..., a, b] times matrices [..., b, c] (left: x stands on the left), or [..., c, a] times it.

    Refused where the axes in front of the last two do not fit, or samples would be mixed.
    """
    x = draft.signals[name]
    rank, count = len(x.shape), prod(matrices.shape[:-2])
    misfit = Refused(f"a product with {count} matrices, another one at each place, that do not fit {readable(x.shape)}")
    if matrices.ndim > rank:
        raise misfit
    matrices = matrices.reshape((1,) * (rank - matrices.ndim) + matrices.shape)
    if not left:
        matrices = np.swapaxes(matrices, -1, -2)
    # Here each matrix is [summed over, made].
    summed, kept = (rank - 1, rank - 2) if left else (rank - 2, rank - 1)
    apart = [axis for axis in range(rank - 2) if matrices.shape[axis] != 1]
    fits = all(matrices.shape[axis] == x.shape[axis] for axis in apart) and matrices.shape[-2] == x.shape[summed]
    if x.axis in (*apart, rank - 2, rank - 1) or not fits:
        raise misfit
    around = [axis for axis in range(rank - 2) if axis not in (*apart, x.axis)]
    groups, made = prod(x.shape[axis] for axis in apart), matrices.shape[-1]
    order = [x.axis, *apart, summed, *around, kept]
    lengths = [x.shape[axis] for axis in order]
    places = prod(lengths[len(apart) + 2 :])
    weight = draft.inner_name(node, "matrices")
    parts = np.transpose(matrices.reshape(groups, x.shape[summed], made), (0, 2, 1))
    draft.constants[weight] = np.ascontiguousarray(parts.reshape(groups * made, x.shape[summed], 1))
    name = moved(node, draft, "front", name, "Transpose", order)
    name = moved(node, draft, "channels", name, "Reshape", [lengths[0], groups * x.shape[summed], places])
    product = draft.inner_name(node, "product")
    draft_as(node, draft, "Conv", [name, weight], product, {"group": groups})
    lengths[len(apart) + 1] = made
    name = moved(node, draft, "places", product, "Reshape", lengths)
    order[order.index(summed)], order[-1] = (summed, kept)
    name = moved(node, draft, "order", name, "Transpose", [order.index(axis) for axis in range(rank)])
    draft_as(node, draft, "Identity", [name], node.outputs[0])
