"""Reductions that are a sum or a maximum between element-wise functions: norms, sums of squares, the smallest value.

A norm that a tensor is divided by is no such path: it belongs to the normalisation, which is read as one.
"""

from __future__ import annotations

from mipin_ref.graph.draft import Draft
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import draft_as, handles


@handles("ReduceL2", "ReduceSumSquare")
def sum_of_squares(node: Node, draft: Draft) -> None:
    """√(Σ x²), or without the root."""
    squares = draft.inner_name(node, "squares")
    draft_as(node, draft, "Mul", [node.inputs[0], node.inputs[0]], squares)
    if node.op == "ReduceSumSquare":
        _over(node, draft, "ReduceSum", squares, node.outputs[0])
        return
    total = draft.inner_name(node, "sum of squares")
    _over(node, draft, "ReduceSum", squares, total)
    draft_as(node, draft, "Sqrt", [total], node.outputs[0])


@handles("ReduceL1")
def sum_of_sizes(node: Node, draft: Draft) -> None:
    """Σ |x|."""
    sizes = draft.inner_name(node, "sizes")
    draft_as(node, draft, "Abs", [node.inputs[0]], sizes)
    _over(node, draft, "ReduceSum", sizes, node.outputs[0])


@handles("ReduceMin")
def reduce_min(node: Node, draft: Draft) -> None:
    """-max(-x)."""
    turned, largest = (draft.inner_name(node, role) for role in ("turned", "largest turned"))
    draft_as(node, draft, "Neg", [node.inputs[0]], turned)
    _over(node, draft, "ReduceMax", turned, largest)
    draft_as(node, draft, "Neg", [largest], node.outputs[0])


def _over(node: Node, draft: Draft, op: str, source: str, output: str) -> None:
    """The reduction over the axes that a node tells."""
    draft_as(node, draft, op, [source, *node.inputs[1:]], output, node.attributes)
