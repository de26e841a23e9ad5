"""Operators that put boxes of values side by side, cut them out, or frame them: Concat, Slice, Split, Pad."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, check_batch_first, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.shape import resolved_axes
from mipin_ref.layers import Concat, HostArray, Pad, Shape, Slice


@handles("Concat")
def concat(node: Node, draft: Draft) -> None:
    constants = [name for name in node.inputs if name not in draft.signals]
    if constants:
        raise Refused(f"it joins constant {constants[0]!r} to a tensor")
    parts = [draft.signals[name] for name in node.inputs]
    for part, name in zip(parts, node.inputs, strict=True):
        check_batch_first(part, name)
    axis = _one_axis(node.attributes["axis"], parts[0])
    if axis == 0:
        raise Refused("it joins along the batch")
    frames = {(len(part.shape), part.shape[:axis], part.shape[axis + 1 :]) for part in parts}
    if len(frames) > 1:
        raise Refused(f"{' and '.join(readable(part.shape) for part in parts)} do not fit along axis {axis}")
    if len(parts) == 1:
        draft.alias(node.outputs[0], parts[0])
        return
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    draft.add(
        Concat(
            name=layer_name(node),
            inputs=tuple(part.name for part in parts),
            output=node.outputs[0],
            in_shapes=tuple(part.sample for part in parts),
            out_shape=tuple(shape[1:]),
            axis=axis,
        )
    )


@handles("Slice")
def slice_(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    starts, ends = draft.option(node, "starts", 1), draft.option(node, "ends", 2)
    if starts is None or ends is None:
        raise Refused("its starts or ends are missing")
    axes, steps = draft.option(node, "axes", 3), draft.constant(node.input(4))
    if steps is not None and np.any(steps != 1):
        raise Refused(f"its steps are {np.ravel(steps).tolist()}; only steps of 1 have an inverse")
    # A batch that the file fixes is cut where it ends, not where ours would.
    shape = (draft.file_batch or x.shape[0], *x.shape[1:])
    begin, end = [0] * len(shape), list(shape)
    chosen = resolved_axes(np.arange(starts.size) if axes is None else axes, len(shape))
    for axis, first, last in zip(chosen, np.ravel(starts), np.ravel(ends), strict=True):
        begin[axis], end[axis] = (_clamped(int(place), shape[axis]) for place in (first, last))
    if (begin[0], end[0]) != (0, shape[0]):
        raise Refused("it cuts the batch")
    _add_slice(draft, layer_name(node), node.outputs[0], x, tuple(begin[1:]), tuple(end[1:]))


def _clamped(place: int, length: int) -> int:
    return min(max(place + length if place < 0 else place, 0), length)


@handles("Split")
def split(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    axis = _one_axis(node.attributes.get("axis", 0), x)
    if axis == 0:
        raise Refused("it cuts the batch")
    if not all(node.outputs):
        raise Refused("one of its parts has no name, which onnxruntime does not survive")
    lengths = _split_lengths(node, draft, draft.option(node, "split", 1), x.shape[axis])
    place = 0
    for output, length in zip(node.outputs, lengths, strict=True):
        begin, end = [0] * len(x.sample), list(x.sample)
        begin[axis - 1], end[axis - 1] = place, place + length
        place += length
        _add_slice(draft, output, output, x, tuple(begin), tuple(end))


def _split_lengths(node: Node, draft: Draft, sizes: HostArray | None, length: int) -> list[int]:
    count = len(node.outputs)
    if sizes is not None:
        lengths = [int(size) for size in np.ravel(sizes)]
    elif "num_outputs" in node.attributes:
        # Since opset 18 the last part may be smaller.
        part = -(-length // count)
        lengths = [min(part, length - i * part) for i in range(count)]
    else:
        lengths = [length // count] * count
    if len(lengths) != count or sum(lengths) != length or node.attributes.get("num_outputs", count) != count:
        raise Refused(f"its parts do not make up a length of {length}")
    return lengths


def _add_slice(draft: Draft, name: str, output: str, x: Signal, begin: Shape, end: Shape) -> None:
    shape = tuple(last - first for first, last in zip(begin, end, strict=True))
    if min(shape) < 1:
        raise Refused("it cuts out nothing")
    if shape == x.sample:
        draft.alias(output, x)
        return
    draft.add(
        Slice(
            name=name,
            inputs=(x.name,),
            output=output,
            in_shapes=(x.sample,),
            out_shape=shape,
            begin=begin,
            end=end,
        )
    )


@handles("Pad")
def pad(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    pads = draft.option(node, "pads", 1)
    value = draft.option(node, "value", 2)
    axes = draft.constant(node.input(3))
    if pads is None:
        raise Refused("its pads are missing")
    rank = len(x.shape)
    chosen = list(range(rank)) if axes is None else resolved_axes(axes, rank)
    if pads.shape != (2 * len(chosen),):
        raise Refused(f"pads of shape {pads.shape} for {len(chosen)} axes")
    begin, end = [0] * rank, [0] * rank
    for axis, b, e in zip(chosen, pads[: len(chosen)], pads[len(chosen) :], strict=True):
        begin[axis], end[axis] = int(b), int(e)
    if not any(begin + end):
        draft.alias(node.outputs[0], x)
        return
    if node.attributes.get("mode", "constant") != "constant":
        raise Refused("only padding with a constant has an inverse")
    if min(begin + end) < 0 or begin[0] or end[0]:
        raise Refused("it crops, or pads the batch")
    around = 0.0 if value is None else float(value.item())
    if not np.isfinite(around):
        raise Refused(f"it pads with {around}")
    draft.add(
        Pad(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=tuple(d + b + e for d, b, e in zip(x.sample, begin[1:], end[1:], strict=True)),
            begin=tuple(begin[1:]),
            end=tuple(end[1:]),
            value=around,
        )
    )


def _one_axis(axis: int, x: Signal) -> int:
    return resolved_axes(np.array(axis), len(x.shape))[0]
