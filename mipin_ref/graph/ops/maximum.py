"""The largest value of the whole map: GlobalMaxPool, and ReduceMax where it is one."""

from __future__ import annotations

from math import prod

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
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
    _add_maximum(node, draft, x, (x.shape[1], *(1,) * (len(x.shape) - 2)))


@handles("ReduceMax")
def reduce_max(node: Node, draft: Draft) -> None:
    """One axis besides the batch stays: it holds the channels, wherever it is."""
    x = draft.signal(node)
    over = reduced_axes(node, draft, x)
    if over is None:
        draft.alias(node.outputs[0], x)
        return
    kept = [axis for axis in range(1, len(x.shape)) if axis not in over]
    if len(kept) != 1:
        raise Refused(f"it takes the largest value over axes {over} of {readable(x.shape)}, not over all axes of a map")
    (channel,) = kept
    keeps = bool(node.attributes.get("keepdims", 1))
    result = tuple(x.shape[a] if a == channel else 1 for a in range(1, len(x.shape)))
    source = x if channel == 1 else channels_first(node, draft, x, channel)
    _add_maximum(node, draft, source, result if keeps else (x.shape[channel],))


def _add_maximum(node: Node, draft: Draft, x: Signal, result: Shape) -> None:
    """The maximum over all axes of x but the first, as the node's output of per-sample shape `result`: a MaxPool whose
    one window is the map (method, section 10).
    """
    channels, *size = x.sample
    if prod(size) > MAX_TAPS:
        raise Refused(f"its map of {prod(size):,} locations is larger than the {MAX_TAPS:,} that are supported")
    if len(size) > MAX_RANK:
        name = draft.inner_name(node, "places")
        size = [prod(size)]
        _reshape(draft, x, name, (channels, *size))
        x = draft.signals[name]
    rank = len(size)
    pooled = (channels, *(1,) * rank)
    output = node.outputs[0] if result == pooled else draft.inner_name(node, "maximum")
    none, one = (0,) * rank, (1,) * rank
    draft.add(
        MaxPool(
            name=layer_name(node),
            inputs=(x.name,),
            output=output,
            in_shapes=(x.sample,),
            out_shape=pooled,
            window=Window(tuple(size), one, none, none, one),
            ceil_mode=False,
        )
    )
    if result != pooled:
        _reshape(draft, draft.signals[output], node.outputs[0], result)


def _reshape(draft: Draft, x: Signal, name: str, shape: Shape) -> None:
    draft.add(Reshape(name=name, inputs=(x.name,), output=name, in_shapes=(x.sample,), out_shape=shape))
