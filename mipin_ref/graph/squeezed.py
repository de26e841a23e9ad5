"""Rows of one sample that lost their axis of samples before they are added: as they were, which adds the same.

As tf2onnx writes the product with a state of LSTM where the file fixes its batch at one.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from mipin_ref.graph.inferred import lengths
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.prune import with_nodes

ADDED = 2
"""The input of a Gemm that it adds."""


def rows_kept(proto: ModelProto) -> ModelProto:
    """The model in which sums read rows [1, K] where they read them as [K]; itself where none does."""
    squeezes = [node for node in proto.graph.node if node.op_type == "Squeeze" and node.domain in STANDARD]
    if not squeezes or not {"Gemm", "Add"} & {node.op_type for node in proto.graph.node}:
        return proto
    known = lengths(proto)
    rows = {node.output[0]: node.input[0] for node in squeezes if _is_row(known, node)}
    if not rows:
        return proto
    nodes = [_reading(node, rows, known) for node in proto.graph.node]
    changed = any(one is not node for one, node in zip(nodes, proto.graph.node, strict=True))
    return with_nodes(proto, nodes, []) if changed else proto


def _is_row(known: dict[str, tuple[int | None, ...]], node: NodeProto) -> bool:
    """Whether a node takes the first axis of [1, K] away."""
    before, behind = known.get(node.input[0], ()), known.get(node.output[0], ())
    return len(before) == 2 and len(behind) == 1 and before[0] == 1 and before[1] == behind[0]


def _reading(node: NodeProto, rows: dict[str, str], known: dict[str, tuple[int | None, ...]]) -> NodeProto:
    """A node that reads rows as they were where it makes the same of them; itself where it does not."""
    if node.domain not in STANDARD or not rows.keys() & {*node.input}:
        return node
    if node.op_type == "Gemm":
        places = [ADDED]
    elif node.op_type == "Add" and any(len(known.get(name, ())) > 1 for name in node.input):
        places = [0, 1]
    else:
        return node
    changed = NodeProto()
    changed.CopyFrom(node)
    for place in places:
        changed.input[place] = rows.get(changed.input[place], changed.input[place])
    return changed
