"""Matrix products: Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import Dense


@handles("Gemm")
def gemm(node: Node, draft: Draft) -> None:
    alpha, beta = (float(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))
    trans = [bool(node.attributes.get(k, 0)) for k in ("transA", "transB")]
    _matrix_product(node, draft, trans[0], trans[1], alpha, beta)


@handles("MatMul")
def matmul(node: Node, draft: Draft) -> None:
    _matrix_product(node, draft, False, False, 1.0, 0.0)


def _matrix_product(node: Node, draft: Draft, trans_a: bool, trans_b: bool, alpha: float, beta: float) -> None:
    """Y = α op(A) op(B) + β C, with the activations on either side."""
    a, b = node.inputs[:2]
    if a in draft.signals and b in draft.signals:
        raise Refused("it multiplies two tensors that both depend on the input, as attention does")
    if a not in draft.signals and b not in draft.signals:
        raise Refused("only what it adds depends on the input")
    left = a in draft.signals
    x = draft.signals[a if left else b]
    other = draft.weight(b if left else a)
    if len(x.shape) != 2 or other.ndim != 2:
        raise Refused(f"a product over shape {readable(x.shape)}; only [N, features] is a dense layer")
    # op(A) must have the batch in its rows, op(B) in its columns.
    if (x.axis == 1) != (trans_a if left else not trans_b):
        raise Refused("it contracts over the batch")
    transposed = trans_b if left else trans_a
    weight = other.T if transposed == left else other
    if weight.shape[0] != x.sample[0]:
        raise Refused(f"weight {other.shape} does not fit {x.sample[0]} features")
    outputs = weight.shape[1]
    if not beta or not node.input(2):
        bias = np.zeros(outputs, weight.dtype)
    else:
        shift = draft.weight(node.inputs[2])
        rows, columns = (1, outputs) if left else (outputs, 1)
        try:
            bias = (beta * np.broadcast_to(shift, (rows, columns))).reshape(outputs)
        except ValueError as error:
            raise Refused(f"C of shape {shift.shape} is no bias of {outputs} outputs") from error
    draft.add(
        Dense(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=(outputs,),
            weight=np.ascontiguousarray(weight if alpha == 1.0 else alpha * weight).astype(weight.dtype, copy=False),
            bias=bias.astype(weight.dtype, copy=False),
        ),
        axis=0 if left else 1,
    )
