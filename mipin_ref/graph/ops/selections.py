"""Operators that pick or copy values by constant indices: Gather and its kin, Tile, Expand, Where."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal, in_file, of_batch, readable
from mipin_ref.graph.limits import TENSOR
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import per_sample
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.shape import reshaped, resolved_axes, without_batch
from mipin_ref.graph.picks import picked_shape, same_picks, selection
from mipin_ref.layers import Gather, HostArray, Reshape, Shape, Slice, Where, Wired
from mipin_ref.layers.kind import Pick

COPIES = 1 << 26
"""Steps in which copies of values may be brought back together."""


def add_selection(
    draft: Draft,
    name: str,
    output: str,
    x: Signal,
    picks: Sequence[Pick],
    *,
    axis: int | None = None,
    crops: bool = False,
) -> Signal:
    """Draft the entries `picks` of each axis of the sample as `output`, with the batch at `axis`, by default x's.

    A box is a Slice; what is read already in the same way is that tensor. crops: of a box, whether it is what a
    negative Pad keeps.
    """
    shape = picked_shape(x.sample, picks)
    axis = x.axis if axis is None else axis
    if min(shape, default=1) < 1:
        raise Refused("it cuts out nothing")
    placed = in_file(shape, axis, x.rows)
    layer = selection(name, x.name, output, x.sample, picks, crops=crops)
    if layer is None:
        draft.alias(output, x, placed, axis)
    elif (same := _drafted(draft, layer)) is not None:
        draft.alias(output, Signal(same.output, placed, axis, rows=x.rows), placed, axis)
    else:
        _check_copies(picks, x.sample)
        draft.add(layer, axis=axis, rows=x.rows)
        draft.selections.setdefault(x.name, []).append(layer)
    return draft.signals[output]


def _drafted(draft: Draft, layer: Slice | Gather) -> Wired | None:
    """A selection of the draft that makes the same values."""
    drafted = draft.selections.get(layer.input, [])
    found = (x for x in drafted if same_picks(x.picks, layer.picks) and x.crops == layer.crops)
    return next(found, None)


def _check_copies(picks: Sequence[Pick], shape: Shape) -> None:
    for pick, length in zip(picks, shape, strict=True):
        if pick is not None and int(np.bincount(pick).max()) * length > max(COPIES, 64 * len(pick)):
            raise Refused("it copies single values too often")


def sample_axis(axis: int, x: Signal) -> int:
    """An axis of the tensor, as one of its samples. Refused where it is the batch."""
    (place,) = resolved_axes(np.array(axis), len(x.shape))
    if place == x.axis:
        raise Refused("it picks among the samples of the batch")
    return place - (place > x.axis)


def _indices(values: HostArray | None, length: int) -> npt.NDArray[np.int64]:
    if values is None or values.dtype.kind not in "iu":
        raise Refused("its indices are missing, or no integers")
    found = values.astype(np.int64)
    found = np.where(found < 0, found + length, found)
    if np.any((found < 0) | (found >= length)):
        raise Refused(f"an index lies outside the {length} entries of its axis")
    return found


@handles("Gather")
def gather(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    told, values = int(node.attributes.get("axis", 0)), draft.constant(node.inputs[1])
    if draft.file_batch == 1 and told % len(x.shape) == x.axis and values is not None and not values.ndim:
        # The one sample: as torch writes x[0].
        _indices(values, 1)
        without_batch(node, draft, x, [*x.sample])
        return
    axis = sample_axis(told, x)
    index = _indices(values, x.sample[axis])
    picks: list[Pick] = [None] * len(x.sample)
    picks[axis] = index.ravel()
    place = axis + (axis >= x.axis)
    shape = (*x.shape[:place], *index.shape, *x.shape[place + 1 :])
    _select(node, draft, x, picks, shape)


def _select(node: Node, draft: Draft, x: Signal, picks: Sequence[Pick], shape: Shape) -> None:
    """Draft picks of the sample and a Reshape to what the file has, in which the batch stands anywhere."""
    axis = shape.index(BATCH)
    if shape[:axis] + shape[axis + 1 :] == picked_shape(x.sample, picks):
        add_selection(draft, layer_name(node), node.outputs[0], x, picks, axis=axis)
        return
    inner = draft.inner_name(node, "picked")
    picked = add_selection(draft, layer_name(node), inner, x, picks)
    reshaped(node, draft, picked, shape, axis)


@handles("ReverseSequence")
def reverse_sequence(node: Node, draft: Draft) -> None:
    """As tf2onnx turns a sequence round: the first steps of every sample, as many as there are, in the other order."""
    x = draft.signal(node, batch_first=False)
    batch, time = (int(node.attributes.get(f"{name}_axis", usual)) for name, usual in (("batch", 1), ("time", 0)))
    lengths = draft.constant(node.inputs[1])
    if lengths is None or lengths.ndim != 1 or batch % len(x.shape) != x.axis:
        raise Refused("it turns round as much of each sample as the input tells, or samples of the batch")
    axis = sample_axis(time, x)
    length = int(_of_each(lengths, node.inputs[1] in draft.spread, draft.file_batch))
    steps = x.sample[axis]
    if not 0 < length <= steps:
        raise Refused(f"it turns round {length} of {steps} steps")
    picks: list[Pick] = [None] * len(x.sample)
    picks[axis] = np.concatenate([np.arange(length)[::-1], np.arange(length, steps)]).astype(np.int64)
    add_selection(draft, layer_name(node), node.outputs[0], x, picks)


def _of_each(values: HostArray, spread: bool, file_batch: int | None) -> HostArray:
    """The one value of numbers that the file holds for each sample. Refused where they differ."""
    if (not spread and len(values) != file_batch) or np.ptp(values):
        raise Refused("it turns round as much of each sample as the input tells, or samples of the batch")
    # Of a batch of one a length may be that of rows of the sample, as its axis was told before.
    return np.asarray(values[0] // BATCH if file_batch == 1 and of_batch(int(values[0])) else values[0])


@handles("GatherElements")
def gather_elements(node: Node, draft: Draft) -> None:
    """Look up the same of every sample: the values are looked up in the sample as one row of numbers."""
    x = draft.signal(node, batch_first=False)
    axis = sample_axis(int(node.attributes.get("axis", 0)), x)
    values = draft.constant(node.inputs[1])
    if values is None or values.ndim != len(x.shape):
        raise Refused("its indices do not have the axes of its input")
    index = _indices(_of_one_sample(values, x.axis, draft.file_batch), x.sample[axis])
    if any(d > n for a, (d, n) in enumerate(zip(index.shape, x.sample, strict=True)) if a != axis):
        raise Refused(f"indices of shape {index.shape} do not fit a sample of {readable(x.shape)}")
    where = [index if a == axis else places for a, places in enumerate(np.indices(index.shape))]
    select_flat(node, draft, x, np.ravel_multi_index(tuple(where), x.sample), x.axis)


@handles("GatherND")
def gather_nd(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    batches, values = int(node.attributes.get("batch_dims", 0)), draft.constant(node.inputs[1])
    if x.axis != 0 or values is None or values.ndim < 2 or batches != 1:
        raise Refused("it picks among the samples of the batch; with batch_dims 1 it would pick of every sample alike")
    index = _of_one_sample(values, 0, draft.file_batch)
    count = index.shape[-1]
    if not 1 <= count <= len(x.sample):
        raise Refused(f"indices of {count} numbers do not fit {readable(x.shape)}")
    places = [_indices(index[..., a], x.sample[a]) for a in range(count)]
    flat = np.ravel_multi_index(tuple(places), x.sample[:count])
    rest = x.sample[count:]
    if rest:
        flat = flat[..., None] * prod(rest) + np.arange(prod(rest))
    select_flat(node, draft, x, flat.reshape(*index.shape[:-1], *rest), 0)


def _of_one_sample(values: HostArray, axis: int, file_batch: int | None) -> HostArray:
    """Indices without the axis of the batch, along which they must not differ."""
    if values.shape[axis] not in (1, file_batch) or (values.shape[axis] > 1 and np.any(np.diff(values, axis=axis))):
        raise Refused("its indices differ from sample to sample")
    if file_batch is None:
        raise Refused("its indices are for one sample, and the file leaves the number of samples open")
    return np.asarray(values.take(0, axis))


def select_flat(node: Node, draft: Draft, x: Signal, index: npt.NDArray[np.int64], axis: int) -> None:
    """Draft the values at places `index` of the sample, counted in one row, with the batch at `axis` of the result."""
    if index.size > TENSOR:
        raise Refused(f"its output has {index.size:,} elements a sample")
    row = x
    if len(x.sample) > 1:
        row = _as_row(node, draft, x)
    shape = (*index.shape[:axis], BATCH, *index.shape[axis:])
    _select(node, draft, row, [index.ravel()], shape)


def _as_row(node: Node, draft: Draft, x: Signal) -> Signal:
    flat = (prod(x.sample),)
    for layer in draft.rows.get(x.name, []):
        return Signal(layer.output, (BATCH, *flat), 0)
    name = draft.inner_name(node, "row")
    made = Reshape(name=name, inputs=(x.name,), output=name, in_shapes=(x.sample,), out_shape=flat)
    draft.add(made)
    draft.rows.setdefault(x.name, []).append(made)
    return draft.signals[name]


@handles("Tile")
def tile(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    repeats = draft.constant(node.inputs[1])
    if repeats is None or repeats.shape != (len(x.shape),):
        raise Refused(f"its repeats do not fit {readable(x.shape)}")
    if int(repeats[x.axis]) != 1:
        raise Refused("it repeats the batch")
    counts = [int(r) for a, r in enumerate(repeats) if a != x.axis]
    _check_size([n * r for n, r in zip(x.sample, counts, strict=True)])
    picks: list[Pick] = [
        None if r == 1 else np.tile(np.arange(n, dtype=np.int64), r) for n, r in zip(x.sample, counts, strict=True)
    ]
    add_selection(draft, layer_name(node), node.outputs[0], x, picks)


def _check_size(shape: Sequence[int]) -> None:
    if min(shape, default=1) < 1 or prod(shape) > TENSOR:
        raise Refused(f"its output would have {prod(shape):,} elements a sample")


@handles("Expand")
def expand(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    wanted = draft.constant(node.inputs[1])
    if wanted is None or wanted.ndim != 1:
        raise Refused("its target shape is no vector")
    broadcast(node, draft, x, node.outputs[0], [int(d) for d in wanted])


def broadcast(node: Node, draft: Draft, x: Signal, output: str, wanted: Sequence[int]) -> Signal:
    """Draft x, of any batch axis, as it broadcasts against a shape of the file."""
    rank = max(len(wanted), len(x.shape))
    more = rank - len(x.shape)
    target = [1] * (rank - len(wanted)) + list(wanted)
    axis = x.axis + more
    if target[axis] not in (1, BATCH, draft.file_batch):
        raise Refused(f"it makes {target[axis]} samples of each")
    given = (1,) * more + x.sample
    sizes = [target[a] for a in range(rank) if a != axis]
    if any(d not in (1, n) and n != 1 for d, n in zip(sizes, given, strict=True)):
        raise Refused(f"{readable(x.shape)} does not broadcast to {readable(tuple(target))}")
    _check_size([max(d, n) for d, n in zip(sizes, given, strict=True)])
    picks: list[Pick] = [np.zeros(d, np.int64) if n == 1 and d > 1 else None for d, n in zip(sizes, given, strict=True)]
    shape = (*given[:axis], BATCH, *given[axis:])
    if more:
        inner = draft.inner_name(node, f"unsqueezed{len(draft.layers)}")
        if any(pick is not None for pick in picks):
            draft.add(
                Reshape(name=inner, inputs=(x.name,), output=inner, in_shapes=(x.sample,), out_shape=given), axis=axis
            )
            x = draft.signals[inner]
        else:
            draft.add(
                Reshape(name=output, inputs=(x.name,), output=output, in_shapes=(x.sample,), out_shape=given),
                axis=axis,
            )
            return draft.signals[output]
    return add_selection(draft, output, output, Signal(x.name, shape, axis), picks, axis=axis)


@handles("Where")
def where(node: Node, draft: Draft) -> None:
    if node.inputs[0] in draft.signals or node.inputs[0] not in draft.constants:
        raise Refused("its mask depends on the input")
    mask = draft.constants[node.inputs[0]].astype(bool)
    signals = [draft.signals[name] for name in node.inputs[1:3] if name in draft.signals]
    first = node.inputs[1] in draft.signals
    shapes = [signal.shape for signal in signals]
    full = _full([mask.shape, *shapes, *(draft.constants[n].shape for n in node.inputs[1:3] if n in draft.constants)])
    parts = [
        signal
        if signal.shape == full
        else broadcast(node, draft, signal, draft.inner_name(node, f"operand{place}"), full)
        for place, signal in enumerate(signals)
    ]
    x = parts[0]
    chosen = per_sample(mask.astype(np.float64), x) > 0
    fill = np.zeros(())
    if len(parts) == 1:
        fill = per_sample(draft.shift(node.inputs[2 if first else 1]), x)
        chosen = chosen if first else ~chosen
    constants = [draft.constants[name] for name in node.inputs[1:3] if name in draft.constants]
    bounded = any(value.dtype.kind == "f" and np.any(np.isinf(value)) for value in constants)
    output = draft.inner_name(node, "masked") if bounded else node.outputs[0]
    draft.add(
        Where(
            name=layer_name(node),
            inputs=tuple(part.name for part in parts),
            output=output,
            in_shapes=tuple(part.sample for part in parts),
            out_shape=x.sample,
            mask_set=chosen,
            fill=fill,
        ),
        axis=x.axis,
    )
    # Where the file has infinity, its values are not those of the file.
    draft.signals[node.outputs[0]] = draft.signals[output]


def _full(shapes: Sequence[Shape]) -> Shape:
    """What shapes of the file broadcast to."""
    try:
        return tuple(int(d) for d in np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise Refused(f"{' and '.join(map(readable, shapes))} do not broadcast") from error
