"""Files that fix their batch at one: which axis is that of the batch is a matter of what reads a tensor.

Of one sample [1, T, C] and [T, 1, C] hold the same numbers in the same order, so that exporters write a Reshape where
they mean that axes change places, and drop the batch, or count it as a step. A tensor whose batch lies where a node
cannot have it is the same tensor with the batch on another axis of length one, or with an axis as rows of a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal
from mipin_ref.graph.node import Node
from mipin_ref.layers import Reshape

UNFIT = (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, MemoryError)
"""What a handler raises where arrays do not fit together."""

Take = Callable[[Node, Draft], None]
"""Drafts a node. Raises Refused where it has no inverse."""


def seated(node: Node, draft: Draft, take: Take, alone: Take) -> None:
    """Draft a node, where it is refused of a batch of one with the batch of its inputs on another axis.

    alone: drafts one whose inputs are samples of which the file has one, without an axis of the batch. Refused, for the
    reason that it is as its inputs stand, where it is in all ways.
    """
    if draft.file_batch != 1:
        take(node, draft)
        return
    mark = _Mark(draft, node)
    try:
        take(node, draft)
        return
    except Refused as reason:
        if reason.too_large:
            raise
        first = reason
    for behind in _places(node, draft):
        mark.back(draft)
        if _taken(node, draft, take, behind):
            return
    mark.back(draft)
    try:
        alone(node, draft)
    except (Refused, *UNFIT):
        mark.back(draft)
        raise first from None


def _taken(node: Node, draft: Draft, take: Take, behind: int) -> bool:
    """Whether a node is drafted of inputs whose batch is the axis so far from the end, where they can have it there."""
    read = {name: draft.signals[name] for name in node.inputs if name in draft.signals}
    moved = {name: _seat(draft, name, x, len(x.shape) - behind) for name, x in read.items() if _may(x, behind)}
    if not moved:
        return False
    draft.signals.update(moved)
    try:
        take(node, draft)
    except (Refused, *UNFIT):
        return False
    finally:
        draft.signals.update(read)
    return True


def _places(node: Node, draft: Draft) -> list[int]:
    """Axes that the batch may be on, counted from the end: first those of length one, then the first of each input."""
    read = [draft.signals[name] for name in node.inputs if name in draft.signals]
    alone = [len(x.shape) - axis for x in read for axis, length in enumerate(x.shape) if length == 1]
    return list(dict.fromkeys([*alone, *(len(x.shape) for x in read if x.axis)]))


def _may(x: Signal, behind: int) -> bool:
    """Whether the batch of a tensor can be put on an axis, counted from the end, where it is not yet."""
    axis = len(x.shape) - behind
    return axis >= 0 and axis != x.axis and (x.shape[axis] == 1 or axis == 0)


def _seat(draft: Draft, name: str, x: Signal, axis: int) -> Signal:
    """A tensor of the file with its batch on another axis, which holds rows of a sample where it is longer than one."""
    lengths = _lengths(x)
    rows = (1, lengths[axis])
    lengths[axis] *= BATCH
    return _as(draft, name, x, Signal(x.name, tuple(lengths), axis, rows=rows))


def whole(draft: Draft, name: str, x: Signal, rank: int) -> Signal:
    """A tensor of the file, that of one sample, as [N, *shape], of so many axes, the batch's included."""
    lengths = _lengths(x)
    return _as(draft, name, x, Signal(x.name, (BATCH, *(1,) * (rank - len(lengths)), *lengths), 0))


def _lengths(x: Signal) -> list[int]:
    """The shape that the file has with one sample."""
    return [prod(x.rows) if axis == x.axis else length for axis, length in enumerate(x.shape)]


def _as(draft: Draft, name: str, x: Signal, other: Signal) -> Signal:
    """A tensor of the file in another layout, by a Reshape where the sample is of another shape."""
    same: Signal | None = x
    while same is not None:
        # What is put back as it was needs no layer.
        if same.sample == other.sample:
            return replace(other, name=same.name)
        same = draft.reshaped.get(same.name)
    key = (name, other.shape, other.axis)
    if key not in draft.seats:
        label = f"{name}:batch {len(draft.seats)}"
        while label in draft.names:
            label += "'"
        draft.add(
            Reshape(name=label, inputs=(x.name,), output=label, in_shapes=(x.sample,), out_shape=other.sample),
            axis=other.axis,
            rows=other.rows,
        )
        draft.seats[key] = replace(other, name=label)
    return draft.seats[key]


class _Mark:
    """How far a draft was in front of a node: tables are longer behind it, as nothing is taken out of them."""

    def __init__(self, draft: Draft, node: Node) -> None:
        self._lengths = {name: len(value) for name, value in vars(draft).items() if isinstance(value, dict | list)}
        self._makers = {name: draft.makers[name] for name in node.outputs if name in draft.makers}
        self._spent, self._alone = replace(draft.spent), draft.alone

    def back(self, draft: Draft) -> None:
        """Take out of the draft what came behind."""
        for name, length in self._lengths.items():
            table = vars(draft)[name]
            while len(table) > length:
                table.popitem() if isinstance(table, dict) else table.pop()
        for name in ("selections", "rows"):
            for made in vars(draft)[name].values():
                made[:] = [layer for layer in made if layer.output in draft.signals]
        vars(draft.spent).update(vars(self._spent))
        draft.makers.update(self._makers)
        draft.alone = self._alone
