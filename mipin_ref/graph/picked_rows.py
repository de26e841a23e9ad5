"""Rows that are picked by a number of each sample, as the last token in front of the padding: a mask and a sum.

Decoders classify by such a row (Radford et al. 2018), and so do recurrent networks that read texts of several lengths.
The number is state: no signal comes back to it. What is masked out gets none (method, section 10, fine print 8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mipin_ref.graph.fusions.writer import Surroundings, Writer
from mipin_ref.graph.inferred import lengths
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.prune import with_nodes

FIRST = 11
"""The opset from which on GatherElements, GatherND and OneHot are as they are here."""

WIDER = (TensorProto.DOUBLE, TensorProto.FLOAT16)

HANDS_ON = frozenset({"Cast", "Identity", "Unsqueeze", "Reshape", "Squeeze"})

Makers = Mapping[str, NodeProto]


class Picked(NamedTuple):
    """content: [N, T, C]; number: of the row of each sample, N of them; keeps: whether an axis of one stays."""

    content: str
    number: str
    keeps: bool


def rows_written_out(proto: ModelProto) -> ModelProto:
    """The model in which each row that is picked by a computed number is a masked sum; itself where there is none."""
    graph = proto.graph
    makers = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    if standard_opset(proto) < FIRST or any(one.data_type in WIDER for one in weights.values()):
        return proto
    chosen = {node.output[0]: picked for node in graph.node if (picked := _picked(node, makers, weights)) is not None}
    if not chosen:
        return proto
    shapes = lengths(proto)
    ranks = {name: len(shape) for name, shape in shapes.items()}
    taken = {*weights, *makers, *(value.name for value in graph.input)}
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    for node in graph.node:
        picked = chosen.get(node.output[0]) if node.output else None
        if picked is None or not _fits(shapes.get(picked.content, ()), shapes.get(node.output[0]), picked):
            nodes.append(node)
            continue
        writer = Writer(node, Surroundings(standard_opset(proto), weights, ranks.get, taken))
        _write(writer, picked)
        nodes.extend(writer.nodes)
        constants.extend(writer.constants)
    if not constants:
        return proto
    return with_nodes(proto, nodes, constants)


def _fits(content: Sequence[int | None], made: Sequence[int | None] | None, picked: Picked) -> bool:
    """Whether a whole row of each sample is made, as far as onnx infers it."""
    if len(content) != 3:
        return False
    wanted = [1, content[2]] if picked.keeps else [content[2]]
    known = zip(wanted, [*made[1:]] if made is not None else wanted, strict=False)
    return (made is None or len(made) == 1 + len(wanted)) and all(None in (a, b) or a == b for a, b in known)


def _write(writer: Writer, picked: Picked) -> None:
    flat = writer.node("Reshape", picked.number, writer.whole("one a sample", -1), role="numbers")
    whole = writer.node("Cast", flat, role="whole numbers", to=TensorProto.INT64)
    bounds = writer.constant("in and out", np.array([0, 1], np.float32))
    mask = writer.node("OneHot", whole, writer.length(picked.content, 1, "rows"), bounds, role="one row", axis=-1)
    wide = writer.over("Unsqueeze", mask, (2,), "mask")
    kept = writer.node("Mul", picked.content, wide, role="kept")
    writer.over("ReduceSum", kept, (1,), "sum", out=writer.output(0), keepdims=int(picked.keeps))


def _picked(node: NodeProto, makers: Makers, weights: Mapping[str, TensorProto]) -> Picked | None:
    """What a node picks; None where it does not pick a row of each sample by a number that is computed."""
    if len(node.input) < 2 or node.domain not in ("", "ai.onnx"):
        return None
    index = makers.get(node.input[1])
    if index is None:
        return None
    if node.op_type == "Gather" and _attribute(node, "axis", 0) == 0:
        return _of_flattened(makers.get(node.input[0]), index, makers, weights)
    if node.op_type == "GatherND" and not _attribute(node, "batch_dims", 0):
        return _of_pairs(node.input[0], index, makers, weights)
    if node.op_type == "GatherElements" and _attribute(node, "axis", 0) == 1 and index.op_type == "Expand":
        number = _handed_on(index.input[0], makers)
        return None if number in weights or _is_constant(number, makers) else Picked(node.input[0], number, True)
    return None


def _of_flattened(
    flat: NodeProto | None, index: NodeProto, makers: Makers, weights: Mapping[str, TensorProto]
) -> Picked | None:
    """Of [N · T, C], by n · T and the number, as torch's older exporter has it."""
    if flat is None or index.op_type != "Add":
        return None
    if flat.op_type == "Reshape":
        shape = weights.get(flat.input[1])
        if shape is None or [*numpy_helper.to_array(shape).ravel()][:1] != [-1] or shape.dims != [2]:
            return None
    elif flat.op_type != "Flatten" or _attribute(flat, "axis", 1) != 2:
        return None
    for number, places in (index.input, [*index.input][::-1]):
        product = makers.get(_handed_on(places, makers))
        if (
            product is not None
            and product.op_type == "Mul"
            and any(_counts(one, makers, weights) for one in product.input)
        ):
            return Picked(flat.input[0], number, False)
    return None


def _of_pairs(content: str, index: NodeProto, makers: Makers, weights: Mapping[str, TensorProto]) -> Picked | None:
    """By pairs of n and the number, as torch's newer exporter has it."""
    if index.op_type != "Concat" or len(index.input) != 2:
        return None
    places, number = index.input
    counts = _counts(places, makers, weights) and not _counts(number, makers, weights)
    return Picked(content, number, False) if counts else None


def _counts(name: str, makers: Makers, weights: Mapping[str, TensorProto]) -> bool:
    """Whether a tensor is 0, 1, ... of a Range."""
    node = makers.get(_handed_on(name, makers))
    if node is None or node.op_type != "Range":
        return False
    return [_number(node.input[place], makers, weights) for place in (0, 2)] == [0, 1]


def _number(name: str, makers: Makers, weights: Mapping[str, TensorProto]) -> float | None:
    """The number that a constant holds; None where a tensor is none, or holds several."""
    name = _handed_on(name, makers)
    stored = weights.get(name)
    if stored is None and _is_constant(name, makers):
        stored = _attribute(makers[name], "value", None)
        if stored is None:
            return next(
                (float(one.i or one.f) for one in makers[name].attribute if one.name in ("value_int", "value_float")),
                None,
            )
    return float(numpy_helper.to_array(stored).item()) if stored is not None and prod(stored.dims) == 1 else None


def _is_constant(name: str, makers: Makers) -> bool:
    return name in makers and makers[name].op_type == "Constant"


def _handed_on(name: str, makers: Makers) -> str:
    """The tensor whose numbers another holds, in other types and shapes."""
    while name in makers and makers[name].op_type in HANDS_ON:
        name = makers[name].input[0]
    return name


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)
