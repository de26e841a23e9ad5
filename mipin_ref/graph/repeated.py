"""Constants that are copied for every sample of a batch, as exporters make the initial states of recurrent layers."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, of_batch
from mipin_ref.graph.fold import fold
from mipin_ref.graph.limits import TooLarge
from mipin_ref.graph.node import Node
from mipin_ref.layers import HostArray

COPYING = {"ConstantOfShape": 0, "Expand": 1}
"""Operators that copy a constant to a shape, and which of their inputs that is."""
KEEPING = frozenset({"Slice", "Identity", "Cast", "Split"})
"""Operators that keep each axis in its place; of the batch they cannot cut, where it has length one."""
STATEFUL = frozenset({"LSTM", "GRU"})
"""Operators whose initial states may be such."""


def repeated(node: Node, draft: Draft) -> bool:
    """Whether a node makes constants that are copied for every sample; these are kept with one copy.

    Refused where it reads such a constant and is no operator that knows what to do with it.
    """
    try:
        if _taken(node, draft):
            return True
    except TooLarge as error:
        raise Refused(str(error), too_large=True) from error
    for name in node.inputs if node.op not in STATEFUL else ():
        if name in draft.repeated:
            raise Refused(f"input {name!r} holds a constant for every sample, as many values as the batch has samples")
    return False


def _taken(node: Node, draft: Draft) -> bool:
    if not node.standard or any(name in draft.signals for name in node.inputs):
        return False
    if node.op in COPYING:
        shape = draft.constants.get(node.input(COPYING[node.op]))
        if shape is None or shape.ndim != 1 or shape.dtype.kind not in "iu":
            return False
        if sum(of_batch(int(d)) for d in shape) != 1 or node.inputs[0] not in draft.constants:
            return False
        (axis,) = (i for i, d in enumerate(shape) if of_batch(int(d)))
        given = draft.constants[node.inputs[0]]
        # One value for all samples, not one for each; and not rows of samples.
        before = given.ndim - (len(shape) - axis)
        alike = node.op == "ConstantOfShape" or before < 0 or given.shape[before] == 1
        if shape[axis] != BATCH or not alike:
            return False
        one = np.array([1 if i == axis else d for i, d in enumerate(shape)], np.int64)
        known: list[HostArray | None] = [one] if node.op == "ConstantOfShape" else [given, one]
        draft.repeated.update(zip(node.outputs, fold(node, known, draft.opset, draft.spent), strict=True))
        return True
    if node.op in KEEPING and node.inputs and node.inputs[0] in draft.repeated:
        rest = [draft.constants.get(name) if name else None for name in node.inputs[1:]]
        if any(name and value is None for name, value in zip(node.inputs[1:], rest, strict=True)):
            return False
        made = fold(node, [draft.repeated[node.inputs[0]], *rest], draft.opset, draft.spent)
        draft.repeated.update(zip(node.outputs, made, strict=True))
        return True
    return False
