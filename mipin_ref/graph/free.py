"""The batch of a model, left open whatever the file fixes."""

from __future__ import annotations

from onnx import ModelProto

from mipin_ref.graph.bind import Bound


def free_batch(proto: ModelProto, bound: Bound) -> None:
    """Leave the axis of the samples free in every input, and with it whatever shapes the file claims."""
    axes = {bound.data: bound.axis} | {name: one.axis for name, one in bound.given.items()}
    axes |= dict.fromkeys(bound.beside, 0)
    for value in proto.graph.input:
        axis = axes.get(value.name)
        if axis is not None and axis < len(value.type.tensor_type.shape.dim):
            value.type.tensor_type.shape.dim[axis].dim_param = "N"
    for value in proto.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
