"""Normalisation by the sample's own statistics, as one operator."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import per_sample
from mipin_ref.graph.ops.registry import draft_as, handles, layer_name
from mipin_ref.graph.ops.shape import resolved_axes
from mipin_ref.layers import Divisor, HostArray, Norm, Shape

SMALLEST = float(np.finfo(np.float32).tiny)
"""What a norm of zero counts as where the operator says that the result is zero then."""


def add_norm(
    node: Node,
    draft: Draft,
    x: Signal,
    over: Sequence[int],
    divisor: Divisor,
    *,
    centred: bool,
    scale: HostArray | None = None,
    shift: HostArray | None = None,
    split: Shape | None = None,
    channels: int | None = None,
) -> None:
    """Draft the normalisation of x.

    over: axes of the sample, or of what `split` makes of it, counted without the batch; scale, shift: of the rank of
    the sample, one and zero where left out; channels: the axis that holds them, counted with the batch, where the
    operator says it.
    """
    one = np.ones((1,) * len(x.sample))
    scale, shift = (one if scale is None else scale), (0 * one if shift is None else shift)
    draft.add(
        Norm(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            split=split or x.sample,
            over=tuple(1 + axis for axis in over),
            centred=centred,
            axis=channels or _channels(over, scale),
            scale=scale,
            shift=shift,
            divisor=divisor,
        ),
        axis=x.axis,
        rows=x.rows,
    )


def _channels(over: Sequence[int], scale: HostArray) -> int:
    """The axis, counted with the batch, that holds the channels of what is normalised over axes of the sample.

    That of a LayerNorm over one axis is this axis, unless the scale varies along another alone; else it is the first.
    """
    varies = [axis for axis, length in enumerate(scale.shape) if length > 1]
    if len(over) == 1 and not (len(varies) == 1 and varies != list(over)):
        return 1 + over[0]
    return 1


def inside(over: Sequence[int], x: Signal) -> list[int]:
    """Axes of the file, counted without the batch. Refused where the batch is among them."""
    if x.axis in over:
        raise Refused("it normalises over the samples of a batch: export in evaluation mode")
    return sorted(x.inner(axis) for axis in over)


def mean_of(count: int, epsilon: float) -> Divisor:
    """The root of a mean square."""
    return Divisor(factor=1 / count, epsilon=epsilon)


def _parameters(node: Node, draft: Draft, x: Signal, *indices: int | None) -> list[HostArray | None]:
    """Constants as they broadcast to the sample; None where one is left out, or where there is none."""
    names = ["" if i is None else node.input(i) for i in indices]
    return [per_sample(draft.weight(name), x) if name else None for name in names]


@handles("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_normalization(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    (axis,) = resolved_axes(np.asarray(node.attributes.get("axis", -1)), len(x.shape))
    over = inside(range(axis, len(x.shape)), x)
    scale, shift = _parameters(node, draft, x, 1, 2)
    centred = node.op == "LayerNormalization"
    divisor = mean_of(prod(x.sample[a] for a in over), float(node.attributes.get("epsilon", 1e-5)))
    add_norm(node, draft, x, over, divisor, centred=centred, scale=scale, shift=None if not centred else shift)


@handles("com.microsoft.SkipLayerNormalization", "com.microsoft.SkipSimplifiedLayerNormalization")
def skip_layer_normalization(node: Node, draft: Draft) -> None:
    """onnxruntime's fusion of a residual Add, its bias and the LayerNorm or RMSNorm behind it."""
    simplified = node.op == "SkipSimplifiedLayerNormalization"
    bias = node.input(3 if simplified else 4)
    first, skip = node.inputs[:2]
    if bias:
        # That of the product in front, which it folds into.
        biased = draft.inner_name(node, "biased")
        draft_as(node, draft, "Add", [first, bias], biased)
        first = biased
    total = node.outputs[3] if len(node.outputs) > 3 and node.outputs[3] else draft.inner_name(node, "sum")
    draft_as(node, draft, "Add", [first, skip], total)
    x = draft.signals[total]
    scale, shift = _parameters(node, draft, x, 2, None if simplified else 3)
    over = inside([len(x.shape) - 1], x)
    divisor = mean_of(x.sample[-1], float(node.attributes.get("epsilon", 1e-12)))
    add_norm(node, draft, x, over, divisor, centred=not simplified, scale=scale, shift=shift)


@handles("InstanceNormalization")
def instance_normalization(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    _map(x)
    scale, shift, divisor = instance_parameters(node, draft, x, x.shape[2:])
    add_norm(node, draft, x, range(1, len(x.sample)), divisor, centred=True, scale=scale, shift=shift, channels=1)


def instance_parameters(node: Node, draft: Draft, x: Signal, places: Shape) -> tuple[HostArray, HostArray, Divisor]:
    """Scale, shift and divisor of an InstanceNormalization over so many places a channel of x [N, C, ...]."""
    scale, shift = (_of_channels(draft.weight(node.input(i)), x) for i in (1, 2))
    return scale, shift, mean_of(prod(places), float(node.attributes.get("epsilon", 1e-5)))


@handles("GroupNormalization")
def group_normalization(node: Node, draft: Draft) -> None:
    """Scale and bias are one a group before opset 21, one a channel since."""
    x = draft.signal(node)
    _map(x)
    channels, groups = x.shape[1], int(node.attributes["num_groups"])
    if groups < 1 or channels % groups:
        raise Refused(f"{groups} groups do not fit {channels} channels")
    given = [draft.weight(node.input(i)) for i in (1, 2)]
    if draft.opset < 21:
        if any(value.shape != (groups,) for value in given):
            raise Refused(f"its parameters do not fit {groups} groups")
        given = [np.repeat(value, channels // groups) for value in given]
    scale, shift = (_of_channels(value, x) for value in given)
    split = (groups, channels // groups, *x.shape[2:])
    over = range(1, len(split))
    divisor = mean_of(prod(split[1:]), float(node.attributes.get("epsilon", 1e-5)))
    add_norm(node, draft, x, over, divisor, centred=True, scale=scale, shift=shift, split=split, channels=1)


@handles("LpNormalization")
def lp_normalization(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    over = inside(resolved_axes(np.asarray(node.attributes.get("axis", -1)), len(x.shape)), x)
    order = int(node.attributes.get("p", 2))
    if order not in (1, 2):
        raise Refused(f"it divides by the norm of order {order}; onnxruntime has 1 and 2")
    add_norm(node, draft, x, over, Divisor(order=1 if order == 1 else 2, floor=SMALLEST), centred=False)


@handles("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    over = inside(resolved_axes(np.asarray(node.attributes.get("axes", (0, 2, 3))), len(x.shape)), x)
    count = prod(x.sample[axis] for axis in over)
    add_norm(node, draft, x, over, Divisor(factor=1 / count, offset=1e-9), centred=True)


def _map(x: Signal) -> None:
    if len(x.shape) < 3:
        raise Refused(f"{readable(x.shape)} is no map")


def _of_channels(value: HostArray, x: Signal) -> HostArray:
    shape: Shape = (x.shape[1],)
    if value.shape != shape:
        raise Refused(f"its parameters {value.shape} do not fit {x.shape[1]} channels")
    return value.astype(np.float64).reshape(-1, *(1,) * (len(x.shape) - 2))
