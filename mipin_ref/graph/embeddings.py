"""Tensors that are rows of a table, looked up by the ids that a network reads: what is explained in place of ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from onnx import ModelProto, NodeProto

from mipin_ref.graph.told_lengths import lengths_outside
from mipin_ref.layers import HostArray

UNCHANGED = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
"""What may stand between ids and the look-up, and leaves each as it is."""
HANDS_ON = frozenset({"Identity", "DequantizeLinear", "Cast"})
"""What may stand between a table and the look-up."""
THROUGH = UNCHANGED | {"Clip"}
"""The same with what may change them."""


def embeddings(proto: ModelProto, data: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Those of `sources` that a Gather of a table makes by the ids `data`, or whose integers it does."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    tables = {one.name for one in proto.graph.initializer}
    return tuple(name for name in sources if name in makers and _looks_up(makers[name], data, makers, tables))


def looked_up(proto: ModelProto, data: str) -> bool:
    """Whether any Gather takes rows of a table by the ids `data`."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    tables = {one.name for one in proto.graph.initializer}
    return any(_looks_up(node, data, makers, tables) for node in proto.graph.node)


def rows_of(proto: ModelProto, data: str) -> int | None:
    """The rows of the smallest table that the ids `data` are looked up in as they are; None where there is none."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    rows = {one.name: int(one.dims[0]) for one in proto.graph.initializer if one.dims}
    taking = [node for node in proto.graph.node if _looks_up(node, data, makers, rows.keys(), UNCHANGED)]
    counts = (_count(str(node.input[0]), makers, rows) for node in taking)
    return min((count for count in counts if count is not None), default=None)


def outside(proto: ModelProto, feed: Mapping[str, HostArray]) -> str | None:
    """Which input holds an id that is no row of the table that it is looked up in, or a length that its sequence does
    not have, in words; None where none does.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    rows = {one.name: int(one.dims[0]) for one in proto.graph.initializer if one.dims}
    for node in proto.graph.node:
        count = _count(str(node.input[0]), makers, rows) if _takes_rows(node) else None
        if count is None:
            continue
        name = str(node.input[1])
        while name in makers and makers[name].op_type in UNCHANGED:
            name = str(makers[name].input[0])
        wrong = feed[name][(feed[name] >= count) | (feed[name] < -count)] if name in feed else np.zeros(0)
        if wrong.size:
            return (
                f"input {name!r} holds id {int(wrong.flat[0])}, and table {node.input[0]!r} of {node.op_type} "
                f"{node.name or node.output[0]!r} has rows 0 to {count - 1}"
            )
    return lengths_outside(proto, feed)


def _takes_rows(node: NodeProto) -> bool:
    return node.op_type == "Gather" and not any(one.name == "axis" and one.i for one in node.attribute)


def _count(table: str, makers: Mapping[str, NodeProto], rows: Mapping[str, int]) -> int | None:
    """The rows of a table that the file holds, as integers too, or a node that only hands one on."""
    while table not in rows and table in makers and makers[table].op_type in HANDS_ON:
        table = str(makers[table].input[0])
    if table in rows or table not in makers:
        return rows.get(table)
    return next((int(one.t.dims[0]) for one in makers[table].attribute if one.name == "value" and one.t.dims), None)


def _looks_up(
    node: NodeProto,
    data: str,
    makers: Mapping[str, NodeProto],
    tables: Collection[str],
    through: Collection[str] = THROUGH,
) -> bool:
    if node.op_type == "DequantizeLinear" and node.input[0] in makers:
        node = makers[node.input[0]]
    if not _takes_rows(node):
        return False
    held = str(node.input[0])
    while held in makers and makers[held].op_type in HANDS_ON - {"Identity"}:
        held = str(makers[held].input[0])
    table = makers.get(held)
    if held not in tables and (table is None or table.op_type not in ("Constant", "Identity")):
        return False
    name = node.input[1]
    while name != data:
        maker = makers.get(name)
        if maker is None or maker.op_type not in through:
            return False
        name = maker.input[0]
    return True
