"""Dynamic int8: a product with quantised weights is the product with the numbers that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipin_ref.graph.draft import Draft, Refused
from mipin_ref.graph.integer_products import GATHERED
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import draft_as, handles
from mipin_ref.graph.quantised import USE_FLOAT, dequantised
from mipin_ref.graph.steps import Blur


@handles("MatMulInteger", "com.microsoft.MatMulIntegerToFloat")
def integer_matmul(node: Node, draft: Draft) -> None:
    if not node.attributes.get(GATHERED):
        raise Refused(USE_FLOAT)
    _product(node, draft, "MatMul", node.inputs, -1)


@handles("ConvInteger")
def integer_conv(node: Node, draft: Draft) -> None:
    if not node.attributes.get(GATHERED):
        raise Refused(USE_FLOAT)
    _product(node, draft, "Conv", node.inputs, 0)


@handles("com.microsoft.DynamicQuantizeMatMul")
def dynamic_matmul(node: Node, draft: Draft) -> None:
    _product(node, draft, "MatMul", [*node.inputs, "", ""], -1)


@handles(
    "DynamicQuantizeLinear",
    "com.microsoft.QAttention",
    "com.microsoft.QEmbedLayerNormalization",
    "com.microsoft.MatMulNBits",
)
def use_the_float_file(node: Node, draft: Draft) -> None:
    raise Refused(USE_FLOAT)


def _product(node: Node, draft: Draft, op: str, inputs: Sequence[str], axis: int) -> None:
    """Draft a product. inputs: x, the weight, its scale and zero point, and a bias or ''; axis: of the weight, along
    which scales vary.
    """
    x, weight, scale, zero, bias = inputs[:5]
    if x not in draft.signals:
        raise Refused(USE_FLOAT)
    matrix = dequantised(draft, (weight, scale, zero), axis)
    if op == "Conv" and draft.constants[scale].size > 1:
        raise Refused(f"its scales are one a channel, which onnxruntime does not run: {USE_FLOAT}")
    name, output = draft.inner_name(node, "weight"), node.outputs[0]
    draft.constants[name] = matrix
    told = {key: value for key, value in node.attributes.items() if key != GATHERED}
    summed = -2 if op == "MatMul" and matrix.ndim > 1 else tuple(range(1, matrix.ndim)) if op == "Conv" else 0
    gain = float(np.max(np.abs(matrix).sum(axis=summed), initial=0.0))
    if op == "Conv" and bias:
        # It was rounded down to a step of both scales.
        draft_as(node, draft, op, [x, name, bias], output, told)
        draft.blurred[draft.signals[output].name] = Blur(x, gain + float(np.max(draft.constants[scale])))
        return
    product = draft.inner_name(node, "product") if bias else output
    draft_as(node, draft, op, [x, name], product, told)
    draft.blurred[draft.signals[product].name] = Blur(x, gain)
    if bias:
        draft_as(node, draft, "Add", [product, bias], output)
