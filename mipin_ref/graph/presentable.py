"""What onnxruntime does not mind in a file, and onnx's checker does: put in order for the checker alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import onnx
from onnx import ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.functions import all_nodes, subgraphs
from mipin_ref.graph.inputs import data_inputs
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.order import put_in_order

FOREIGN = "com.microsoft"
BLOCKED = "com.microsoft.nchwc"
"""Domains of onnxruntime's own operators, and of those that hold channels in blocks."""
UNCHECKED = {
    "SimplifiedLayerNormalization": range(1, 1000),
    "LayerNormalization": range(1, 17),
    "GroupNormalization": range(18, 21),
}
"""Operators of the standard domain that onnxruntime runs at these opsets and onnx's checker does not let pass: two that
onnxruntime has or had of its own, and one that onnx has given another meaning since."""

M = TypeVar("M", TensorProto, ValueInfoProto, OperatorSetIdProto)


def standard_opset(proto: ModelProto) -> int:
    """The version of the standard operators, as onnxruntime takes it: the last one told, the newest where none is.

    Raises UnsupportedModel where the file imports nothing at all.
    """
    if not proto.opset_import:
        raise UnsupportedModel("the file does not say which opset it uses: it imports none")
    told = [int(opset.version) for opset in proto.opset_import if opset.domain in STANDARD]
    return told[-1] if told else onnx.defs.onnx_opset_version()


def tidy(proto: ModelProto) -> bool:
    """Give what has two spellings the usual one. Returns whether anything had another.

    The domain "ai.onnx" is "", an output that is listed twice is listed once, a batch of 0 or less is a free one,
    nodes stand behind those that they read, and what a Loop or an If makes and nothing reads has a name.
    """
    changed = put_in_order(proto.graph) | _name_outputs(proto)
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for node in nodes:
            changed |= _use_short_domain(node)
    names = [value.name for value in proto.graph.output]
    if len(set(names)) < len(names):
        kept = list({value.name: value for value in reversed(proto.graph.output)}.values())[::-1]
        changed = True
        outputs = [_copy(value) for value in kept]
        del proto.graph.output[:]
        proto.graph.output.extend(outputs)
    for value in data_inputs(proto.graph):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].HasField("dim_value") and dims[0].dim_value <= 0:
            dims[0].dim_param = "N"
            changed = True
    return changed


def _name_outputs(proto: ModelProto) -> bool:
    """Name the outputs that nodes with subgraphs leave out, as onnxruntime breaks off the process where it runs them.
    Returns whether there are any.
    """
    lists = (proto.graph.node, *(function.node for function in proto.functions))
    nodes = [node for some in lists for node in all_nodes(some)]
    left = [node for node in nodes if "" in node.output and any(True for a in node.attribute for _ in subgraphs(a))]
    if not left:
        return False
    taken = {name for node in nodes for name in (*node.input, *node.output)}
    for node in left:
        read = next(filter(None, node.output), node.op_type)
        for place, name in enumerate(node.output):
            if not name:
                free = f"{read} output {place}"
                while free in taken:
                    free += "'"
                taken.add(free)
                node.output[place] = free
    return True


def _use_short_domain(node: NodeProto) -> bool:
    changed = node.domain == "ai.onnx"
    if changed:
        node.domain = ""
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            for inner in graph.node:
                changed |= _use_short_domain(inner)
    return changed


@contextmanager
def presentable(proto: ModelProto, external: list[TensorProto]) -> Iterator[ModelProto]:
    """The model as the checker wants it, for as long as the context lasts.

    A graph may have no name, an input or output no type or shape, an initializer no entry among the inputs in spite of
    an old IR version, metadata two entries of one key; the standard domain may be imported twice or not at all, and
    hold operators that onnx does not have there (UNCHECKED).
    external: tensors whose data lie elsewhere, which are checked where they are read.
    """
    told = ModelProto()
    _lay_by(proto, told)
    held = [_copy(tensor) for tensor in external]
    opset = standard_opset(proto)
    foreign = [node for node in proto.graph.node if not node.domain and opset in UNCHECKED.get(node.op_type, ())]
    try:
        proto.graph.name = proto.graph.name or "graph"
        proto.ir_version = max(proto.ir_version, 4)
        for value in (*proto.graph.input, *proto.graph.output):
            _give_type(value)
        others = {entry.domain: _copy(entry) for entry in proto.opset_import if entry.domain not in STANDARD}
        del proto.opset_import[:]
        proto.opset_import.extend([OperatorSetIdProto(domain="", version=opset), *others.values()])
        del proto.metadata_props[:]
        for node in foreign:
            node.domain = FOREIGN
        if foreign and FOREIGN not in others:
            proto.opset_import.append(OperatorSetIdProto(domain=FOREIGN, version=1))
        for tensor in external:
            tensor.ClearField("data_location")
            del tensor.external_data[:]
            tensor.dims[:] = [0]
        yield proto
    finally:
        for node in foreign:
            node.domain = ""
        for tensor, whole in zip(external, held, strict=True):
            tensor.CopyFrom(whole)
        _lay_by(told, proto)


def _lay_by(source: ModelProto, kept: ModelProto) -> None:
    """Copy what `presentable` changes from one model to another."""
    kept.ClearField("ir_version")
    if source.HasField("ir_version"):
        kept.ir_version = source.ir_version
    kept.graph.ClearField("name")
    if source.graph.HasField("name"):
        kept.graph.name = source.graph.name
    for mine, theirs in (
        (kept.opset_import, source.opset_import),
        (kept.metadata_props, source.metadata_props),
        (kept.graph.input, source.graph.input),
        (kept.graph.output, source.graph.output),
    ):
        del mine[:]
        mine.extend(theirs)


def _give_type(value: ValueInfoProto) -> None:
    kind = value.type.WhichOneof("value")
    if kind in (None, "tensor_type"):
        tensor = value.type.tensor_type
        tensor.elem_type = tensor.elem_type or TensorProto.FLOAT
        tensor.shape.SetInParent()


def _copy(message: M) -> M:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
