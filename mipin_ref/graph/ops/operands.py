"""Operands of one operator that broadcast against each other, brought to one rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.layers import Reshape, Shape


def operands(node: Node, draft: Draft, tensors: Sequence[Signal]) -> tuple[list[Signal], Shape, int]:
    """The tensors with as many axes each, the per-sample shape that they broadcast to, and where the batch is.

    Refused where the samples are not on one axis, or do not fit.
    """
    rank = max(len(x.shape) for x in tensors)
    padded = [(1,) * (rank - len(x.shape)) + x.shape for x in tensors]
    axes = {rank - len(x.shape) + x.axis for x in tensors}
    shapes = " and ".join(readable(x.shape) for x in tensors)
    if len(axes) > 1:
        raise Refused(f"it broadcasts {shapes} against each other, whose samples are on different axes")
    try:
        whole = np.broadcast_shapes(*padded)
    except ValueError as error:
        raise Refused(f"{shapes} do not broadcast") from error
    axis = axes.pop()
    found = [
        x if len(x.shape) == rank else widened(node, draft, x, shape, number)
        for number, (x, shape) in enumerate(zip(tensors, padded, strict=True))
    ]
    assert whole[axis] == BATCH
    return found, tuple(whole[:axis] + whole[axis + 1 :]), axis


def widened(node: Node, draft: Draft, x: Signal, shape: Shape, number: int) -> Signal:
    """The signal with axes of length one, as a file's shape says; number: of the operand."""
    name, axis = draft.inner_name(node, f"operand {number}"), shape.index(BATCH)
    sample = shape[:axis] + shape[axis + 1 :]
    draft.add(Reshape(name=name, inputs=(x.name,), output=name, in_shapes=(x.sample,), out_shape=sample), axis=axis)
    return draft.signals[name]
