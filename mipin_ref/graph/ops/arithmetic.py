"""Sums, differences, products and quotients of tensors, and arithmetic of one tensor with constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Gap, Product, Refused, Signal
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.operands import operands, widened
from mipin_ref.graph.ops.per_channel import add_affine, per_sample
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.selections import broadcast
from mipin_ref.layers import Activation, Add, Difference, Negative


@handles("Add", "Sum")
def add(node: Node, draft: Draft) -> None:
    """Tensors become an Add; constants beside them an Affine behind it."""
    tensors = [draft.signals[name] for name in node.inputs if name in draft.signals]
    total = tensors[0]
    if len(tensors) == 1:
        total = _as_wide(node, draft, total)
    else:
        constants = any(name not in draft.signals for name in node.inputs)
        total = _sum(node, draft, tensors, draft.inner_name(node, "sum") if constants else node.outputs[0])
    shifts = [per_sample(draft.shift(name), total) for name in node.inputs if name not in draft.signals]
    if len(tensors) == 1 and not any(map(np.any, shifts)):
        # Zeros too, as a product with a state of zeros is.
        draft.alias(node.outputs[0], total)
    elif shifts:
        shift = shifts[0]
        for one in shifts[1:]:
            shift = shift + one
        bounded = any(name in draft.constants and np.any(np.isinf(draft.constants[name])) for name in node.inputs)
        made = replace(node, outputs=(draft.inner_name(node, "masked"),)) if bounded else node
        add_affine(made, draft, total, np.ones_like(shift), shift)
        # Its values are not those of the file, which has infinity there.
        draft.signals[node.outputs[0]] = draft.signals[made.outputs[0]]


def _sum(node: Node, draft: Draft, tensors: list[Signal], output: str) -> Signal:
    summands, shape, axis = operands(node, draft, tensors)
    draft.add(
        Add(
            name=layer_name(node),
            inputs=tuple(x.name for x in summands),
            output=output,
            in_shapes=tuple(x.sample for x in summands),
            out_shape=shape,
        ),
        axis=axis,
    )
    return draft.signals[output]


@handles("Neg")
def negative(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    draft.add(
        Negative(
            name=layer_name(node), inputs=(x.name,), output=node.outputs[0], in_shapes=(x.sample,), out_shape=x.sample
        ),
        axis=x.axis,
    )


@handles("Sub", "Mul", "Div")
def scale_or_shift(node: Node, draft: Draft) -> None:
    tensors = [i for i, name in enumerate(node.inputs) if name in draft.signals]
    if len(tensors) > 1:
        _of_two(node, draft)
        return
    first = tensors[0] == 0
    if node.op == "Mul" and _nothing_of(node, draft, draft.signals[node.inputs[tensors[0]]]):
        return
    x = _as_wide(node, draft, draft.signals[node.inputs[tensors[0]]])
    constant = per_sample(draft.weight(node.inputs[1 if first else 0]), x)
    one, zero = np.ones_like(constant), np.zeros_like(constant)
    if node.op == "Mul":
        scale, shift = constant, zero
    elif node.op == "Sub":
        scale, shift = (one, -constant) if first else (-one, constant)
    elif first:
        if not np.all(constant):
            raise Refused("it divides by zero")
        scale, shift = one / constant, zero
    else:
        x, scale, shift = _reciprocal(node, draft, x), constant, zero
    add_affine(node, draft, x, scale, shift)


def _nothing_of(node: Node, draft: Draft, x: Signal) -> bool:
    """Write zeros times a tensor without an inverse as the zeros that they are, as what a mask keeps of a state of
    zeros. Returns whether it is that.
    """
    (value,) = (draft.weight(name) for name in node.inputs if name not in draft.signals)
    if np.any(value) or x.folded or not any(isinstance(one, Gap) and one.output == x.name for one in draft.layers):
        return False
    rank = max(len(x.shape), value.ndim)
    axis = x.axis + rank - len(x.shape)
    shape = np.broadcast_shapes(tuple(1 if length == BATCH else length for length in x.shape), value.shape)
    if shape[axis] != 1:
        return False
    draft.nothing(node.outputs[0], shape, axis)
    return True


def _as_wide(node: Node, draft: Draft, x: Signal) -> Signal:
    """The signal repeated along axes that the constants of a node are longer on, as numbers times a table of rows, with
    as many axes as these have.
    """
    constants = [draft.constants[name] for name in node.inputs if name in draft.constants]
    rank = max(len(x.shape), *(value.ndim for value in constants), 0)
    if x.folded:
        return x
    if rank > len(x.shape):
        # A constant with more axes gives them to what it meets.
        x = widened(node, draft, x, (1,) * (rank - len(x.shape)) + x.shape, 0)
    shapes = [(1,) * (rank - value.ndim) + value.shape for value in constants]
    fits = all(c in (1, d) or d == 1 for shape in shapes for c, d in zip(shape, x.shape, strict=True))
    wanted = tuple(max(lengths) for lengths in zip(x.shape, *shapes, strict=True))
    if not fits or wanted == x.shape or any(shape[x.axis] != 1 for shape in shapes):
        return x
    return broadcast(node, draft, x, draft.inner_name(node, "repeated"), wanted)


def _of_two(node: Node, draft: Draft) -> None:
    (a, b), shape, axis = operands(node, draft, [draft.signals[name] for name in node.inputs])
    name, inputs, shapes = layer_name(node), (a.name, b.name), (a.sample, b.sample)
    output = node.outputs[0]
    if node.op == "Sub":
        draft.add(Difference(name=name, inputs=inputs, output=output, in_shapes=shapes, out_shape=shape), axis=axis)
        return
    function = cast(Literal["Mul", "Div"], node.op)
    draft.add(
        Product(name=name, inputs=inputs, output=output, in_shapes=shapes, out_shape=shape, function=function),
        axis=axis,
    )


def _reciprocal(node: Node, draft: Draft, x: Signal) -> Signal:
    name = draft.inner_name(node, "reciprocal")
    draft.add(
        Activation(
            name=name,
            inputs=(x.name,),
            output=name,
            in_shapes=(x.sample,),
            out_shape=x.sample,
            function="Reciprocal",
        ),
        axis=x.axis,
    )
    return draft.signals[name]
