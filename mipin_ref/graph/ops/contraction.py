"""The matrix product of two tensors that both depend on the input, as attention has it."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import Contraction, Draft, Refused, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.operands import widened
from mipin_ref.graph.ops.registry import layer_name


def contract(node: Node, draft: Draft) -> None:
    """Draft a MatMul of two tensors. Refused where it works along the batch, or samples are on different axes."""
    pair = [draft.signals[name] for name in node.inputs]
    told = " and ".join(readable(x.shape) for x in pair)
    rank = max(len(x.shape) for x in pair)
    padded = [(1,) * (rank - len(x.shape)) + x.shape for x in pair]
    axes = {rank - len(x.shape) + x.axis for x in pair}
    if min(len(x.shape) for x in pair) < 2 or len(axes) > 1 or max(axes) >= rank - 2:
        raise Refused(f"it multiplies {told}, which both depend on the input, along the batch")
    (left, right), axis = padded, axes.pop()
    try:
        around = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError as error:
        raise Refused(f"{told} do not broadcast") from error
    if left[-1] != right[-2]:
        raise Refused(f"{told} do not fit together")
    whole = (*around, left[-2], right[-1])
    a, b = (
        x if len(x.shape) == rank else widened(node, draft, x, shape, number)
        for number, (x, shape) in enumerate(zip(pair, padded, strict=True))
    )
    draft.add(
        Contraction(
            name=layer_name(node),
            inputs=(a.name, b.name),
            output=node.outputs[0],
            in_shapes=(a.sample, b.sample),
            out_shape=whole[:axis] + whole[axis + 1 :],
            label=node.label,
        ),
        axis=axis,
    )
