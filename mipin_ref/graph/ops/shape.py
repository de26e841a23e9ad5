"""Operators that move values without touching them, and those that ask for a shape."""

from __future__ import annotations

from math import prod

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal, in_file, of_batch, readable
from mipin_ref.graph.layout import ALONE, Rows
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import HostArray, Reshape, Shape, Transpose


@handles("Shape", folded=True)
def shape(node: Node, draft: Draft) -> None:
    dims = draft.signals[node.inputs[0]].shape
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(dims))
    draft.constants[node.outputs[0]] = np.array(dims[start:end], np.int64)


@handles("Size", folded=True)
def size(node: Node, draft: Draft) -> None:
    draft.constants[node.outputs[0]] = np.array(prod(draft.signals[node.inputs[0]].shape), np.int64)


@handles("Transpose", folded=True)
def transpose(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    rank = len(x.shape)
    perm = [int(p) for p in node.attributes.get("perm") or range(rank - 1, -1, -1)]
    if sorted(perm) != list(range(rank)):
        raise Refused(f"perm {perm} is no permutation of {rank} axes")
    axis = perm.index(x.axis)
    shape = tuple(x.shape[p] for p in perm)
    # Rows that are folded into the batch are an axis of the sample, and move with it.
    inner = tuple(perm) if x.folded else tuple(x.inner(p) for p in perm if p != x.axis)
    if inner == tuple(range(len(inner))):
        draft.alias(node.outputs[0], x, shape, axis)
        return
    draft.add(
        Transpose(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=tuple(x.sample[i] for i in inner),
            perm=(0, *(i + 1 for i in inner)),
        ),
        axis=axis,
        rows=x.rows,
    )


@handles("Flatten", folded=True)
def flatten(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    axis = int(node.attributes.get("axis", 1))
    axis = axis + len(x.shape) if axis < 0 else axis
    if not x.axis < axis:
        raise Refused(f"axis {axis} would fold the batch into features")
    target = [prod(x.shape[:axis]), prod(x.shape[axis:])]
    _placed(node, draft, x, target)


@handles("Reshape", folded=True)
def reshape(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    wanted = draft.constant(node.inputs[1])
    if wanted is None or wanted.ndim != 1:
        raise Refused("its target shape is no vector")
    target = [int(d) for d in wanted]
    if not node.attributes.get("allowzero", 0):
        target = [x.shape[i] if d == 0 and i < len(x.shape) else d for i, d in enumerate(target)]
    _placed(node, draft, x, target)


def _placed(node: Node, draft: Draft, x: Signal, target: list[int]) -> None:
    """Draft the node as a Reshape to a target shape as the file has it, in which the batch has to be looked for."""
    if target.count(-1) > 1 or any(d < -1 or d == 0 for d in target):
        raise Refused(f"its target shape is {readable(tuple(target))}")
    places = [place for axis in range(len(target)) if (place := _at(axis, target, x, draft.file_batch)) is not None]
    if draft.file_batch == 1 and all(rows != ALONE for *_, rows in places) and (not places or target[0] in (1, BATCH)):
        # Of one sample numbers keep their order, wherever its batch is meant: first, where there is a place.
        places = _of_one(target, x)
    if not places:
        raise Refused(
            f"its target shape {readable(tuple(target))} leaves no place for the batch of {readable(x.shape)}"
        )
    # Where a fixed batch is looked for among fixed numbers, an axis of its own comes first.
    sample, axis, rows = min(places, key=lambda place: place[2] != ALONE)
    reshaped(node, draft, x, in_file(sample, axis, rows), axis, rows)


def _at(axis: int, target: list[int], x: Signal, file_batch: int | None) -> tuple[Shape, int, Rows] | None:
    """The sample, the batch's axis and the rows that a target shape means where the batch is in this axis.

    None where it cannot be: so many numbers of a sample as x has lie before it, and so many behind it.
    """
    length, others = target[axis], [d for i, d in enumerate(target) if i != axis]
    if any(map(of_batch, others)):
        return None
    slower, faster = prod(x.shape[: x.axis]) * x.rows[0], x.rows[1] * prod(x.shape[x.axis + 1 :])
    features = slower * faster
    rows = features // prod(others) if length == -1 else _share(length, file_batch)
    if not rows:
        return None
    if -1 in others:
        others[others.index(-1)] = features // (rows * -prod(others))
    before, behind = prod(others[:axis]), prod(others[axis:])
    if before < 1 or behind < 1 or slower % before or faster % behind:
        return None
    split = (slower // before, faster // behind)
    if prod(split) != rows:
        return None
    folded = (rows,) if split != ALONE else ()
    return (*others[:axis], *folded, *others[axis:]), axis, split


def _of_one(target: list[int], x: Signal) -> list[tuple[Shape, int, Rows]]:
    """Where a batch of one may be: on any axis of length one, as the numbers of one sample keep their order; else the
    first axis holds rows of it.
    """
    lengths, features = [d // BATCH if of_batch(d) else d for d in target], prod(x.sample)
    if -1 in lengths:
        lengths[lengths.index(-1)] = features // -prod(lengths)
    if prod(lengths) != features:
        return []
    alone = [i for i, d in enumerate(lengths) if d == 1]
    if alone:
        return [((*lengths[: alone[0]], *lengths[alone[0] + 1 :]), alone[0], ALONE)]
    return [(tuple(lengths), 0, (1, lengths[0]))] if lengths else []


def _share(length: int, file_batch: int | None) -> int:
    """How many rows of each sample an axis of the file holds, if it is that of the batch; 0 where it is not."""
    batch = BATCH if of_batch(length) else file_batch
    return 0 if batch is None or length % batch else length // batch


@handles("Squeeze", folded=True)
def squeeze(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    axes = draft.option(node, "axes", 1)
    rank = len(x.shape)
    lengths = [*x.shape]
    if draft.file_batch == 1:
        lengths[x.axis] = prod(x.rows)
    dropped = {i for i, d in enumerate(lengths) if d == 1} if axes is None else set(resolved_axes(axes, rank))
    kept = [i for i in range(rank) if i not in dropped]
    if any(lengths[i] != 1 for i in dropped):
        raise Refused(f"axes {sorted(dropped)} of {readable(x.shape)} are not all of length one")
    if x.axis in dropped:
        without_batch(node, draft, x, [lengths[i] for i in kept])
        return
    reshaped(node, draft, x, tuple(x.shape[i] for i in kept), kept.index(x.axis), x.rows)


def without_batch(node: Node, draft: Draft, x: Signal, lengths: list[int]) -> None:
    """Draft x, of a batch of one, without the axis of the batch: another of length one is, or the first holds rows."""
    if not lengths:
        raise Refused("it leaves one number without an axis")
    sample, axis, rows = _of_one(lengths, x)[0]
    reshaped(node, draft, x, in_file(sample, axis, rows), axis, rows)


@handles("Unsqueeze", folded=True)
def unsqueeze(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    axes = draft.option(node, "axes", 1)
    if axes is None:
        raise Refused("its axes are missing")
    rank = len(x.shape) + axes.size
    added = resolved_axes(axes, rank)
    rest = iter(x.shape)
    shape = tuple(1 if i in added else next(rest) for i in range(rank))
    reshaped(node, draft, x, shape, shape.index(x.shape[x.axis]), x.rows)


def reshaped(node: Node, draft: Draft, x: Signal, shape: Shape, axis: int, rows: Rows = ALONE) -> None:
    """Draft the node as a Reshape to a shape of the file, which has the batch, with rows of each sample, at `axis`."""
    as_there = Signal(x.name, shape, axis, rows=rows)
    if as_there.sample == x.sample:
        draft.alias_as(node.outputs[0], as_there)
        return
    draft.add(
        Reshape(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=as_there.sample,
        ),
        axis=axis,
        rows=rows,
    )
    draft.reshaped[node.outputs[0]] = x


def resolved_axes(axes: HostArray, rank: int) -> list[int]:
    """Axes counted from the front. Refused where one does not exist or comes twice."""
    resolved = [int(a) + rank if a < 0 else int(a) for a in np.ravel(axes)]
    if len(set(resolved)) != len(resolved) or any(not 0 <= a < rank for a in resolved):
        raise Refused(f"axes {np.ravel(axes).tolist()} do not fit rank {rank}")
    return resolved
