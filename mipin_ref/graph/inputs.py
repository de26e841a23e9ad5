"""The inputs of a graph that data go into: old files list their weights among the inputs too."""

from __future__ import annotations

from onnx import GraphProto, ValueInfoProto


def data_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs of a graph that no initializer stands for."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]
