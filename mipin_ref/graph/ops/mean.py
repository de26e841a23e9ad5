"""Means over the whole map: GlobalAveragePool, and ReduceMean where it is one."""

from __future__ import annotations

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.shape import reshaped, resolved_axes
from mipin_ref.layers import GlobalAveragePool, Reshape, Shape, Transpose


@handles("GlobalAveragePool")
def global_average_pool(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    if len(x.shape) < 3:
        raise Refused(f"{readable(x.shape)} is no map")
    add_mean(node, draft, x, _pooled(x.sample))


@handles("ReduceMean")
def reduce_mean(node: Node, draft: Draft) -> None:
    """One axis besides the batch may stay: it holds the channels, wherever it is. A mean of one element is no mean."""
    x = draft.signal(node)
    axes = draft.option(node, "axes", 1)
    if axes is None or not axes.size:
        if node.attributes.get("noop_with_empty_axes", 0):
            draft.alias(node.outputs[0], x)
            return
        raise Refused("it averages over the batch")
    averaged = resolved_axes(axes, len(x.shape))
    if 0 in averaged:
        raise Refused("it averages over the batch")
    kept = [axis for axis in range(1, len(x.shape)) if axis not in averaged]
    if len(kept) != 1 and all(x.shape[axis] == 1 for axis in averaged):
        keeps = bool(node.attributes.get("keepdims", 1))
        reshaped(node, draft, x, x.shape if keeps else (x.shape[0], *(x.shape[a] for a in kept)), 0)
        return
    if len(kept) != 1:
        raise Refused(f"it averages over axes {sorted(averaged)} of {readable(x.shape)}, not over all axes of a map")
    channel = kept[0]
    keeps_axes = bool(node.attributes.get("keepdims", 1))
    result = tuple(x.shape[a] if a == channel else 1 for a in range(1, len(x.shape)))
    source = x if channel == 1 else _channels_first(node, draft, x, channel)
    add_mean(node, draft, source, result if keeps_axes else (x.shape[channel],))


def _channels_first(node: Node, draft: Draft, x: Signal, channel: int) -> Signal:
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
