"""Standard operators that make tensors as long as onnxruntime's own do: onnx infers the shapes of these alone."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto, helper

from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.presentable import FOREIGN

SAME = frozenset(
    {
        *("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "BiasAdd", "RotaryEmbedding"),
        *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization"),
    }
)
"""What makes its first output as long as its first input."""
SUM = 3
"""The output of a SkipLayerNormalization that holds the sum, as long too."""
FUSED = {"FusedConv": "Conv", "FusedGemm": "Gemm"}
OWN = frozenset({"activation", "activation_params", "activation_alpha", "activation_beta"})


def stand_ins(node: NodeProto) -> Iterator[NodeProto]:
    """The node, or in its place what makes tensors of the same lengths."""
    if node.domain in (*STANDARD, FOREIGN) and node.op_type in SAME and node.input:
        for place in (0, SUM):
            if len(node.output) > place and node.output[place]:
                yield helper.make_node("Identity", [node.input[0]], [node.output[place]])
    elif node.domain == FOREIGN and node.op_type in ("FusedMatMul", "TransposeMatMul"):
        told = {one.name: one.i for one in node.attribute}
        if told.get("transBatchA", 0) or told.get("transBatchB", 0):
            yield node
            return
        left, right = ("ji" if told.get("transA", 0) else "ij"), ("kj" if told.get("transB", 0) else "jk")
        yield helper.make_node("Einsum", node.input, node.output, equation=f"...{left},...{right}->...ik")
    elif node.domain == FOREIGN and node.op_type in FUSED:
        plain = helper.make_node(FUSED[node.op_type], node.input, node.output)
        plain.attribute.extend(one for one in node.attribute if one.name not in OWN)
        yield plain
    else:
        yield node
