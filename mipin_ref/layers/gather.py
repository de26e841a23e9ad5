"""Layers that pick or copy values by constant indices, and those that keep values where a constant mask says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.axis_map import AxisMap, along, emit_along, picking
from mipin_ref.layers.groups import KeepsAxes, Linear, Untrained, Unweighted
from mipin_ref.layers.kind import BackWriter, Cut, Flags, HostArray, Pick, States, Writer
from mipin_ref.layers.leads import picked


@dataclass(frozen=True, eq=False, kw_only=True)
class Gather(Unweighted, Linear, KeepsAxes, Untrained):
    """Along each axis of the sample the entries picks[axis]: some of them, in another order, or several times.

    A signal is put back in its place; what nothing reads gets 0, copies their mean (method, section 10).
    """

    kind = "Gather"
    inverse = "passes"
    inverse_name = "put back, copies averaged"
    joint_name = "Gather"
    intercept = False
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = True
    channels = None
    hands_on = False
    fires = False
    keeps_zero = True
    averages = True
    no_way_back = None
    offset = None
    crops = False
    picks: tuple[Pick, ...]

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return picked(wanted, self.maps)

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        return self.touched

    @cached_property
    def cut(self) -> Cut:
        return tuple(
            range(n) if pick is None else tuple(int(i) for i in pick)
            for pick, n in zip(self.picks, self.in_shape, strict=True)
        )

    def describe(self) -> str:
        picks = zip(self.picks, self.in_shape, strict=True)
        return ", ".join(":" if pick is None else spoken(pick, n) for pick, n in picks)

    def details(self) -> dict[str, Any]:
        return {"picks": tuple(None if pick is None else tuple(int(i) for i in pick) for pick in self.picks)}

    @cached_property
    def maps(self) -> dict[int, AxisMap]:
        """By axis, counted with the batch."""
        picks = zip(self.picks, self.in_shape, strict=True)
        return {axis: picking(pick, n) for axis, (pick, n) in enumerate(picks, 1) if pick is not None}

    def emit(self, writer: Writer) -> None:
        chosen = sorted(self.maps, key=lambda axis: self.maps[axis].length / self.maps[axis].size)
        source = self.input
        for axis in chosen:
            output = self.output if axis == chosen[-1] else writer.inner(f"gathered{axis}")
            index = writer.whole(f"index{axis}", *(int(i) for i in self.maps[axis].index[0]))
            writer.append("Gather", [source, index], output, axis=axis)
            source = output

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return emit_along(writer, signal, len(self.in_shape), {axis: one.mean for axis, one in self.maps.items()})

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return along(backend, signal, {axis: one.mean for axis, one in self.maps.items()})

    @property
    def constant(self) -> HostArray:
        """One [], as every value is taken whole."""
        return np.ones(())

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return along(backend, x, self.maps)

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return along(backend, signal, {axis: one.adjoint for axis, one in self.maps.items()})

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        return emit_along(writer, signal, len(self.in_shape), {axis: one.adjoint for axis, one in self.maps.items()})


def spoken(pick: npt.NDArray[np.int64], length: int) -> str:
    """The entries that are picked, for a table: start:stop:step where they are so far apart each, else a count."""
    steps = {int(b - a) for a, b in pairwise(pick)}
    if len(steps) == 1 and (step := steps.pop()):
        stop = int(pick[-1]) + (1 if step > 0 else -1)
        return f"{int(pick[0])}:{stop if stop >= 0 else ''}:{step}"
    return f"{int(pick[0])}" if len(pick) == 1 else f"{len(pick)} of {length}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Where(Unweighted, KeepsAxes, Untrained):
    """The first input where `mask` is set, elsewhere the second, or `fill` where there is none.

    mask: booleans, fill: numbers, as they broadcast to a sample.
    """

    kind = "Where"
    inverse = "passes"
    inverse_name = "put back"
    joint_name = "Where"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = True
    channels = None
    hands_on = True
    no_way_back = None
    fires = False
    keeps_zero = True
    mask_set: HostArray
    fill: HostArray

    def leads(self, wanted: Flags, slot: int) -> Flags:
        chosen: Flags = np.broadcast_to(self.mask_set, self.out_shape)
        return wanted & (chosen if slot == 0 else ~chosen)

    def never_negative(self, inputs: bool) -> bool:
        return inputs and not bool(np.any(self.fill < 0))

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return f"{int(self.mask_set.sum())} of {self.mask_set.size} set"

    def details(self) -> dict[str, Any]:
        return {"mask": _listed(self.mask_set.astype(int)), "fill": _listed(self.fill)}

    def _kept(self, backend: Backend, slot: int, dtype: Any) -> Array:
        """1 where values of an input stand, else 0."""
        chosen = self.mask_set if slot == 0 else ~self.mask_set
        return backend.xp.astype(backend.put(chosen.astype(np.float64)), dtype, copy=False)

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        x, xp = inputs[0], backend.xp
        other = inputs[1] if len(inputs) > 1 else xp.astype(backend.put(self.fill), x.dtype, copy=False)
        return x * self._kept(backend, 0, x.dtype) + other * self._kept(backend, 1, x.dtype)

    def emit(self, writer: Writer) -> None:
        kept, others = writer.inner("kept"), writer.inner("others")
        writer.append("Mul", [self.inputs[0], writer.weight("mask", self.mask_set[None])], kept)
        if len(self.inputs) > 1:
            writer.append("Mul", [self.inputs[1], writer.weight("rest", ~self.mask_set[None])], others)
        else:
            others = writer.weight("fill", (self.fill * ~self.mask_set)[None])
        writer.append("Add", [kept, others], self.output)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        chosen = self.mask_set if slot == 0 else ~self.mask_set
        return writer.append("Mul", [signal, writer.weight("kept", chosen[None])], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal * self._kept(backend, slot, signal.dtype)


def _listed(values: HostArray) -> Any:
    """An array as tuples of plain numbers."""
    return values.item() if not values.ndim else tuple(_listed(part) for part in values)
