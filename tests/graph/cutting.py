"""The part of a file behind one of its tensors, as a file of its own: what a network explained there must equal."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto, helper


def cut_below(model: ModelProto, tensors: Mapping[str, tuple[int, ...]]) -> ModelProto:
    """The file from these tensors on, by name with the shape of a sample; each is an input of it."""
    graph, needed = model.graph, {value.name for value in model.graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output) and not {*node.output} & tensors.keys():
            nodes.append(node)
            needed.update(node.input)
    kind = graph.input[0].type.tensor_type.elem_type
    inputs = [helper.make_tensor_value_info(name, kind, ["N", *shape]) for name, shape in tensors.items()]
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    return helper.make_model(
        helper.make_graph(nodes[::-1], "below", inputs, list(graph.output), kept),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
