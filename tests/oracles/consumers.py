"""What reads a tensor, as the joint inverse counts it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.oracles.design import is_state
from tests.oracles.spec import Activation, Gather, Op, Slice


@dataclass(frozen=True)
class Consumer:
    """One term of a tensor's reconstruction: an op at one of its inputs, or disjoint Slices together.

    parts: the op, or the Slices in execution order; slot: which of the op's inputs the tensor is.
    """

    parts: tuple[Op, ...]
    slot: int

    @property
    def op(self) -> Op:
        """The op, or the first of the Slices."""
        return self.parts[0]


def taken(op: Slice | Gather, axis: int) -> set[int] | None:
    """The entries of an axis that are read, None for all of them."""
    if isinstance(op, Slice):
        return set(range(op.begin[axis], op.end[axis]))
    pick = op.picks[axis]
    return None if pick is None else set(pick)


def disjoint(first: Slice | Gather, second: Slice | Gather) -> bool:
    """Whether no element is read by both."""
    rank = len(first.begin if isinstance(first, Slice) else first.picks)
    pairs = [(taken(first, axis), taken(second, axis)) for axis in range(rank)]
    return any(a is not None and b is not None and a.isdisjoint(b) for a, b in pairs)


def consumers_of(ops: Sequence[Op], name: str) -> list[Consumer]:
    """The consumers of a tensor among ops, in execution order, slots ascending.

    Slices whose boxes are pairwise disjoint are one consumer, in the place of the first of them: put side by side,
    their signals are one signal of the tensor. Where two boxes overlap each Slice is a consumer of its own.
    """
    readers = [
        (op, slot) for op in ops for slot, read in enumerate(op.inputs) if read == name and not is_state(op, slot)
    ]
    slices = tuple(op for op, _ in readers if isinstance(op, Slice | Gather))
    together = all(disjoint(first, second) for first, second in itertools.combinations(slices, 2))
    found = []
    for op, slot in readers:
        if not (together and isinstance(op, Slice | Gather)):
            found.append(Consumer((op,), slot))
        elif op is slices[0]:
            found.append(Consumer(slices, slot))
    return found


def without_copies(ops: Sequence[Op]) -> tuple[list[Op], dict[str, str]]:
    """The ops without Identity and Dropout, and the tensor that each output of these two is another name of."""
    kept: list[Op] = []
    copies: dict[str, str] = {}
    for op in ops:
        inputs = tuple(copies.get(name, name) for name in op.inputs)
        if isinstance(op, Activation) and op.kind in ("Identity", "Dropout"):
            copies[op.output] = inputs[0]
        else:
            kept.append(op if inputs == op.inputs else replace(op, inputs=inputs))  # type: ignore[arg-type]
    return kept, copies
