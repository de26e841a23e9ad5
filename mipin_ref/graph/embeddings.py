"""Tensors that are rows of a table, looked up by the ids that a network reads: what is explained in place of ids."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import ModelProto, NodeProto

THROUGH = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Clip"})
"""What may stand between ids and the look-up."""


def embeddings(proto: ModelProto, data: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Those of `sources` that a Gather of a table makes by the ids `data`."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    tables = {one.name for one in proto.graph.initializer}
    return tuple(name for name in sources if name in makers and _looks_up(makers[name], data, makers, tables))


def _looks_up(node: NodeProto, data: str, makers: dict[str, NodeProto], tables: set[str]) -> bool:
    if node.op_type != "Gather" or any(one.name == "axis" and one.i for one in node.attribute):
        return False
    table = makers.get(node.input[0])
    if node.input[0] not in tables and (table is None or table.op_type not in ("Constant", "Identity")):
        return False
    name = node.input[1]
    while name != data:
        maker = makers.get(name)
        if maker is None or maker.op_type not in THROUGH:
            return False
        name = maker.input[0]
    return True
