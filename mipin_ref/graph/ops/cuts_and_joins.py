"""Operators that put boxes of values side by side, cut them out, or frame them: Concat, Slice, Split, Pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import add_affine
from mipin_ref.graph.ops.registry import draft_as, handles, layer_name
from mipin_ref.graph.ops.selections import add_selection
from mipin_ref.graph.ops.shape import resolved_axes
from mipin_ref.graph.picks import picked_shape
from mipin_ref.layers import Concat, HostArray, Pad
from mipin_ref.layers.kind import Pick

LONGEST = 1 << 20
"""Locations that one axis may be padded by."""


@handles("Concat")
def concat(node: Node, draft: Draft) -> None:
    empty = [name for name in node.inputs if name in draft.constants and not draft.constants[name].size]
    if empty:
        node = replace(node, inputs=tuple(name for name in node.inputs if name not in empty))
    if any(name not in draft.signals for name in node.inputs):
        _beside_constants(node, draft)
        return
    parts = [draft.signals[name] for name in node.inputs]
    axis, batch = _one_axis(node.attributes["axis"], parts[0]), parts[0].axis
    for part, name in zip(parts, node.inputs, strict=True):
        if part.axis != batch:
            raise Refused(f"the batch is axis {part.axis} of {name!r} and axis {batch} of {node.inputs[0]!r}")
    if axis == batch:
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
            out_shape=tuple(shape[:batch] + shape[batch + 1 :]),
            axis=1 + parts[0].inner(axis),
        ),
        axis=batch,
    )


def _beside_constants(node: Node, draft: Draft) -> None:
    """One tensor with constants on either side: zeros around it, to which they are added."""
    tensors = [place for place, name in enumerate(node.inputs) if name in draft.signals]
    if len(tensors) > 1:
        _in_groups(node, draft, tensors)
        return
    (place,) = tensors
    x = draft.signals[node.inputs[place]]
    axis = _one_axis(node.attributes["axis"], x)
    if axis == x.axis:
        raise Refused("it joins along the batch")
    inner = x.inner(axis)
    parts = [
        None if name in draft.signals else _of_one_sample(draft.weight(name), x, draft, name) for name in node.inputs
    ]
    frame = x.sample[:inner] + x.sample[inner + 1 :]
    if any(one is not None and one.shape[:inner] + one.shape[inner + 1 :] != frame for one in parts):
        raise Refused(f"a constant does not fit {readable(x.shape)} along axis {axis}")
    before, behind = (
        sum(0 if one is None else one.shape[inner] for one in some) for some in (parts[:place], parts[place:])
    )
    joined = np.concatenate([np.zeros(x.sample) if one is None else one for one in parts], inner).astype(np.float64)
    around = [0] * len(x.sample)
    name = draft.inner_name(node, "framed")
    draft.add(
        Pad(
            name=name,
            inputs=(x.name,),
            output=name,
            in_shapes=(x.sample,),
            out_shape=joined.shape,
            begin=tuple(before if i == inner else n for i, n in enumerate(around)),
            end=tuple(behind if i == inner else n for i, n in enumerate(around)),
            value=0.0,
        ),
        axis=x.axis,
    )
    add_affine(node, draft, draft.signals[name], np.ones((1,) * joined.ndim), joined)


def _in_groups(node: Node, draft: Draft, tensors: Sequence[int]) -> None:
    """Several tensors, each with the constants behind it, the first with those in front: registers of a ViT."""
    bounds = [0, *tensors[1:], len(node.inputs)]
    joined = []
    for begin, end in pairwise(bounds):
        parts = node.inputs[begin:end]
        if len(parts) > 1:
            name = draft.inner_name(node, f"group {begin}")
            draft_as(node, draft, "Concat", parts, name, node.attributes)
        joined.append(name if len(parts) > 1 else parts[0])
    draft_as(node, draft, "Concat", joined, node.outputs[0], node.attributes)


def _of_one_sample(value: HostArray, x: Signal, draft: Draft, name: str) -> HostArray:
    """A constant [.., N, ..] that is the same for every sample, without the axis of the batch."""
    if value.ndim != len(x.shape):
        raise Refused(f"constant {name!r} of shape {value.shape} does not fit {readable(x.shape)}")
    alike = value.shape[x.axis] == 1 or not np.any(np.diff(value, axis=x.axis))
    if not alike or value.shape[x.axis] not in (1, draft.file_batch) or x.folded:
        raise Refused(f"it joins constant {name!r}, which differs from sample to sample, to a tensor")
    if value.shape[x.axis] == 1 and name not in draft.spread and draft.file_batch != 1:
        raise Refused(f"it joins constant {name!r} of one sample to a tensor of any number of samples")
    return np.asarray(value.take(0, x.axis))


@handles("Slice")
def slice_(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    starts, ends = draft.option(node, "starts", 1), draft.option(node, "ends", 2)
    if starts is None or ends is None:
        raise Refused("its starts or ends are missing")
    axes, steps = draft.option(node, "axes", 3), draft.constant(node.input(4))
    chosen = resolved_axes(np.arange(starts.size) if axes is None else axes, len(x.shape))
    by = [1] * len(chosen) if steps is None else [int(step) for step in np.ravel(steps)]
    # A batch that the file fixes is cut where it ends, not where ours would.
    lengths = [*x.shape]
    lengths[x.axis] = draft.file_batch or x.shape[x.axis]
    if 0 in by or len(by) != len(chosen):
        raise Refused(f"its steps are {by}")
    taken = {}
    for axis, first, last, step in zip(chosen, np.ravel(starts), np.ravel(ends), by, strict=True):
        n = lengths[axis]
        low, high = (0, n) if step > 0 else (-1, n - 1)
        first, last = (min(max(p + n if p < 0 else p, low), high) for p in (int(first), int(last)))
        taken[axis] = range(first, last, step)
    if taken.pop(x.axis, range(lengths[x.axis])) != range(lengths[x.axis]):
        raise Refused("it cuts the batch")
    reads = [taken.get(axis) for axis in range(len(lengths)) if axis != x.axis]
    picks = [None if read is None else np.arange(read.start, read.stop, read.step) for read in reads]
    _taken(draft, layer_name(node), node.outputs[0], x, picks)


def _taken(draft: Draft, name: str, output: str, x: Signal, picks: Sequence[Pick]) -> None:
    """Draft what is read of x. Where that is nothing, as of a window that is shifted by zero, it is a constant without
    numbers.
    """
    shape = picked_shape(x.sample, picks)
    if min(shape, default=1):
        add_selection(draft, name, output, x, picks)
        return
    draft.nothing(output, (*shape[: x.axis], 1, *shape[x.axis :]), x.axis)


@handles("Split")
def split(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    axis = _one_axis(node.attributes.get("axis", 0), x)
    if axis == x.axis:
        raise Refused("it cuts the batch")
    if not all(node.outputs):
        raise Refused("one of its parts has no name, which onnxruntime does not survive")
    lengths = _split_lengths(node, draft, draft.option(node, "split", 1), x.shape[axis])
    place, inner = 0, axis - (axis > x.axis)
    for output, length in zip(node.outputs, lengths, strict=True):
        picks = [np.arange(place, place + length) if a == inner else None for a in range(len(x.sample))]
        place += length
        _taken(draft, output, output, x, picks)


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


@handles("Pad")
def pad(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
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
    if begin.pop(x.axis) or end.pop(x.axis):
        raise Refused("it pads the batch")
    mode = node.attributes.get("mode", "constant")
    if min(begin + end) < 0:
        x = _cropped(node, draft, x, begin, end)
        begin, end = ([max(0, p) for p in pads] for pads in (begin, end))
        if not any(begin + end):
            return
    if mode != "constant":
        picks = [_padded(n, b, e, mode) for n, b, e in zip(x.sample, begin, end, strict=True)]
        add_selection(draft, layer_name(node), node.outputs[0], x, picks)
        return
    around = 0.0 if value is None else float(value.item())
    # Minus infinity is what a MaxPool behind it never takes.
    if not np.isfinite(around) and around != -np.inf:
        raise Refused(f"it pads with {around}")
    draft.add(
        Pad(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=tuple(d + b + e for d, b, e in zip(x.sample, begin, end, strict=True)),
            begin=tuple(begin),
            end=tuple(end),
            value=around,
        ),
        axis=x.axis,
    )


def _padded(length: int, begin: int, end: int, mode: str) -> npt.NDArray[np.int64] | None:
    """Which entries an axis has once it is continued at both ends; what negative numbers crop is gone before."""
    if not begin and not end:
        return None
    if max(begin, end) > LONGEST:
        raise Refused(f"it pads by {max(begin, end):,} locations")
    place = np.arange(-begin, length + end, dtype=np.int64)
    if mode == "edge":
        return np.clip(place, 0, length - 1)
    if mode == "wrap":
        return place % length
    if mode != "reflect" or max(begin, end) >= length:
        raise Refused(f"it pads with mode {mode!r} by {max(begin, end)} of {length} locations")
    turned = np.abs(place)
    return np.where(turned > length - 1, 2 * (length - 1) - turned, turned)


def _cropped(node: Node, draft: Draft, x: Signal, begin: list[int], end: list[int]) -> Signal:
    """x without what negative pads take away, as the node's output where nothing is added."""
    sizes = list(zip(x.sample, begin, end, strict=True))
    alone = all(p <= 0 for p in (*begin, *end))
    picks = [None if b >= 0 and e >= 0 else np.arange(max(0, -b), n + min(0, e)) for n, b, e in sizes]
    if any(pick is not None and not len(pick) for pick in picks):
        raise Refused("it crops all there is")
    name = node.outputs[0] if alone else draft.inner_name(node, "cropped")
    return add_selection(draft, layer_name(node), name, x, picks, crops=True)


def _one_axis(axis: int, x: Signal) -> int:
    return resolved_axes(np.array(axis), len(x.shape))[0]
