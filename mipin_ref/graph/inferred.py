"""Shapes by onnx's shape inference: what lies behind a node that cannot be handled."""

from __future__ import annotations

from onnx import ModelProto, helper, shape_inference

from mipin_ref.layers import Shape

LARGE = 1 << 16
"""Bytes of a weight whose values say nothing about shapes."""


def sample_shapes(proto: ModelProto, file_batch: int | None) -> dict[str, Shape]:
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
    shapes = {}
    for value in values:
        dims = [int(d.dim_value) for d in value.type.tensor_type.shape.dim]
        if dims and dims[0] == (file_batch or 0) and min(dims[1:], default=1) > 0:
            shapes[value.name] = tuple(dims[1:])
    return shapes


def _light(proto: ModelProto) -> ModelProto:
    """The model with inputs in place of its large weights."""
    small = [t for t in proto.graph.initializer if t.ByteSize() < LARGE]
    large = [t for t in proto.graph.initializer if t.ByteSize() >= LARGE]
    known = {value.name for value in proto.graph.input}
    inputs = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large if t.name not in known]
    graph = helper.make_graph(
        proto.graph.node, "light", [*proto.graph.input, *inputs], [], small, value_info=proto.graph.value_info
    )
    return helper.make_model(graph, opset_imports=proto.opset_import, ir_version=max(proto.ir_version, 4))
