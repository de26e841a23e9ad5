"""Operators that move values without touching them, and those that ask for a shape."""

from __future__ import annotations

from math import prod

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import HostArray, Reshape, Shape, Transpose


@handles("Shape")
def shape(node: Node, draft: Draft) -> None:
    dims = draft.signals[node.inputs[0]].shape
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(dims))
    draft.constants[node.outputs[0]] = np.array(dims[start:end], np.int64)


@handles("Size")
def size(node: Node, draft: Draft) -> None:
    draft.constants[node.outputs[0]] = np.array(prod(draft.signals[node.inputs[0]].shape), np.int64)


@handles("Transpose")
def transpose(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    rank = len(x.shape)
    perm = [int(p) for p in node.attributes.get("perm") or range(rank - 1, -1, -1)]
    if sorted(perm) != list(range(rank)):
        raise Refused(f"perm {perm} is no permutation of {rank} axes")
    axis = perm.index(x.axis)
    shape = tuple(x.shape[p] for p in perm)
    sample_axes = [a for a in range(rank) if a != x.axis]
    inner = tuple(sample_axes.index(p) for p in perm if p != x.axis)
    if inner == tuple(range(rank - 1)):
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
    )


@handles("Flatten")
def flatten(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    axis = int(node.attributes.get("axis", 1))
    axis = axis + len(x.shape) if axis < 0 else axis
    if axis == 0 or prod(x.shape[1:axis]) != 1:
        raise Refused(f"axis {axis} would fold features into the batch")
    reshaped(node, draft, x, (BATCH, prod(x.sample)), 0)


@handles("Reshape")
def reshape(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    wanted = draft.constant(node.inputs[1])
    if wanted is None or wanted.ndim != 1:
        raise Refused("its target shape is no vector")
    target = [int(d) for d in wanted]
    if not node.attributes.get("allowzero", 0):
        target = [x.shape[i] if d == 0 and i < len(x.shape) else d for i, d in enumerate(target)]
    resolved, axis = _place_batch(target, prod(x.sample), draft.file_batch)
    reshaped(node, draft, x, resolved, axis)


def _place_batch(target: list[int], features: int, file_batch: int | None) -> tuple[Shape, int]:
    """The full shape and the batch's axis that a Reshape target means once the batch is free."""
    if target.count(-1) > 1 or any(d < -1 or d == 0 for d in target):
        raise Refused(f"its target shape is {target}")
    known = prod(d for d in target if d not in (-1, BATCH))
    if BATCH in target:
        axis = target.index(BATCH)
    elif target and target[0] == file_batch:
        axis, known = 0, known // target[0]
    elif -1 in target and known == features:
        axis = target.index(-1)
    else:
        raise Refused(f"its target shape {target} leaves no place for the batch of {features} features each")
    sample = [d for i, d in enumerate(target) if i != axis]
    if -1 in sample:
        if features % known:
            raise Refused(f"{features} features do not fit its target shape {target}")
        sample[sample.index(-1)] = features // known
    if prod(sample) != features or prod(sample[:axis]) != 1:
        raise Refused(f"its target shape {readable(tuple(target))} mixes the batch with {features} features")
    return (*sample[:axis], BATCH, *sample[axis:]), axis


@handles("Squeeze")
def squeeze(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    axes = draft.option(node, "axes", 1)
    rank = len(x.shape)
    if axes is None:
        if draft.file_batch == 1:
            raise Refused("without axes it would drop the batch too, which the file fixes at 1")
        dropped = {i for i, d in enumerate(x.shape) if d == 1}
    else:
        dropped = set(resolved_axes(axes, rank))
    if x.axis in dropped or any(x.shape[i] != 1 for i in dropped):
        raise Refused(f"axes {sorted(dropped)} of {readable(x.shape)} are not all of length one")
    kept = [i for i in range(rank) if i not in dropped]
    reshaped(node, draft, x, tuple(x.shape[i] for i in kept), kept.index(x.axis))


@handles("Unsqueeze")
def unsqueeze(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    axes = draft.option(node, "axes", 1)
    if axes is None:
        raise Refused("its axes are missing")
    rank = len(x.shape) + axes.size
    added = resolved_axes(axes, rank)
    rest = iter(x.shape)
    shape = tuple(1 if i in added else next(rest) for i in range(rank))
    reshaped(node, draft, x, shape, shape.index(BATCH))


def reshaped(node: Node, draft: Draft, x: Signal, shape: Shape, axis: int) -> None:
    """Draft the node as a Reshape to a shape of the file, which has the batch at `axis`."""
    sample = shape[:axis] + shape[axis + 1 :]
    if sample == x.sample:
        draft.alias(node.outputs[0], x, shape, axis)
        return
    draft.add(
        Reshape(
            name=layer_name(node), inputs=(x.name,), output=node.outputs[0], in_shapes=(x.sample,), out_shape=sample
        ),
        axis=axis,
    )


def resolved_axes(axes: HostArray, rank: int) -> list[int]:
    """Axes counted from the front. Refused where one does not exist or comes twice."""
    resolved = [int(a) + rank if a < 0 else int(a) for a in np.ravel(axes)]
    if len(set(resolved)) != len(resolved) or any(not 0 <= a < rank for a in resolved):
        raise Refused(f"axes {np.ravel(axes).tolist()} do not fit rank {rank}")
    return resolved
