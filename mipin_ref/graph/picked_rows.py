"""Rows that are picked by a number of each sample, as the last token in front of the padding: a mask and a sum.

Decoders classify by such a row (Radford et al. 2018), and so do recurrent networks that read texts of several lengths.
The number is state: no signal comes back to it. What is masked out gets none (method, section 10, fine print 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from mipin_ref.graph.fusions.writer import Surroundings, Writer, written_out
from mipin_ref.graph.inferred import told
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.presentable import standard_opset

FIRST = 11
"""The opset from which on GatherElements, GatherND and OneHot are as they are here."""

OTHERS = (TensorProto.DOUBLE, TensorProto.FLOAT16)
"""Floats that a file may compute with where onnx does not infer what its tensors hold."""

HANDS_ON = frozenset({"Cast", "Identity", "Unsqueeze", "Reshape", "Squeeze"})


class Picked(NamedTuple):
    """content: [N, T, C]; number: of the row of each sample, N of them; keeps: whether an axis of one stays."""

    content: str
    number: str
    keeps: bool


def rows_written_out(proto: ModelProto) -> ModelProto:
    """The model in which each row that is picked by a computed number is a masked sum; itself where there is none."""
    if standard_opset(proto) < FIRST:
        return proto
    nodes = Nodes(proto)
    chosen = {node.output[0]: picked for node in proto.graph.node if (picked := _picked(node, nodes)) is not None}
    if not chosen:
        return proto
    known = {one.name: one for one in told(proto)}
    around, usual = Surroundings.of(proto), not any(one.data_type in OTHERS for one in proto.graph.initializer)

    def written(node: NodeProto) -> Writer | None:
        picked = chosen.get(node.output[0]) if node.output else None
        content = known.get(picked.content) if picked is not None else None
        if picked is None or content is None:
            return None
        made = known.get(node.output[0])
        kind = content.kind or (TensorProto.FLOAT if usual else 0)
        if not kind or not _fits(content.shape or (), None if made is None else made.shape, picked):
            return None
        return _written(Writer(node, around), picked, kind)

    return written_out(proto, written)


def _fits(content: Sequence[int | None], made: Sequence[int | None] | None, picked: Picked) -> bool:
    """Whether a whole row of each sample is made, as far as onnx infers it."""
    if len(content) != 3:
        return False
    wanted = [1, content[2]] if picked.keeps else [content[2]]
    known = zip(wanted, [*made[1:]] if made is not None else wanted, strict=False)
    return (made is None or len(made) == 1 + len(wanted)) and all(None in (a, b) or a == b for a, b in known)


def _written(writer: Writer, picked: Picked, kind: int) -> Writer:
    """Writes a mask, a product and a sum. kind: of the elements of the content."""
    flat = writer.node("Reshape", picked.number, writer.whole("one a sample", -1), role="numbers")
    whole = writer.node("Cast", flat, role="whole numbers", to=TensorProto.INT64)
    bounds = writer.constant("in and out", np.array([0, 1], np.float32))
    mask = writer.node("OneHot", whole, writer.length(picked.content, 1, "rows"), bounds, role="one row", axis=-1)
    if kind != TensorProto.FLOAT:
        # onnxruntime makes no such mask of other floats.
        mask = writer.node("Cast", mask, role="one row as floats", to=kind)
    wide = writer.over("Unsqueeze", mask, (2,), "mask")
    kept = writer.node("Mul", picked.content, wide, role="kept")
    writer.over("ReduceSum", kept, (1,), "sum", out=writer.output(0), keepdims=int(picked.keeps))
    return writer


def _picked(node: NodeProto, nodes: Nodes) -> Picked | None:
    """What a node picks; None where it does not pick a row of each sample by a number that is computed."""
    if len(node.input) < 2 or node.domain not in STANDARD:
        return None
    index = nodes.makers.get(node.input[1])
    if index is None:
        return None
    if node.op_type == "Gather" and told_of(node, "axis", 0) == 0:
        return _of_flattened(nodes.makers.get(node.input[0]), index, nodes)
    if node.op_type == "GatherND" and not told_of(node, "batch_dims", 0):
        return _of_pairs(node.input[0], index, nodes)
    if node.op_type == "GatherElements" and told_of(node, "axis", 0) == 1 and index.op_type == "Expand":
        number = _handed_on(index.input[0], nodes)
        return Picked(node.input[0], number, True) if nodes.constant(number) is None else None
    return None


def _of_flattened(flat: NodeProto | None, index: NodeProto, nodes: Nodes) -> Picked | None:
    """Of [N · T, C], by n · T and the number, as torch's older exporter has it."""
    if flat is None or index.op_type != "Add":
        return None
    if flat.op_type == "Reshape":
        shape = nodes.whole(flat.input[1])
        if shape is None or len(shape) != 2 or shape[0] != -1:
            return None
    elif flat.op_type != "Flatten" or told_of(flat, "axis", 1) != 2:
        return None
    for number, places in (index.input, [*index.input][::-1]):
        product = nodes.makers.get(_handed_on(places, nodes))
        if product is not None and product.op_type == "Mul" and any(_counts(one, nodes) for one in product.input):
            return Picked(flat.input[0], number, False)
    return None


def _of_pairs(content: str, index: NodeProto, nodes: Nodes) -> Picked | None:
    """By pairs of n and the number, as torch's newer exporter has it."""
    if index.op_type != "Concat" or len(index.input) != 2:
        return None
    places, number = index.input
    return Picked(content, number, False) if _counts(places, nodes) and not _counts(number, nodes) else None


def _counts(name: str, nodes: Nodes) -> bool:
    """Whether a tensor is 0, 1, ... of a Range."""
    node = nodes.makers.get(_handed_on(name, nodes))
    if node is None or node.op_type != "Range":
        return False
    return [_number(node.input[place], nodes) for place in (0, 2)] == [0, 1]


def _number(name: str, nodes: Nodes) -> float | None:
    """The number that a constant holds; None where a tensor is none, or holds several."""
    value = nodes.constant(_handed_on(name, nodes))
    return float(value.item()) if value is not None and value.size == 1 else None


def _handed_on(name: str, nodes: Nodes) -> str:
    """The tensor whose numbers another holds, in other types and shapes."""
    while name in nodes.makers and nodes.makers[name].op_type in HANDS_ON:
        name = nodes.makers[name].input[0]
    return name
