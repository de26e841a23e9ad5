"""What some outputs of a model need, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from mipin_ref.graph.functions import subgraphs


def pruned(proto: ModelProto, *outputs: str) -> ModelProto:
    """The model without the nodes, inputs, outputs and weights that `outputs` do not need; itself where all are needed.

    A tensor that is no output becomes one.
    """
    graph = proto.graph
    needed, nodes = {*outputs}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(read_by(node))
    kept_inputs = [value for value in graph.input if value.name in needed]
    known = {value.name: value for value in graph.output}
    kept_outputs = [known.get(name) or helper.make_empty_tensor_value_info(name) for name in outputs]
    # onnxruntime writes sparse weights out, used or not, and a small file can ask for large ones.
    sparse = [tensor for tensor in graph.sparse_initializer if tensor.values.name in needed]
    kept = (nodes, kept_inputs, kept_outputs, sparse)
    if [*map(len, kept)] == [*map(len, (graph.node, graph.input, graph.output, graph.sparse_initializer))]:
        return proto
    small = helper.make_graph(
        nodes[::-1],
        graph.name,
        kept_inputs,
        kept_outputs,
        [tensor for tensor in graph.initializer if tensor.name in needed],
        sparse_initializer=sparse,
    )
    return helper.make_model(small, opset_imports=proto.opset_import, ir_version=proto.ir_version)


def with_nodes(proto: ModelProto, nodes: Sequence[NodeProto], constants: Sequence[TensorProto]) -> ModelProto:
    """The model of other nodes, with constants besides its own, and without what no output needs."""
    graph = proto.graph
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


def read_by(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, those that its subgraphs may capture from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            yield from _read_inside(graph)


def _read_inside(graph: GraphProto) -> Iterator[str]:
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from read_by(node)
