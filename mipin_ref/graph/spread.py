"""Constants that the file repeats for each sample, as class tokens are: kept once, the batch of length one.

Where rows of each sample are folded into the batch, as masks of windows are, it is as long as there are rows.
"""

from __future__ import annotations

from math import prod

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, of_batch
from mipin_ref.graph.fold import fold
from mipin_ref.graph.node import Node

HANDING_ON = {
    "Cast",
    "Identity",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Neg",
    "Dropout",
    "Equal",
    "Not",
    "Where",
    "Greater",
    "Less",
    "Sigmoid",
    "Tanh",
    "And",
    "Or",
    "GreaterOrEqual",
    "LessOrEqual",
    "Max",
    "Min",
    "Exp",
    "Log",
    "Abs",
    "Clip",
    "Sqrt",
    "Relu",
    "Sin",
    "Cos",
    "Erf",
    "Floor",
    "Pow",
    "QuantizeLinear",
    "DequantizeLinear",
}
"""What can be made of such a constant and leaves its axes alone."""

CUTTING = {"Slice", "Split"}
"""What takes parts of one."""

ALONG = {"Softmax", "LayerNormalization", "CumSum"}
"""What works along axes of which the batch must not be one."""

ROWS = {"Gemm", "MatMul"}
"""What makes a row of each row."""

