"""Where of a mask that is computed, with zeros on one side: a product with the mask, which is state.

As hidden states of what only fills a sequence up are zeroed, by a mask that is given or made of ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from mipin_ref.graph.fusions.writer import Surroundings, Writer
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.prune import read_by, with_nodes

FIRST = 9
"""The opset from which on there is a Where."""

ASKS = frozenset({"And", "Or", "Not", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
"""Operators whose outputs say yes or no."""

MOVES = frozenset({"Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Identity"})
"""What leaves values as they are."""

UNSAFE = frozenset({"Softmax", "Where", "Div", "Reciprocal", "Log", "Sqrt", "Pow", "Exp"})
"""What makes weights of attention, or may make Inf or NaN, which a product with zero would not take out."""

GUARDS = frozenset({"IsNaN", "IsInf"})
"""What asks for numbers that a product would not take out."""


def masks_written_out(proto: ModelProto) -> ModelProto:
    """The model in which each Where that puts zeros by a computed mask is a product; itself where there is none.

    A computed mask of yes and no that an Attention reads is written as what is added to its scores. Weights of
    attention are left as they are: of a mask behind their Softmax it is known already.
    """
    graph = proto.graph
    if standard_opset(proto) < FIRST:
        return proto
    makers = {name: node for node in graph.node for name in node.output}
    zeros = _zeros(graph.initializer, graph.node)
    of_inputs = _of_inputs(proto)
    types = {one.data_type for one in graph.initializer} & {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}
    wider = np.dtype(np.float32) if types == {TensorProto.FLOAT} else None
    constants: list[TensorProto] = []
    nodes: list[NodeProto] = []
    taken = {*(one.name for one in graph.initializer), *makers, *(value.name for value in graph.input)}
    around = Surroundings(standard_opset(proto), {}, lambda name: None, taken)
    for node in graph.node:
        if wider is not None and _asks_a_mask(node, of_inputs, makers):
            writer = Writer(node, around)
            fill = writer.constant("masked out", np.array(-np.inf, wider))
            kept = writer.constant("kept", np.zeros((), wider))
            added = writer.node("Where", node.input[3], kept, fill, role="added")
            nodes.extend([*writer.nodes, _with_mask(node, added)])
            constants.extend(writer.constants)
            continue
        sides = [place for place in (1, 2) if node.op_type == "Where" and node.input[place] in zeros]
        if len(sides) != 1 or not _is_masking(node, 3 - sides[0], of_inputs, makers):
            nodes.append(node)
            continue
        writer = Writer(node, around)
        kept = node.input[0] if sides == [2] else writer.node("Not", node.input[0], role="kept")
        mask = writer.node("Cast", kept, role="mask", to=zeros[node.input[sides[0]]])
        writer.node("Mul", node.input[3 - sides[0]], mask, role="masked", out=writer.output(0))
        nodes.extend(writer.nodes)
        constants.extend(writer.constants)
    if len(nodes) == len(graph.node):
        return proto
    return with_nodes(proto, nodes, constants)


def _is_masking(node: NodeProto, side: int, of_inputs: set[str], makers: Mapping[str, NodeProto]) -> bool:
    """Whether both the mask and what it masks are computed of inputs, and it is no guard, nor behind a Softmax."""
    content = node.input[side]
    if node.domain not in STANDARD or node.input[0] not in of_inputs or content not in of_inputs:
        return False
    maker = makers.get(content)
    if maker is not None and maker.op_type in UNSAFE:
        return False
    waiting, seen = [node.input[0]], set[str]()
    while waiting:
        name = waiting.pop()
        made = makers.get(name)
        if made is None or name in seen:
            continue
        seen.add(name)
        if made.op_type in GUARDS:
            return False
        if made.op_type in ("Not", "And", "Or", "Cast", "Unsqueeze", "Expand", "Reshape"):
            waiting.extend(made.input)
    return True


def _asks_a_mask(node: NodeProto, of_inputs: set[str], makers: Mapping[str, NodeProto]) -> bool:
    """Whether it is an Attention with a mask of yes and no that is computed."""
    if node.op_type != "Attention" or node.domain not in STANDARD or len(node.input) < 4:
        return False
    return node.input[3] in of_inputs and _is_boolean(node.input[3], makers)


def _with_mask(node: NodeProto, mask: str) -> NodeProto:
    """The operator with another mask."""
    made = NodeProto()
    made.CopyFrom(node)
    made.input[3] = mask
    return made


def _is_boolean(name: str, makers: Mapping[str, NodeProto]) -> bool:
    """Whether a tensor says yes or no."""
    while name in makers and makers[name].op_type in MOVES:
        name = makers[name].input[0]
    maker = makers.get(name)
    if maker is None:
        return False
    to_boolean = any(one.name == "to" and one.i == TensorProto.BOOL for one in maker.attribute)
    return maker.op_type in ASKS or (maker.op_type == "Cast" and to_boolean)


def _zeros(initializers: Iterable[TensorProto], nodes: Iterable[NodeProto]) -> dict[str, int]:
    """The floating-point constants that are one zero, and their types."""
    values = {one.name: one for one in initializers}
    for node in nodes:
        told = [one.t for one in node.attribute if one.name == "value"] if node.op_type == "Constant" else []
        if told:
            values[node.output[0]] = told[0]
    types: dict[str, int] = {}
    for name, tensor in values.items():
        # One of several axes would give its axes to what is put.
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE) and [*tensor.dims] in ([], [1]):
            value = numpy_helper.to_array(tensor)
            if not np.any(value):
                types[name] = int(tensor.data_type)
    return types


def _of_inputs(proto: ModelProto) -> set[str]:
    """The tensors that depend on an input."""
    stored = {one.name for one in proto.graph.initializer}
    made = {value.name for value in proto.graph.input} - stored
    for node in proto.graph.node:
        if not made.isdisjoint(read_by(node)):
            made.update(node.output)
    return made
