"""Exponentials that a condition takes below a number alone, as of an ELU written out: α (exp(min(x, number)) - 1).

Where the condition takes the other side, exp(x) may be Inf, which a product with zero would not take out.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto

from mipin_ref.graph.fusions.writer import Writer
from mipin_ref.graph.masked import ALONG
from mipin_ref.graph.nodes import Nodes, told_of

LARGEST = 80.0
"""Of a larger number exp is no number of single precision."""


def exponential(name: str, tensor: str, known: Nodes) -> Sequence[NodeProto]:
    """The operators that make a tensor of another one, the first of them an Exp, the others with constants; none where
    it is not made so.
    """
    chain: list[NodeProto] = []
    while (node := known.makers.get(name)) is not None:
        chain.insert(0, node)
        if node.op_type == "Exp":
            return chain if node.input[0] == tensor else []
        free = [one for one in node.input if known.constant(one) is None]
        if node.op_type not in ALONG or len(free) != 1 or (node.op_type == "Div" and free[0] != node.input[0]):
            return []
        name = free[0]
    return []


def bounded(writer: Writer, chain: Sequence[NodeProto], bound: str) -> str:
    """Write the operators anew, of the smaller of their tensor and a bound. Returns what they make."""
    before = chain[0].input[0]
    made = writer.node("Min", before, bound, role="bounded")
    for number, node in enumerate(chain):
        inputs = [made if one == before else one for one in node.input]
        told = {one.name: told_of(node, one.name) for one in node.attribute}
        before, made = node.output[0], writer.node(node.op_type, *inputs, role=f"below {number}", **told)
    return made
