"""The larger and the smaller of tensors, and powers: with constants they are activations."""

from __future__ import annotations

from functools import reduce
from typing import Literal, cast

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import per_sample
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import Activation, Extremum, HostArray
from mipin_ref.layers.formula import Formula, Step


@handles("Max", "Min")
def extreme(node: Node, draft: Draft) -> None:
    """Tensors of one shape become an Extremum; constants beside them an activation behind it."""
    tensors = [draft.signals[name] for name in node.inputs if name in draft.signals]
    given = [draft.weight(name) for name in node.inputs if name not in draft.signals]
    x = tensors[0]
    for other in tensors[1:]:
        if (other.shape, other.axis) != (x.shape, x.axis):
            raise Refused(f"it broadcasts {readable(other.shape)} and {readable(x.shape)} against each other")
    if len(tensors) > 1:
        x = _extremum(node, draft, tensors, draft.inner_name(node, "of tensors") if given else node.outputs[0])
    bounds = [per_sample(value, x) for value in given]
    if len(tensors) == 1 and not bounds:
        draft.alias(node.outputs[0], x)
    if bounds:
        larger = np.maximum if node.op == "Max" else np.minimum
        _bounded(node, draft, x, reduce(larger, bounds))


def _extremum(node: Node, draft: Draft, tensors: list[Signal], output: str) -> Signal:
    x = tensors[0]
    draft.add(
        Extremum(
            name=layer_name(node),
            inputs=tuple(one.name for one in tensors),
            output=output,
            in_shapes=tuple(one.sample for one in tensors),
            out_shape=x.sample,
            function=cast(Literal["Max", "Min"], node.op),
        ),
        axis=x.axis,
    )
    return draft.signals[output]


def _bounded(node: Node, draft: Draft, x: Signal, bound: HostArray) -> None:
    """The larger or smaller of x and a constant."""
    function, options, formula = "Clip", {"min" if node.op == "Max" else "max": float(bound.flat[0])}, None
    if bound.size > 1:
        function, options = "Formula", {}
        constant = Step("Affine", (0,), constants={"scale": np.zeros_like(bound), "shift": bound})
        formula = Formula((constant, Step(node.op, (0, 1))))
    draft.add(
        Activation(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            function=function,
            options=options,
            formula=formula,
        ),
        axis=x.axis,
    )


@handles("Pow")
def power(node: Node, draft: Draft) -> None:
    if node.inputs[0] not in draft.signals or node.inputs[1] in draft.signals:
        raise Refused("its exponent depends on the input")
    x = draft.signals[node.inputs[0]]
    exponent = draft.constant(node.inputs[1])
    if exponent is None or not exponent.size or not np.all(exponent == exponent.flat[0]):
        raise Refused("its exponent differs from place to place")
    if exponent.ndim > len(x.shape) or not np.isfinite(float(exponent.flat[0])):
        raise Refused(f"its exponent of shape {exponent.shape} does not fit {readable(x.shape)}")
    draft.add(
        Activation(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            function="Pow",
            options={"exponent": float(exponent.flat[0])},
        ),
        axis=x.axis,
    )
