"""Matrix products: Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.contraction import contract
from mipin_ref.graph.ops.matrices import by_places
from mipin_ref.graph.ops.registry import draft_as, handles, layer_name
from mipin_ref.graph.ops.shape import reshaped
from mipin_ref.layers import Dense, HostArray, TokenDense


@handles("Gemm")
def gemm(node: Node, draft: Draft) -> None:
    alpha, beta = (float(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))
    if beta and node.input(2) in draft.signals:
        _added_to(node, draft, beta)
        return
    trans = [bool(node.attributes.get(k, 0)) for k in ("transA", "transB")]
    _matrix_product(node, draft, trans[0], trans[1], alpha, beta)


def _added_to(node: Node, draft: Draft, beta: float) -> None:
    """A product that is added to a tensor, as tf2onnx writes that of a state of a batch of one: apart from the sum."""
    a, b, c = node.inputs
    product, added, factor = (draft.inner_name(node, role) for role in ("product", "added", "factor"))
    bare = {key: value for key, value in node.attributes.items() if key != "beta"}
    if a in draft.constants and b in draft.constants:
        draft.constants[product] = _constant_product(node, draft)
    else:
        draft_as(node, draft, "Gemm", (a, b), product, bare)
    if beta != 1.0:
        draft.constants[factor] = np.array(beta, draft.dtype)
        draft_as(node, draft, "Mul", (c, factor), added)
    draft_as(node, draft, "Add", (product, c if beta == 1.0 else added), node.outputs[0])


def _constant_product(node: Node, draft: Draft) -> HostArray:
    """The product of two constants, one row of each sample. Refused where it has others."""
    a, b = (draft.weight(name) for name in node.inputs[:2])
    left, right = (one.T if node.attributes.get(name, 0) else one for one, name in ((a, "transA"), (b, "transB")))
    if left.ndim != 2 or len(left) != 1:
        raise Refused("of a product of constants one row is added to those of all samples")
    draft.spent.multiply(left.size * right.shape[-1])
    return np.asarray(float(node.attributes.get("alpha", 1.0)) * (left @ right), draft.dtype)


@handles("MatMul")
def matmul(node: Node, draft: Draft) -> None:
    known = [draft.signals[name] for name in node.inputs if name in draft.signals]
    if len(known) == 2:
        contract(node, draft)
        return
    if len(known) == 1 and len(known[0].shape) > 2:
        _at_each_location(node, draft)
        return
    _matrix_product(node, draft, False, False, 1.0, 0.0)


def _at_each_location(node: Node, draft: Draft) -> None:
    """x [N, ..., C] times a matrix, from either side: the axis that is summed over holds the features."""
    left = node.inputs[0] in draft.signals
    x_name = node.inputs[0 if left else 1]
    x = draft.signals[x_name]
    matrix = draft.weight(node.inputs[1 if left else 0])
    vector = matrix.ndim == 1
    if any(length != 1 for length in matrix.shape[:-2]):
        by_places(node, draft, x_name, matrix, left=left)
        return
    if matrix.ndim > len(x.shape):
        raise Refused(f"weight {matrix.shape} does not fit {readable(x.shape)}")
    matrix = matrix[:, None] if vector else matrix.reshape(matrix.shape[-2:])
    # Of a matrix on the left rows are outputs; a vector has none.
    weight = matrix if left or vector else matrix.T
    place = len(x.shape) - (1 if left else 2)
    if place == x.axis:
        raise Refused("it contracts over the batch")
    axis = place if place < x.axis else place - 1
    if weight.shape[0] != x.sample[axis]:
        raise Refused(f"weight {weight.shape} does not fit {x.sample[axis]} features")
    shape = (*x.sample[:axis], weight.shape[1], *x.sample[axis + 1 :])
    draft.add(
        TokenDense(
            name=layer_name(node),
            inputs=(x.name,),
            output=draft.inner_name(node, "column") if vector else node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=shape,
            weight=np.ascontiguousarray(weight),
            bias=np.zeros(weight.shape[1], weight.dtype),
            axis=axis + 1,
        ),
        axis=x.axis,
    )
    if vector:
        column = draft.signals[draft.layers[-1].output]
        rest = column.shape[:place] + column.shape[place + 1 :]
        reshaped(node, draft, column, rest, rest.index(BATCH))


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
