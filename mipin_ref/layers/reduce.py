"""Means and sums over any axes but the batch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import KeepsAxes, Linear, Untrained, Unweighted
from mipin_ref.layers.kind import BackWriter, Flags, HostArray, States, Writer


@dataclass(frozen=True, eq=False, kw_only=True)
class Reduce(Unweighted, Linear, KeepsAxes, Untrained):
    """x -> its mean, or its sum, over `over`, axes counted with the batch, which keep length one.

    The signal is spread over what was averaged, as a GlobalAveragePool's is, before it gets a weight and an intercept a
    channel (method, section 2). total: whether it is the sum.
    """

    kind = "Reduce"
    joint_name = "Reduce"
    inverse = "own"
    inverse_name = "spread over the axes"
    intercept = True
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = True
    hands_on = False
    carries = True
    fires = False
    keeps_zero = False
    averages = True
    no_way_back = None
    offset = None
    over: tuple[int, ...]
    total: bool

    @property
    def channels(self) -> int | None:
        """The axis that it keeps, where that is one."""
        kept = [axis for axis in range(1, len(self.in_shape) + 1) if axis not in self.over]
        return kept[0] if len(kept) == 1 else None

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return np.broadcast_to(wanted, self.in_shape)

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return f"{'sum' if self.total else 'mean'} over axes {', '.join(map(str, self.over))}"

    def details(self) -> dict[str, Any]:
        return {"over": self.over, "total": self.total}

    def emit(self, writer: Writer) -> None:
        writer.node("ReduceSum" if self.total else "ReduceMean", writer.whole("over", *self.over), keepdims=1)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.append("Expand", [signal, writer.whole("expanded", 1, *self.in_shape)], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return backend.xp.broadcast_to(signal, (signal.shape[0], *self.in_shape))

    @property
    def count(self) -> int:
        """How many values each output is made of."""
        return prod(self.in_shape[axis - 1] for axis in self.over)

    @property
    def constant(self) -> HostArray:
        """What each element is taken times []."""
        return np.asarray(1.0 if self.total else 1.0 / self.count)

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return backend.xp.sum(x, axis=self.over, keepdims=True) * weight

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return backend.xp.broadcast_to(signal * weight, (signal.shape[0], *self.in_shape))

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        shares = writer.append("Mul", [signal, writer.weight("share", self.constant)], "shares")
        return writer.append("Expand", [shares, writer.whole("expanded", 1, *self.in_shape)], "back")
