"""Constants that the file repeats for each sample, as class tokens are: kept once, the batch of length one."""

from __future__ import annotations

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
}
"""What can be made of such a constant and leaves its axes alone."""

CUTTING = {"Slice", "Split"}
"""What takes parts of one."""

ROWS = {"Gemm", "MatMul"}
"""What makes a row of each row."""

READING = {"Add", "Sub", "Mul", "Div", "Concat", "Shape", "LSTM", "GRU"}
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
        return known and node.op in ("Expand", "ConstantOfShape") and _repeated(node, draft)
    if not known:
        if node.op not in READING:
            raise Refused(f"it reads constant {read[0]!r}, which the file repeats for each sample")
        return False
    if node.op == "Shape":
        return False
    if node.op == "Transpose":
        perm = [int(p) for p in node.attributes["perm"]]
        draft.spread[node.outputs[0]] = perm.index(draft.spread[read[0]])
    elif node.op == "Unsqueeze":
        _unsqueezed(node, draft, read[0])
    elif node.op == "Gather" and node.inputs[0] not in draft.spread:
        table = draft.constants[node.inputs[0]].ndim
        draft.spread[node.outputs[0]] = int(node.attributes.get("axis", 0)) % table + draft.spread[read[0]]
    elif node.op in CUTTING and read == [node.inputs[0]]:
        # Of the batch they cannot cut, where it has length one.
        draft.spread.update(dict.fromkeys(node.outputs, draft.spread[read[0]]))
    elif node.op in ROWS and read == [node.inputs[0]] and _is_rows(node, draft, read[0]):
        draft.spread[node.outputs[0]] = draft.spread[read[0]]
    elif node.op == "Concat" and len({draft.spread.get(name) for name in node.inputs}) == 1:
        axis, rank = draft.spread[read[0]], draft.constants[read[0]].ndim
        if int(node.attributes["axis"]) % rank == axis:
            raise Refused("it joins along the batch")
        draft.spread[node.outputs[0]] = axis
    elif node.op in HANDING_ON:
        rank = max(draft.constants[name].ndim for name in node.inputs)
        axes = {rank - draft.constants[name].ndim + draft.spread[name] for name in read}
        others = [draft.constants[name] for name in node.inputs if name not in read]
        behind = rank - min(axes)
        if len(axes) > 1 or any(one.ndim >= behind and one.shape[-behind] != 1 for one in others):
            raise Refused(f"constant {read[0]!r} is repeated for each sample, and what it meets is not")
        draft.spread[node.outputs[0]] = axes.pop()
    else:
        raise Refused(f"it reads constant {read[0]!r}, which the file repeats for each sample")
    values = fold(node, [draft.constants[name] if name else None for name in node.inputs], draft.opset, draft.spent)
    draft.constants.update(zip(node.outputs, values, strict=True))
    return True


def _is_rows(node: Node, draft: Draft, name: str) -> bool:
    """Whether a product leaves the samples of its first operand apart, [N, ..., D] by [D, H]."""
    last = draft.constants[name].ndim - 1
    return draft.spread[name] < last and draft.constants[node.inputs[1]].ndim == 2 and not node.attributes.get("transA")


def _unsqueezed(node: Node, draft: Draft, name: str) -> None:
    axes = draft.option(node, "axes", 1)
    if axes is None:
        raise Refused("its axes are missing")
    rank = draft.constants[name].ndim + axes.size
    added = {int(axis) % rank for axis in axes.ravel()}
    kept = [axis for axis in range(rank) if axis not in added]
    draft.spread[node.outputs[0]] = kept[draft.spread[name]]


def _repeated(node: Node, draft: Draft) -> bool:
    """An Expand or ConstantOfShape to the number of samples, along an axis that the constant does not have."""
    wanted = draft.constants[node.inputs[-1]]
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        return False
    places = [axis for axis, length in enumerate(wanted) if length and of_batch(int(length))]
    # Rows of samples, several a sample, are no copies for each.
    if len(places) != 1 or wanted[places[0]] != BATCH:
        return False
    (axis,) = places
    if node.op == "Expand":
        shape = draft.constants[node.inputs[0]].shape
        behind = len(wanted) - axis
        if len(shape) > len(wanted) or (len(shape) >= behind and shape[len(shape) - behind] != 1):
            return False
    once = wanted.copy()
    once[axis] = 1
    values = fold(node, [*(draft.constants[name] for name in node.inputs[:-1]), once], draft.opset, draft.spent)
    draft.constants[node.outputs[0]], draft.spread[node.outputs[0]] = values[0], axis
    return True
