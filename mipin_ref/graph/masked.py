"""Where of a mask that is computed, with zeros on one side: a product with the mask, which is state.

As hidden states of what only fills a sequence up are zeroed, by a mask that is given or made of ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mipin_ref.graph.fusions.writer import Surroundings, Writer
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.prune import pruned, read_by

FIRST = 9
"""The opset from which on there is a Where."""

GUARDS = frozenset({"IsNaN", "IsInf"})
"""What asks for numbers that a product would not take out."""


def masks_written_out(proto: ModelProto) -> ModelProto:
    """The model in which each Where that puts zeros by a computed mask is a product; itself where there is none.

    Weights of attention are left as they are: of a mask behind their Softmax it is known already.
    """
    graph = proto.graph
    if standard_opset(proto) < FIRST:
        return proto
    makers = {name: node for node in graph.node for name in node.output}
    zeros = _zeros(graph.initializer, graph.node)
    of_inputs = _of_inputs(proto)
    constants: list[TensorProto] = []
    nodes: list[NodeProto] = []
    taken = {*(one.name for one in graph.initializer), *makers, *(value.name for value in graph.input)}
    around = Surroundings(standard_opset(proto), {}, lambda name: None, taken)
    for node in graph.node:
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
    made = helper.make_graph(
        nodes,
        graph.name,
        graph.input,
        graph.output,
        [*graph.initializer, *constants],
        value_info=graph.value_info,
        sparse_initializer=graph.sparse_initializer,
    )
    model = helper.make_model(made, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    return pruned(model, *(value.name for value in graph.output))


def _is_masking(node: NodeProto, side: int, of_inputs: set[str], makers: Mapping[str, NodeProto]) -> bool:
    """Whether both the mask and what it masks are computed of inputs, and it is no guard, nor behind a Softmax."""
    content = node.input[side]
    if node.domain not in STANDARD or node.input[0] not in of_inputs or content not in of_inputs:
        return False
    maker = makers.get(content)
    if maker is not None and maker.op_type in ("Softmax", "Where"):
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
        if len(seen) < len(makers) and made.op_type in ("Not", "And", "Or", "Cast", "Unsqueeze", "Expand", "Reshape"):
            waiting.extend(made.input)
    return True


def _zeros(initializers: Iterable[TensorProto], nodes: Iterable[NodeProto]) -> dict[str, int]:
    """The floating-point constants that are one zero, and their types."""
    values = {one.name: one for one in initializers}
    for node in nodes:
        told = [one.t for one in node.attribute if one.name == "value"] if node.op_type == "Constant" else []
        if told:
            values[node.output[0]] = told[0]
    found: dict[str, int] = {}
    for name, tensor in values.items():
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE) and np.prod(tensor.dims) == 1:
            value = numpy_helper.to_array(tensor)
            if not np.any(value):
                found[name] = int(tensor.data_type)
    return found


def _of_inputs(proto: ModelProto) -> set[str]:
    """The tensors that depend on an input."""
    stored = {one.name for one in proto.graph.initializer}
    made = {value.name for value in proto.graph.input} - stored
    for node in proto.graph.node:
        if not made.isdisjoint(read_by(node)):
            made.update(node.output)
    return made
