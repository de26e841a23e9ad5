"""How large the integers may be that a file is tried with: it may look them up in a table."""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto

from mipin_ref.graph.made_of import made_of

MOST = 8
"""What integers stay under that the explained input holds, at most."""
FLAGS = 2
"""What those of another input stay under that looks nothing up: masks and types are 0 or 1."""

LOOKING_UP = {"Gather": ((0, 1),), "EmbedLayerNormalization": ((2, 0), (3, 8), (4, 1))}
"""Which inputs of an operator are a table and the ids of its rows."""


def rows_looked_up(proto: ModelProto, data: str, beside: Collection[str]) -> dict[str, int]:
    """What drawn integers of each input must stay under: the rows of the smallest table that its values may pick from.

    data: the explained input; beside: the others of which each sample has values.
    """
    below = {data: MOST} | dict.fromkeys(beside, FLAGS)
    tables, _ = tables_of(proto, below)
    return {name: max(1, min(MOST, *some)) if (some := tables[name]) else most for name, most in below.items()}


def tables_of(proto: ModelProto, inputs: Collection[str]) -> tuple[dict[str, list[int]], list[int]]:
    """Rows of the tables that values of each input may pick from, and of those that no input picks from."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    rows = {tensor.name: int(tensor.dims[0]) for tensor in proto.graph.initializer if len(tensor.dims) > 1}
    tables: dict[str, list[int]] = {name: [] for name in inputs}
    others = []
    pairs = [
        (node.input[table], node.input[ids] if ids < len(node.input) else "")
        for node in proto.graph.node
        for table, ids in LOOKING_UP.get(node.op_type, ())
        if table < len(node.input) and node.input[table] in rows
    ]
    for table, ids in pairs:
        seen = made_of(ids, makers)
        for name in seen & tables.keys():
            tables[name].append(rows[table])
        if not seen & tables.keys():
            others.append(rows[table])
    return tables, others
