"""A model with standard nodes in the place of onnxruntime's own operators of several steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, helper

from mipin_ref.graph.fusions.attention import attention, multi_head_attention
from mipin_ref.graph.fusions.embedding import embed_layer_normalization
from mipin_ref.graph.fusions.writer import Surroundings, Unwritten, Writer
from mipin_ref.graph.inferred import ranks
from mipin_ref.graph.presentable import FOREIGN
from mipin_ref.graph.prune import read_by

FUSIONS: Mapping[str, Callable[[Writer], None]] = {
    "Attention": attention,
    "MultiHeadAttention": multi_head_attention,
    "EmbedLayerNormalization": embed_layer_normalization,
}
"""What is written out, by operator of the domain."""
REFUSED: Mapping[str, str] = {
    "GroupQueryAttention": "it appends keys and values to those of earlier runs, as models do that write text: export "
    "attention as nodes or as MultiHeadAttention",
}
"""Why others are not."""


@dataclass(frozen=True)
class SpelledOut:
    """proto: the model; itself where it holds nothing of the kind; reasons: why a node stands as it was, by its first
    output.
    """

    proto: ModelProto
    reasons: Mapping[str, str]


def spelled_out(proto: ModelProto) -> SpelledOut:
    """The model in which each fused node is written out that is understood. Tensors between others keep their names."""
    graph = proto.graph
    versions = [int(one.version) for one in proto.opset_import if one.domain == FOREIGN]
    if versions not in ([1], []) or not any(_is_fused(node) for node in graph.node):
        return SpelledOut(proto, {})
    nodes: list[NodeProto] = []
    known = _Ranks(proto, nodes)
    around = Surroundings.of(proto, known)
    reasons: dict[str, str] = {}
    for node in graph.node:
        if not _is_fused(node):
            nodes.append(node)
            continue
        writer, first = Writer(node, around), next(filter(None, node.output), "")
        try:
            if node.op_type in REFUSED:
                raise Unwritten(REFUSED[node.op_type])
            FUSIONS[node.op_type](writer)
        except Unwritten as reason:
            reasons[first] = str(reason)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            reasons[first] = f"its inputs do not fit together: {error}"
        if first in reasons:
            nodes.append(node)
            continue
        nodes.extend(writer.nodes)
        known.constants.extend(writer.constants)
    read = {*(name for node in nodes for name in read_by(node)), *(value.name for value in graph.output)}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    made = helper.make_graph(
        nodes,
        graph.name,
        graph.input,
        graph.output,
        [*kept, *known.constants],
        value_info=graph.value_info,
        sparse_initializer=graph.sparse_initializer,
    )
    model = helper.make_model(made, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    return SpelledOut(model, reasons)


class _Ranks:
    """How many axes tensors have, inferred of the nodes written so far when a tensor is asked for that is not known."""

    def __init__(self, proto: ModelProto, nodes: list[NodeProto]) -> None:
        self._proto, self._nodes = proto, nodes
        self._held = {tensor.name: len(tensor.dims) for tensor in proto.graph.initializer}
        self._known: dict[str, int] = {}
        self.constants: list[TensorProto] = []

    def __call__(self, name: str) -> int | None:
        if name in self._held:
            return self._held[name]
        if name not in self._known:
            self._known = ranks(self._proto, self._nodes, self.constants)
        # The shape of what onnxruntime's own operators make is not inferred; a permutation tells the rank all the same.
        turned = (a.ints for node in self._nodes if name in node.output for a in node.attribute if a.name == "perm")
        return self._known.get(name) or next(map(len, turned), None)


def _is_fused(node: NodeProto) -> bool:
    return node.domain == FOREIGN and node.op_type in (*FUSIONS, *REFUSED)