REDUCING = {"ReduceL2", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"}
"""What works along axes of which the batch must not be one, and may drop them."""

IN_TIME = {"LSTM", "GRU", "RNN", "ReverseSequence"}
"""What works along the steps of a sequence: it reads one as a state that it begins at, or as lengths."""

READING = {"Add", "Sub", "Mul", "Div", "Concat", "Where", "MatMul", "Attention"} | IN_TIME
"""Operators that may read one beside a tensor that depends on the input."""


def draft_spread(node: Node, draft: Draft) -> bool:
    """Fold a node that repeats a constant for each sample, or reads one that is. Returns whether it is folded.

    Refused where it is an operator that does not leave samples apart.
    """
    if not node.standard or node.has_subgraph:
        return False
    read = [name for name in node.inputs if name in draft.spread]
    known = all(not name or name in draft.constants for name in node.inputs)
    if not read:
        return known and node.op in ("Expand", "ConstantOfShape", "Tile") and _repeated(node, draft)
    if not known:
        if node.op not in READING or (node.op == "MatMul" and not _beside(node, draft, read[0])):
            raise Refused(f"it reads constant {read[0]!r}, which the file repeats for each sample")
        return False
    if node.op == "Shape":
        _shape(node, draft, read[0])
        return True
    if node.op == "Reshape" and read == [node.inputs[0]]:
        _reshaped(node, draft, read[0])
        return True
    if node.op == "Expand" and read == [node.inputs[0]]:
        _expanded(node, draft, read[0])
        return True
    if node.op == "Transpose":
        perm = [int(p) for p in node.attributes["perm"]]
        draft.spread[node.outputs[0]] = perm.index(draft.spread[read[0]])
    elif node.op == "Unsqueeze":
        _unsqueezed(node, draft, read[0])
    elif node.op == "Gather" and node.inputs[0] not in draft.spread:
        table = draft.constants[node.inputs[0]].ndim
        draft.spread[node.outputs[0]] = int(node.attributes.get("axis", 0)) % table + draft.spread[read[0]]
    elif node.op == "Squeeze" and read == [node.inputs[0]]:
        _squeezed(node, draft, read[0])
    elif node.op in ALONG and read == [node.inputs[0]] and _keeps_apart(node, draft, read[0]):
        draft.spread[node.outputs[0]] = draft.spread[read[0]]
    elif node.op in CUTTING and read == [node.inputs[0]] and _leaves_batch(node, draft, read[0]):
        draft.spread.update(dict.fromkeys(node.outputs, draft.spread[read[0]]))
    elif node.op in ROWS and read == [node.inputs[0]] and _is_rows(node, draft, read[0]):
        draft.spread[node.outputs[0]] = draft.spread[read[0]]
    elif node.op == "Conv" and read == [node.inputs[0]] and not draft.spread[read[0]]:
        draft.spread[node.outputs[0]] = 0
    elif node.op == "MatMul" and len(read) == 2 and _products_apart(node, draft):
        draft.spread[node.outputs[0]] = max(draft.spread[name] for name in read)
    elif node.op in REDUCING and read == [node.inputs[0]]:
        _reduced(node, draft, read[0])
    elif node.op == "Concat" and len({draft.spread.get(name) for name in node.inputs}) == 1:
        axis, rank = draft.spread[read[0]], draft.constants[read[0]].ndim
        if int(node.attributes["axis"]) % rank == axis:
            raise Refused("it joins along the batch")
        draft.spread[node.outputs[0]] = axis
    elif node.op in HANDING_ON:
        # A bound of a Clip may be left out.
        given = [name for name in node.inputs if name]
        rank = max(draft.constants[name].ndim for name in given)
        axes = {rank - draft.constants[name].ndim + draft.spread[name] for name in read}
        others = [draft.constants[name] for name in given if name not in read]
        behind = rank - min(axes)
        if len(axes) > 1 or any(one.ndim >= behind and one.shape[-behind] != 1 for one in others):
            raise Refused(f"constant {read[0]!r} is repeated for each sample, and what it meets is not")
        draft.spread[node.outputs[0]] = axes.pop()
    else:
        raise Refused(f"it reads constant {read[0]!r}, which the file repeats for each sample")
    values = fold(node, [draft.constants[name] if name else None for name in node.inputs], draft.opset, draft.spent)
    draft.constants.update(zip(node.outputs, values, strict=True))
    return True


def _beside(node: Node, draft: Draft, name: str) -> bool:
    """Whether the other operand of a product has its samples on the same axis, none of the last two."""
    behind = draft.constants[name].ndim - draft.spread[name]
    others = [draft.signals[one] for one in node.inputs if one in draft.signals]
    return behind > 2 and all(len(other.shape) - other.axis == behind for other in others)


def _leaves_batch(node: Node, draft: Draft, name: str) -> bool:
    """Whether a Slice or a Split cuts along other axes than the batch. Where that has length one they cannot cut it."""
    value, axis = draft.constants[name], draft.spread[name]
    if value.shape[axis] == 1:
        return True
    if node.op == "Split":
        return int(node.attributes.get("axis", 0)) % value.ndim != axis
    starts, axes = draft.option(node, "starts", 1), draft.option(node, "axes", 3)
    cut = range(0 if starts is None else starts.size) if axes is None else axes.ravel()
    return starts is not None and axis not in {int(one) % value.ndim for one in cut}


def _shape(node: Node, draft: Draft, name: str) -> None:
    """The lengths that it has in the file."""
    lengths = list(draft.constants[name].shape)
    lengths[draft.spread[name]] *= BATCH
    begin, end = node.attributes.get("start", 0), node.attributes.get("end", len(lengths))
    draft.constants[node.outputs[0]] = np.array(lengths[begin:end], np.int64)


def _reshaped(node: Node, draft: Draft, name: str) -> None:
    """Rows of each sample go into the batch, or out of it."""
    value, axis = draft.constants[name], draft.spread[name]
    lengths = [int(one) for one in draft.constants[node.inputs[1]].ravel()]
    if not node.attributes.get("allowzero", 0):
        lengths = [
            value.shape[place] * (BATCH if place == axis else 1) if one == 0 else one
            for place, one in enumerate(lengths)
        ]
    if lengths.count(-1) == 1:
        rest = -prod(lengths)
        lengths[lengths.index(-1)] = value.size * BATCH // rest if rest else 0
    places = [place for place, one in enumerate(lengths) if one and of_batch(one)]
    if (
        len(places) != 1
        or prod(lengths) != value.size * BATCH
        or prod(lengths[: places[0]]) != prod(value.shape[:axis])
    ):
        raise Refused(f"it reads constant {name!r}, which the file repeats for each sample")
    (place,) = places
    lengths[place] //= BATCH
    draft.constants[node.outputs[0]] = value.reshape(lengths)
    draft.spread[node.outputs[0]] = place


def _expanded(node: Node, draft: Draft, name: str) -> None:
    value = draft.constants[name]
    wanted = np.array(draft.constants[node.inputs[1]]).ravel()
    more = len(wanted) - value.ndim
    axis = draft.spread[name] + max(more, 0)
    rows = value.shape[draft.spread[name]]
    asked = wanted[axis - max(-more, 0)] if axis + min(more, 0) >= 0 else 1
    if asked not in (1, rows * BATCH) or sum(of_batch(int(one)) for one in wanted if one) > 1:
        raise Refused(f"it reads constant {name!r}, which the file repeats for each sample")
    wanted = np.where(wanted == asked, rows, wanted) if asked != 1 else wanted
    values = fold(node, [value, wanted], draft.opset, draft.spent)
    draft.constants[node.outputs[0]], draft.spread[node.outputs[0]] = values[0], axis


def _is_rows(node: Node, draft: Draft, name: str) -> bool:
    """Whether a product leaves the samples of its first operand apart, [N, ..., D] by [D, H]."""
    last = draft.constants[name].ndim - 1
    return draft.spread[name] < last and draft.constants[node.inputs[1]].ndim == 2 and not node.attributes.get("transA")


def _keeps_apart(node: Node, draft: Draft, name: str) -> bool:
    """Whether an operator along an axis leaves the samples apart."""
    rank = draft.constants[name].ndim
    if node.op == "CumSum":
        return int(draft.constants[node.inputs[1]].item()) % rank != draft.spread[name]
    usual = 1 if node.op == "Softmax" and draft.opset < 13 else -1
    axis = int(node.attributes.get("axis", usual)) % rank
    if node.op == "Softmax" and draft.opset >= 13:
        return axis != draft.spread[name]
    return axis > draft.spread[name]


def _products_apart(node: Node, draft: Draft) -> bool:
    """Whether a product of two such constants leaves the samples apart: both have them at one place in front of the
    matrices.
    """
    places = {draft.constants[name].ndim - draft.spread[name] for name in node.inputs}
    return len(places) == 1 and min(places) > 2


def _reduced(node: Node, draft: Draft, name: str) -> None:
    axes, rank = draft.option(node, "axes", 1), draft.constants[name].ndim
    over = {int(axis) % rank for axis in axes.ravel()} if axes is not None and axes.size else set(range(rank))
    if draft.spread[name] in over:
        raise Refused("it reduces over the batch")
    gone = 0 if node.attributes.get("keepdims", 1) else sum(axis < draft.spread[name] for axis in over)
    draft.spread[node.outputs[0]] = draft.spread[name] - gone


def _squeezed(node: Node, draft: Draft, name: str) -> None:
    axes, value = draft.option(node, "axes", 1), draft.constants[name]
    if axes is None:
        raise Refused("its axes are missing")
    gone = {int(axis) % value.ndim for axis in axes.ravel()}
    if draft.spread[name] in gone:
        raise Refused("it drops the axis of the batch")
    draft.spread[node.outputs[0]] = draft.spread[name] - sum(axis < draft.spread[name] for axis in gone)


def _unsqueezed(node: Node, draft: Draft, name: str) -> None:
    axes = draft.option(node, "axes", 1)
    if axes is None:
        raise Refused("its axes are missing")
    rank = draft.constants[name].ndim + axes.size
    added = {int(axis) % rank for axis in axes.ravel()}
    kept = [axis for axis in range(rank) if axis not in added]
    draft.spread[node.outputs[0]] = kept[draft.spread[name]]


def _as_many(node: Node, draft: Draft, axis: int, place: int) -> bool:
    """An Expand of what the file holds for each of the samples that it is for, as states of zeros are: kept once where
    it is the same for all. axis: of the batch in what it makes; place: in what it repeats.
    """
    value, wanted = draft.constants[node.inputs[0]], draft.constants[node.inputs[1]].copy()
    rows = int(wanted[axis]) // BATCH
    if draft.file_batch is None or value.shape[place] != rows * draft.file_batch:
        return False
    apart = np.moveaxis(value, place, 0)
    if np.any(apart != apart[:1]):
        return False
    once = np.moveaxis(np.repeat(apart[:1], rows, axis=0), 0, place)
    wanted[axis] = rows
    values = fold(node, [once, wanted], draft.opset, draft.spent)
    draft.constants[node.outputs[0]], draft.spread[node.outputs[0]] = values[0], axis
    return True


def _repeated(node: Node, draft: Draft) -> bool:
    """An Expand, Tile or ConstantOfShape to the number of samples, along an axis that the constant does not have."""
    wanted = draft.constants[node.inputs[-1]]
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        return False
    places = [axis for axis, length in enumerate(wanted) if length and of_batch(int(length))]
    if len(places) != 1:
        return False
    (axis,) = places
    if node.op == "Tile" and draft.constants[node.inputs[0]].shape[axis : axis + 1] != (1,):
        return False
    if node.op == "Expand":
        shape = draft.constants[node.inputs[0]].shape
        behind = len(wanted) - axis
        if len(shape) > len(wanted):
            return False
        if len(shape) >= behind and shape[len(shape) - behind] != 1:
            return _as_many(node, draft, axis, len(shape) - behind)
    # Rows of a sample that are folded into the batch each have one.
    once = wanted.copy()
    once[axis] //= BATCH
    values = fold(node, [*(draft.constants[name] for name in node.inputs[:-1]), once], draft.opset, draft.spent)
    draft.constants[node.outputs[0]], draft.spread[node.outputs[0]] = values[0], axis
    return True
