"""Shapes by onnx's shape inference: what lies behind a node that cannot be handled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from onnx import ModelProto, NodeProto, TensorProto, helper, shape_inference

from mipin_ref.graph.bind import FLOATS
from mipin_ref.graph.measure import Measured
from mipin_ref.graph.stand_ins import stand_ins

LARGE = 1 << 16
"""Bytes of a weight whose values say nothing about shapes."""


def sample_shapes(proto: ModelProto, file_batch: int | None) -> dict[str, Measured]:
    """Per-sample shapes of the tensors whose first axis is the batch; file_batch: None where the file leaves it free.

    What cannot be inferred is left out: only the completeness of an error message depends on it.
    """
    if any(a.name == "num_outputs" and a.i != len(n.output) for n in proto.graph.node for a in n.attribute):
        # onnx allocates an entry for each output that the attribute claims.
        return {}
    try:
        values = shape_inference.infer_shapes(_light(proto)).graph.value_info
    except Exception:
        return {}
    shapes: dict[str, Measured] = {}
    for value in values:
        dims = [int(d.dim_value) for d in value.type.tensor_type.shape.dim]
        if dims and dims[0] == (file_batch or 0) and min(dims[1:], default=1) > 0:
            floating = value.type.tensor_type.elem_type in FLOATS
            shapes[value.name] = Measured(tuple(dims[1:]), 0, floating)
    return shapes


def ranks(proto: ModelProto, nodes: Sequence[NodeProto], constants: Sequence[TensorProto]) -> dict[str, int]:
    """Numbers of axes of the inputs and of what `nodes` make in place of the model's own, as far as onnx infers them.

    constants: initializers that the nodes read besides.
    """
    graph = helper.make_graph(nodes, "part", proto.graph.input, [], [*proto.graph.initializer, *constants])
    part = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    return {name: len(shape) for name, shape in lengths(part).items()}


def lengths(proto: ModelProto) -> dict[str, tuple[int | None, ...]]:
    """The shapes of the inputs and of what nodes make, as far as onnx infers them; None for an axis that is open."""
    return {one.name: one.shape for one in told(proto) if one.shape is not None}


class Told(NamedTuple):
    """What onnx infers of a tensor. shape: None where it is open as a whole; kind: of its elements, 0 where it is."""

    name: str
    shape: tuple[int | None, ...] | None
    kind: int


def told(proto: ModelProto) -> list[Told]:
    """What onnx infers of the inputs and of what nodes make."""
    try:
        whole = shape_inference.infer_shapes(_light(proto)).graph
    except Exception:
        return []
    found = []
    for one in (*whole.value_info, *whole.input):
        tensor = one.type.tensor_type
        lengths = tuple(int(d.dim_value) or None for d in tensor.shape.dim)
        found.append(Told(one.name, lengths if tensor.HasField("shape") else None, int(tensor.elem_type)))
    return found


def kinds(proto: ModelProto) -> dict[str, int]:
    """The element types of the inputs and of what nodes make, as far as onnx infers them."""
    return {one.name: one.kind for one in told(proto)}


def _light(proto: ModelProto) -> ModelProto:
    """The model with inputs in place of its large weights, and standard operators in that of onnxruntime's own."""
    small = [t for t in proto.graph.initializer if t.ByteSize() < LARGE]
    large = [t for t in proto.graph.initializer if t.ByteSize() >= LARGE]
    known = {value.name for value in proto.graph.input}
    inputs = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large if t.name not in known]
    nodes = [one for node in proto.graph.node for one in stand_ins(node)]
    graph = helper.make_graph(
        nodes, "light", [*proto.graph.input, *inputs], [], small, value_info=proto.graph.value_info
    )
    return helper.make_model(graph, opset_imports=proto.opset_import, ir_version=max(proto.ir_version, 4))
