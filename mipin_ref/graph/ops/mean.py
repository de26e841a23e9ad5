"""Means and sums: over the whole map, GlobalAveragePool and ReduceMean where it is one, and over other axes."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.shape import reshaped, resolved_axes
from mipin_ref.layers import GlobalAveragePool, Reduce, Reshape, Shape, Transpose


@handles("GlobalAveragePool")
def global_average_pool(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    if len(x.shape) < 3:
        raise Refused(f"{readable(x.shape)} is no map")
    add_mean(node, draft, x, _pooled(x.sample))


@handles("ReduceMean", "ReduceSum")
def reduce_mean(node: Node, draft: Draft) -> None:
    """A mean over all axes of a map is a GlobalAveragePool, wherever its channels are; of one element it is none.

    onnxruntime has no GlobalAveragePool of doubles.
    """
    x = draft.signal(node, batch_first=False)
    over = reduced_axes(node, draft, x)
    if over is None:
        draft.alias(node.outputs[0], x)
        return
    kept = [axis for axis in range(len(x.shape)) if axis not in over and axis != x.axis]
    keeps = bool(node.attributes.get("keepdims", 1))
    if all(x.shape[axis] == 1 for axis in over) and (len(kept) != 1 or node.op == "ReduceSum"):
        _without(node, draft, x, over, keeps)
        return
    if len(kept) == 1 and x.axis == 0 and node.op == "ReduceMean" and draft.dtype != np.float64:
        channel = kept[0]
        result = tuple(x.shape[a] if a == channel else 1 for a in range(1, len(x.shape)))
        source = x if channel == 1 else channels_first(node, draft, x, channel)
        add_mean(node, draft, source, result if keeps else (x.shape[channel],))
        return
    shape = tuple(1 if axis in over else length for axis, length in enumerate(x.shape))
    name = node.outputs[0] if keeps else draft.inner_name(node, "reduced")
    draft.add(
        Reduce(
            name=layer_name(node),
            inputs=(x.name,),
            output=name,
            in_shapes=(x.sample,),
            out_shape=shape[: x.axis] + shape[x.axis + 1 :],
            over=tuple(1 + (axis if axis < x.axis else axis - 1) for axis in over),
            total=node.op == "ReduceSum",
        ),
        axis=x.axis,
    )
    if not keeps:
        _without(node, draft, draft.signals[name], over, keeps)


def reduced_axes(node: Node, draft: Draft, x: Signal) -> list[int] | None:
    """The axes of x that a node reduces, in order; None where it hands x on. Refused where the batch is among them."""
    axes = draft.option(node, "axes", 1)
    if axes is None or not axes.size:
        if node.attributes.get("noop_with_empty_axes", 0):
            return None
        axes = np.arange(len(x.shape))
    over = sorted(resolved_axes(axes, len(x.shape)))
    if x.axis in over:
        raise Refused(f"it {DOES.get(node.op, 'reduces')} over the batch")
    return over


DOES = {"ReduceMean": "averages", "ReduceSum": "sums", "ReduceMax": "takes the largest value"}


def _without(node: Node, draft: Draft, x: Signal, over: list[int], keeps: bool) -> None:
    """Draft axes of length one away, or leave them."""
    shape = x.shape if keeps else tuple(d for axis, d in enumerate(x.shape) if axis not in over)
    reshaped(node, draft, x, shape, shape.index(BATCH))


def channels_first(node: Node, draft: Draft, x: Signal, channel: int) -> Signal:
    """x [N, ..., C, ...] with its channels on axis 1."""
    perm = (0, channel, *(a for a in range(1, len(x.shape)) if a != channel))
    name = draft.inner_name(node, "channels_first")
    draft.add(
        Transpose(
            name=name,
            inputs=(x.name,),
            output=name,
            in_shapes=(x.sample,),
            out_shape=tuple(x.shape[a] for a in perm[1:]),
            perm=perm,
        )
    )
    return draft.signals[name]


def add_mean(node: Node, draft: Draft, x: Signal, result: Shape) -> None:
    """The mean over all axes of x but the first, as the node's output of per-sample shape `result`."""
    pooled = _pooled(x.sample)
    output = node.outputs[0] if result == pooled else draft.inner_name(node, "mean")
    draft.add(
        GlobalAveragePool(
            name=layer_name(node), inputs=(x.name,), output=output, in_shapes=(x.sample,), out_shape=pooled
        )
    )
    if result != pooled:
        draft.add(
            Reshape(
                name=node.outputs[0],
                inputs=(output,),
                output=node.outputs[0],
                in_shapes=(pooled,),
                out_shape=result,
            )
        )


def _pooled(sample: Shape) -> Shape:
    return (sample[0], *(1,) * (len(sample) - 1))
