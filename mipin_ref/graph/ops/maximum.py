"""The largest value of the whole map, or along some of its axes: GlobalMaxPool and ReduceMax."""

from __future__ import annotations

from math import prod

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.mean import channels_first, reduced_axes
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.sliding import MAX_TAPS
from mipin_ref.layers import MaxPool, Reshape, Shape
from mipin_ref.window import Window

MAX_RANK = 3
"""Axes of a map that onnxruntime's MaxPool takes."""


@handles("GlobalMaxPool")
def global_max_pool(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    if len(x.shape) < 3:
        raise Refused(f"{readable(x.shape)} is no map")
    shape = (x.shape[1], *(1,) * (len(x.shape) - 2))
    _add_maximum(node, draft, x, shape, shape)


@handles("ReduceMax")
def reduce_max(node: Node, draft: Draft) -> None:
    """One axis besides the batch stays, which holds the channels, or the first and others, or what is taken is of axes
    side by side.
    """
    given = draft.signal(node, batch_first=False)
    reduced = reduced_axes(node, draft, given)
    if reduced is None:
        draft.alias(node.outputs[0], given)
        return
    x = Signal(given.name, (BATCH, *given.sample), 0)
    over = [axis + (axis < given.axis) for axis in reduced]
    kept = [axis for axis in range(1, len(x.shape)) if axis not in over]
    keeps = bool(node.attributes.get("keepdims", 1))
    result = tuple(1 if axis in over else x.shape[axis] for axis in range(1, len(x.shape)) if keeps or axis in kept)
    side_by_side = bool(kept) and over[-1] - over[0] == len(over) - 1
    if len(kept) == 1 or (kept[:1] == [1] and (len(x.shape) - 2 <= MAX_RANK or not side_by_side)):
        channel = kept[0]
        source = x if channel == 1 else channels_first(node, draft, x, channel)
        order = (channel, *(axis for axis in range(1, len(x.shape)) if axis != channel))
        _add_maximum(node, draft, source, tuple(1 if axis in over else x.shape[axis] for axis in order), result)
    elif side_by_side:
        # In front of these axes and behind them the values are as one axis.
        begin, end = over[0], over[-1] + 1
        before, along, behind = prod(x.shape[1:begin]), prod(x.shape[begin:end]), prod(x.shape[end:])
        name = draft.inner_name(node, "side by side")
        _reshape(draft, x, name, (before, along, behind))
        _add_maximum(node, draft, draft.signals[name], (before, 1, behind), result)
    else:
        raise Refused(f"it takes the largest value over axes {over} of {readable(x.shape)}, not over those of a map")
    if given.axis:
        # Steps first, as of recurrent layers.
        axis = given.axis if keeps else given.axis - sum(one < given.axis for one in reduced)
        draft.signals[node.outputs[0]] = Signal(node.outputs[0], (*result[:axis], BATCH, *result[axis:]), axis)


def _add_maximum(node: Node, draft: Draft, x: Signal, pooled: Shape, result: Shape) -> None:
    """The maximum over axes of x behind the first, as the node's output of per-sample shape `result`: a MaxPool with
    windows as long as these (method, section 10). pooled: the shape in which they have length one.
    """
    channels, *size = x.sample
    window = [1 if length == whole else whole for length, whole in zip(pooled[1:], size, strict=True)]
    if prod(window) > MAX_TAPS:
        raise Refused(f"its map of {prod(window):,} locations is larger than the {MAX_TAPS:,} that are supported")
    if len(size) > MAX_RANK:
        if any(length != 1 for length in pooled[1:]):
            raise Refused(f"it takes the largest value along some of {len(size)} axes; {MAX_RANK} are supported")
        name = draft.inner_name(node, "places")
        window = [prod(size)]
        _reshape(draft, x, name, (channels, *window))
        x, pooled = draft.signals[name], (channels, 1)
    rank = len(window)
    output = node.outputs[0] if result == pooled else draft.inner_name(node, "maximum")
    none, one = (0,) * rank, (1,) * rank
    draft.add(
        MaxPool(
            name=layer_name(node),
            inputs=(x.name,),
            output=output,
            in_shapes=(x.sample,),
            out_shape=pooled,
            window=Window(tuple(window), one, none, none, one),
            ceil_mode=False,
        )
    )
    if result != pooled:
        _reshape(draft, draft.signals[output], node.outputs[0], result)


def _reshape(draft: Draft, x: Signal, name: str, shape: Shape) -> None:
    draft.add(Reshape(name=name, inputs=(x.name,), output=name, in_shapes=(x.sample,), out_shape=shape))
