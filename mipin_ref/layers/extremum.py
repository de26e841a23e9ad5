"""The larger or the smaller of several tensors: the recorded winner takes the signal (method, section 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import ElementWise, Stateful, Untrained
from mipin_ref.layers.kind import BackWriter, HostArray, Recording, Shape, States, Writer


@dataclass(frozen=True, eq=False, kw_only=True)
class Extremum(Stateful, ElementWise, Untrained):
    """Element-wise "Max" or "Min" of tensors of one shape; of equals the first wins."""

    kind = "Extremum"
    inverse = "passes"
    inverse_name = "to the operand that won"
    joint_name = "Extremum"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = True
    channels = None
    no_way_back = None
    fires = False
    keeps_zero = False
    function: Literal["Max", "Min"]

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return self.function

    def details(self) -> dict[str, Any]:
        return {"function": self.function}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        xp = backend.xp
        best = inputs[0]
        for other in inputs[1:]:
            best = xp.maximum(best, other) if self.function == "Max" else xp.minimum(best, other)
        return best

    def emit(self, writer: Writer) -> None:
        writer.node(self.function)

    def emit_state(self, writer: BackWriter, slot: int) -> str:
        """Ones [n, *out_shape] where operand `slot` won: better than those before it, as good as those behind."""
        mine, won = writer.value(self.inputs[slot]), ""
        for other, name in enumerate(self.inputs):
            if other == slot:
                continue
            theirs = writer.value(name)
            # Those behind win where they are better, those before where they are not worse.
            sides = [theirs, mine] if other > slot else [mine, theirs]
            better = writer.append("Greater" if self.function == "Max" else "Less", sides, f"better {other}")
            chosen = better if other < slot else writer.append("Not", [better], f"kept {other}")
            won = writer.append("And", [won, chosen], f"both {other}") if won else chosen
        return writer.ones(won, "won")

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.times(signal, writer.state(), self.out_shape)

    @property
    def reads(self) -> tuple[Recording, ...]:
        return tuple(("value", name) for name in dict.fromkeys(self.inputs))

    def state(self, recorded: Mapping[Recording, HostArray]) -> HostArray:
        """Which operand won, counted from 0."""
        return self.winners([recorded["value", name] for name in self.inputs])

    def winners(self, values: Sequence[HostArray]) -> HostArray:
        """Which of the values [n, *out_shape], one an operand, won each place."""
        best, won = values[0], np.zeros(values[0].shape, self.state_dtype(values[0].dtype))
        for number, other in enumerate(values[1:], 1):
            better = other > best if self.function == "Max" else other < best
            best, won = np.where(better, other, best), np.where(better, won.dtype.type(number), won)
        return won

    @property
    def state_shape(self) -> Shape:
        return self.out_shape

    def state_dtype(self, values: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.min_scalar_type(len(self.inputs) - 1))

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal * backend.xp.astype(states[self.output] == slot, signal.dtype)
