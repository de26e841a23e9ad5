"""Sums of tensors, and arithmetic of one tensor with constants."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import add_affine, per_sample
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import Add


@handles("Add", "Sum")
def add(node: Node, draft: Draft) -> None:
    """Tensors of one shape become an Add; constants beside them an Affine behind it."""
    tensors = [draft.signals[name] for name in node.inputs if name in draft.signals]
    total = tensors[0]
    constants = [per_sample(draft.weight(name), total) for name in node.inputs if name not in draft.signals]
    if len(tensors) > 1:
        total = _sum(node, draft, tensors, draft.inner_name(node, "sum") if constants else node.outputs[0])
    elif not constants:
        draft.alias(node.outputs[0], total)
    if constants:
        shift = constants[0]
        for constant in constants[1:]:
            shift = shift + constant
        add_affine(node, draft, total, np.ones_like(shift), shift)


def _sum(node: Node, draft: Draft, tensors: list[Signal], output: str) -> Signal:
    for other in tensors[1:]:
        if other.shape != tensors[0].shape:
            raise Refused(f"it broadcasts {readable(other.shape)} and {readable(tensors[0].shape)} against each other")
    draft.add(
        Add(
            name=layer_name(node),
            inputs=tuple(x.name for x in tensors),
            output=output,
            in_shapes=tuple(x.sample for x in tensors),
            out_shape=tensors[0].sample,
        ),
        axis=tensors[0].axis,
    )
    return draft.signals[output]


@handles("Sub", "Mul", "Div")
def scale_or_shift(node: Node, draft: Draft) -> None:
    tensors = [i for i, name in enumerate(node.inputs) if name in draft.signals]
    if len(tensors) > 1:
        raise Refused("it subtracts one tensor from another" if node.op == "Sub" else "it gates one tensor by another")
    first = tensors[0] == 0
    x = draft.signals[node.inputs[tensors[0]]]
    constant = per_sample(draft.weight(node.inputs[1 if first else 0]), x)
    one, zero = np.ones_like(constant), np.zeros_like(constant)
    if node.op == "Mul":
        scale, shift = constant, zero
    elif node.op == "Sub":
        scale, shift = (one, -constant) if first else (-one, constant)
    else:
        if not first:
            raise Refused("it divides a constant by a tensor")
        if not np.all(constant):
            raise Refused("it divides by zero")
        scale, shift = one / constant, zero
    add_affine(node, draft, x, scale, shift)
