"""Rows of a sequence that a file puts together again one by one: the sequence that they are taken from.

As unrolled layers of Keras hand on their states, and as a Loop does.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from mipin_ref.graph.fusions.writer import Surroundings, Writer, written_out
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of

FEWEST = 2
"""Rows that are worth it."""


def stacks_joined(proto: ModelProto) -> ModelProto:
    """The model in which rows that are put together are taken at once; itself where there are none."""
    if not {"Concat", "Unsqueeze", "Gather"} <= {node.op_type for node in proto.graph.node}:
        return proto
    known, around = Nodes(proto), Surroundings.of(proto)

    def written(node: NodeProto) -> Writer | None:
        if node.op_type != "Concat" or node.domain not in STANDARD or len(node.input) < FEWEST:
            return None
        axis = int(told_of(node, "axis", 0))
        rows = [_row(known, name, axis) for name in node.input]
        first = rows[0]
        if first is None or any(row is None or row[:2] != first[:2] for row in rows):
            return None
        source, taken = first[:2]
        rank = len(known.shape(source) or ())
        if rank <= max(axis, taken) or min(axis, taken) < 0:
            return None
        writer = Writer(node, around)
        picked = writer.whole("rows", *(row[2] for row in rows if row is not None))
        if axis == taken:
            writer.node("Gather", source, picked, role="taken", out=writer.output(0), axis=taken)
        else:
            order = [place for place in range(rank) if place != taken]
            order.insert(axis, taken)
            together = writer.node("Gather", source, picked, role="taken", axis=taken)
            writer.node("Transpose", together, role="stacked", out=writer.output(0), perm=order)
        return writer

    return written_out(proto, written)


def _row(known: Nodes, name: str, axis: int) -> tuple[str, int, int] | None:
    """The tensor and axis that a row with an axis of length one is taken from, and its place there."""
    wide = known.made(name, "Unsqueeze")
    row = None if wide is None or known.axes(wide) != (axis,) else known.made(wide.input[0], "Gather")
    place = None if row is None else known.constant(row.input[1])
    if row is None or place is None or place.ndim:
        return None
    return str(row.input[0]), int(told_of(row, "axis", 0)), int(place)
