"""Layers of several inputs: their sum, and their values side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.gate import copied, emit_copied
from mipin_ref.layers.groups import KeepsAxes, Untrained, Unweighted
from mipin_ref.layers.kind import BackWriter, Flags, States, Writer
from mipin_ref.layers.leads import of_copies


class _Join(Unweighted, KeepsAxes, Untrained, group=True):
    """A layer without weights that hands its signal to several tensors."""

    inverse = "passes"
    inverse_name = "passes"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    channels = None
    no_way_back = None
    fires = False

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        return self.touched


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(_Join):
    """The sum of two or more tensors; what is broadcast takes the mean of the signals at its copies."""

    kind = "Add"
    joint_name = "Add"
    hands_on = True
    carries = False
    keeps_zero = False

    def describe(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        return {}

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return of_copies(wanted, self.in_shapes[slot])

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        total = inputs[0]
        for other in inputs[1:]:
            total = total + other
        return total

    def emit(self, writer: Writer) -> None:
        writer.node("Sum")

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return emit_copied(writer, signal, self.out_shape, self.in_shapes[slot])

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return copied(backend, signal, self.in_shapes[slot], mean=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(_Join):
    """The inputs side by side. axis: counted with the batch, so never 0."""

    kind = "Concat"
    joint_name = "Concat"
    hands_on = False
    carries = True
    keeps_zero = True
    axis: int

    def describe(self) -> str:
        return f"axis {self.axis}"

    def details(self) -> dict[str, Any]:
        return {"axis": self.axis}

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return wanted[(slice(None),) * (self.axis - 1) + (self._part(slot), ...)]

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return backend.xp.concat(list(inputs), axis=self.axis)

    def emit(self, writer: Writer) -> None:
        writer.node("Concat", axis=self.axis)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        part = self._part(slot)
        ends = writer.whole("begin", part.start), writer.whole("end", part.stop), writer.whole("axis", self.axis)
        return writer.append("Slice", [signal, *ends], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal[(slice(None),) * self.axis + (self._part(slot), ...)]

    def _part(self, slot: int) -> slice:
        """What an input takes of the axis."""
        before = sum(shape[self.axis - 1] for shape in self.in_shapes[:slot])
        return slice(before, before + self.in_shapes[slot][self.axis - 1])
