"""Views by strides, which torch's dynamo exporter writes as places in one row of all samples.

as_strided becomes Reshape to [-1] and Gather of places n * features + p, where n counts the samples. Where p lies
within a sample, that is a choice of its values, the same of every sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.draft import BATCH, Draft, Signal
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.selections import select_flat
from mipin_ref.graph.ops.shape import reshaped

Indices = npt.NDArray[Any]


@dataclass(frozen=True)
class Counted:
    """Integers that grow with the number n of the sample, the first axis: step * n + start, both [1, ...].

    nodes: the tensors of the file that computed them.
    """

    step: Indices
    start: Indices
    nodes: frozenset[str] = frozenset()


def draft_view(node: Node, draft: Draft) -> bool:
    """Draft a Gather as the choice of values within a sample that it ends. Returns whether it is one."""
    if not node.standard or node.op != "Gather" or int(node.attributes.get("axis", 0)) != 0:
        return False
    row = draft.makers.get(node.inputs[0])
    x = _in_a_row(row, draft)
    if row is None or x is None:
        return False
    features = prod(x.sample)
    value = draft.constants.get(node.inputs[1])
    known = None if value is None else _of_each_sample(value, features, draft.file_batch)
    places = known or _counted(node.inputs[1], draft)
    if places is None or np.any(places.step != features):
        return False
    chosen = places.start[0]
    if np.any((chosen < 0) | (chosen >= features)):
        return False
    draft.absorbed |= {row.outputs[0], *places.nodes}
    if np.array_equal(chosen.ravel(), np.arange(features)):
        reshaped(node, draft, x, (BATCH, *chosen.shape), 0)
    else:
        select_flat(node, draft, x, chosen, 0)
    return True


def _in_a_row(node: Node | None, draft: Draft) -> Signal | None:
    """The tensor whose values, of all samples, a Reshape puts into one row."""
    if node is None or not node.standard or node.op != "Reshape":
        return None
    x, wanted = draft.signals.get(node.inputs[0]), draft.constants.get(node.inputs[1])
    if x is None or x.axis != 0 or not x.floating or wanted is None or wanted.shape != (1,):
        return None
    return x if int(wanted[0]) in (-1, prod(x.shape)) else None


def _counted(name: str, draft: Draft) -> Counted | None:
    """What a tensor of integers is of the number of the sample; None where it is nothing that is known."""
    node = draft.makers.get(name)
    if node is None or not node.standard:
        return None
    if node.op == "Range":
        known = [draft.constants.get(one) for one in node.inputs]
        limits = [None if one is None or one.size != 1 else int(one.item()) for one in known]
        one = np.ones(1, np.int64)
        return Counted(one, 0 * one, frozenset([name])) if limits == [0, BATCH, 1] else None
    made = _computed(node, draft)
    return None if made is None else Counted(made.step, made.start, made.nodes | {name})


def _of_each_sample(value: Indices, features: int, file_batch: int | None) -> Counted | None:
    """A constant that has the places of each of the samples, whose number the file fixes."""
    if value.dtype.kind not in "iu" or value.ndim < 1 or len(value) != file_batch:
        return None
    starts = features * np.arange(len(value)).reshape(-1, *[1] * (value.ndim - 1))
    within = value - starts
    if np.any(within != within[:1]):
        return None
    return Counted(np.full_like(within[:1], features), within[:1])


def _computed(node: Node, draft: Draft) -> Counted | None:
    """The output of a node on numbers of samples and constants, which must leave the samples on the first axis."""
    if node.op in ("Identity", "Cast"):
        return _counted(node.inputs[0], draft)
    if node.op == "Unsqueeze":
        inner, axes = _counted(node.inputs[0], draft), draft.constants.get(node.input(1))
        if inner is None or axes is None or np.any(axes <= 0):
            return None
        shape = iter(inner.step.shape)
        rank = inner.step.ndim + axes.size
        sizes = [1 if axis in axes else next(shape) for axis in range(rank)]
        return Counted(inner.step.reshape(sizes), inner.start.reshape(sizes), inner.nodes)
    if node.op not in ("Add", "Mul"):
        return None
    constants = [draft.constants.get(name) for name in node.inputs]
    if [one is None for one in constants].count(True) != 1:
        return None
    place = 0 if constants[0] is None else 1
    inner, other = _counted(node.inputs[place], draft), constants[1 - place]
    if inner is None or other is None or not _keeps_first_axis(inner, other):
        return None
    if node.op == "Mul":
        return Counted(inner.step * other, inner.start * other, inner.nodes)
    start = inner.start + other
    return Counted(np.broadcast_to(inner.step, start.shape), start, inner.nodes)


def _keeps_first_axis(inner: Counted, other: Indices) -> bool:
    """Whether a constant is broadcast against numbers of samples without another axis becoming the first."""
    rank = inner.step.ndim
    return other.dtype.kind in "iu" and (other.ndim < rank or (other.ndim == rank and other.shape[:1] == (1,)))
