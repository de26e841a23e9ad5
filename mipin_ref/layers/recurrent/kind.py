"""What LSTM and GRU have in common: gates of recorded values, and signals that come back from step to step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, TypeVar

import numpy as np

from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.layers.groups import KeepsAxes, Outdone, Stateful
from mipin_ref.layers.kind import ELEMENT, BackWriter, Flags, HostArray, Recording, Shape, States
from mipin_ref.layers.recurrent.emit_back import emit_gates, emit_through_time
from mipin_ref.layers.recurrent.squash import SIGMOID, TANH, Squash, told

T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class Recurrent(Stateful, Outdone, KeepsAxes, group=True):
    """inputs: what the candidate takes of the sequence, W x + b of a TokenDense [T, D·H], the sequence itself [T, C],
    of which the gates are made, and initial states [D, H] that are computed, in the order of `computed`. Where a sample
    holds several sequences, R of the same length, all of these have R as an axis behind the first, [T, R, D·H] as well
    as [D, R, H].

    The output [T, D·H] holds all steps, the D directions side by side, and where `last` asks for it, of an LSTM, the
    last cell as a further row. Signals come back to the candidate alone: gates, the recurrent product and initial
    states are state.
    weight: [D, gates, H, C] of the sequence; recurrence: [D, gates + 1, H, H] of the hidden state and bias: [D, gates +
    1, H], the candidate's behind the gates'; hidden: [D, H] before the first step; reverse: of each direction whether
    it goes from the last step to the first; opening, renewing: the functions of gates and candidate.
    """

    inverse = "passes"
    inverse_name = "gates, step by step"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = True
    carries = False
    hands_on = False
    no_way_back = None
    outdone_by = "integrated-gradients"
    fires = False
    keeps_zero = False
    gates: ClassVar[int]
    weight: HostArray
    recurrence: HostArray
    bias: HostArray
    hidden: HostArray
    reverse: tuple[bool, ...]
    computed: tuple[str, ...] = ()
    last: bool = False
    opening: Squash = SIGMOID
    renewing: Squash = TANH

    @property
    def channels(self) -> int:
        return len(self.out_shape)

    @property
    def rows(self) -> Shape:
        """Sequences of a sample: none, or one axis."""
        return self.in_shape[1:-1]

    @property
    def paths(self) -> tuple[int, ...]:
        return (0,)

    @property
    def steps(self) -> int:
        return self.in_shape[0]

    @property
    def size(self) -> int:
        """Numbers of the hidden state of one direction."""
        return int(self.recurrence.shape[-1])

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {"weight": self.weight, "recurrence": self.recurrence, "bias": self.bias, "hidden": self.hidden}

    @property
    def operations(self) -> float:
        return 2.0 * self.steps * prod(self.rows) * self.parameters

    @property
    def work(self) -> int:
        return self.touched + self.steps * (prod(self.rows) * self.parameters + 8 * ELEMENT * prod(self.in_shape[1:]))

    def never_negative(self, inputs: bool) -> bool:
        return False

    def describe(self) -> str:
        several = f", {prod(self.rows)} sequences" if self.rows else ""
        names = f", {' '.join(one.name for one in self.functions)}" if self.functions != self.usual else ""
        return f"{self.steps} steps, {self.direction}{several}{names}" + (", last cell" if self.last else "")

    @property
    def direction(self) -> str:
        """As ONNX calls it."""
        return "bidirectional" if len(self.reverse) > 1 else "reverse" if self.reverse[0] else "forward"

    def details(self) -> dict[str, Any]:
        other = {} if self.functions == self.usual else {"activations": told(self.functions)}
        return {"reverse": self.reverse, "computed": self.computed, **other}

    @property
    def functions(self) -> tuple[Squash, ...]:
        """All of them, in ONNX's order."""
        return (self.opening, self.renewing)

    @property
    def usual(self) -> tuple[Squash, ...]:
        """Those that ONNX takes where it is told none."""
        return (SIGMOID, TANH)

    def part(self, direction: int) -> slice:
        """What one direction takes of the features."""
        return slice(direction * self.size, (direction + 1) * self.size)

    def order(self, direction: int) -> range:
        """The steps as a direction goes through them."""
        return range(self.steps - 1, -1, -1) if self.reverse[direction] else range(self.steps)

    def initial(self, backend: Backend, inputs: Sequence[Array], name: str, direction: int) -> Array:
        """The state before a direction's first step: [n, H] where it is computed, else [1, H]."""
        if name in self.computed:
            return inputs[2 + self.computed.index(name)][:, direction, ...]
        return backend.put(getattr(self, name))[direction : direction + 1, :]

    def leads(self, wanted: Flags, slot: int) -> Flags:
        """A step leads to itself and to the later ones of its direction, each unit to itself."""
        if slot:
            return np.zeros(self.in_shapes[slot], np.bool_)
        found = np.zeros(self.in_shape, np.bool_)
        for direction in range(len(self.reverse)):
            part, order = self.part(direction), list(self.order(direction))[::-1]
            later = np.logical_or.accumulate(wanted[order, ..., part])
            found[order, ..., part] = later | np.any(wanted[self.steps :, ..., part], axis=0)
        return found

    @property
    def reads(self) -> tuple[Recording, ...]:
        return tuple(("value", name) for name in dict.fromkeys((*self.inputs[1:], self.output)))

    @property
    def state_shape(self) -> Shape:
        return (self.gates, *self.in_shape)

    def state_dtype(self, values: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def state(self, recorded: Mapping[Recording, HostArray]) -> HostArray:
        """The gates [n, gates, T, D·H] of recorded values, in double precision."""
        backend = get_backend()
        inputs = [recorded["value", name].astype(np.float64) for name in self.inputs[1:]]
        y = recorded["value", self.output].astype(np.float64)
        parts = []
        for direction in range(len(self.reverse)):
            before = self.before(backend, y, [y, *inputs], direction)
            total = self.given(backend, inputs[0], direction) + before @ self.own(backend, direction)
            made = self.opening.of(backend.xp, total)
            parts.append(np.moveaxis(made.reshape(*made.shape[:-1], self.gates, self.size), -2, 1))
        return np.concatenate(parts, axis=-1)

    def before(self, backend: Backend, y: HostArray, inputs: Sequence[HostArray], direction: int) -> HostArray:
        """The hidden state before each step [n, T, H] of the output y; inputs: as the layer has them."""
        order, made = self.order(direction), np.empty((len(y), self.steps, *self.rows, self.size))
        made[:, order[0]] = self.initial(backend, inputs, "hidden", direction)
        made[:, order[1:]] = y[:, order[:-1], ..., self.part(direction)]
        return made

    def given(self, backend: Backend, x: Array, direction: int) -> Array:
        """What the gates of one direction take of the sequence x [n, T, C]: W x + b [n, T, gates · H]."""
        xp, count = backend.xp, self.gates * self.size
        weight = xp.reshape(backend.put(self.weight)[direction, ...], (count, -1))
        return x @ weight.T + xp.reshape(backend.put(self.bias)[direction, ...], (-1,))[:count]

    def own(self, backend: Backend, direction: int) -> Array:
        """What they take of the hidden state before is multiplied with [H, gates · H]."""
        whole = backend.xp.reshape(backend.put(self.recurrence)[direction, ...], (-1, self.size))
        return whole[: self.gates * self.size, :].T

    @abstractmethod
    def flows(self, gates: Sequence[T]) -> tuple[T | None, T]:
        """What signals are multiplied with where they enter the cell, None for one, and where they go on to the step
        before; gates: each [n, T, D·H], or the names of such.
        """

    @abstractmethod
    def leaving(self, gates: Sequence[Array]) -> Array:
        """What they are multiplied with where they leave the cell."""

    @abstractmethod
    def emit_leaving(self, writer: BackWriter, gates: Sequence[str]) -> str:
        """Write the same as ONNX."""

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        """From each direction's last step back: S(C_t) = e_t ⊙ S(H_t) + f_{t+1} ⊙ S(C_{t+1}), then l_t ⊙ S(C_t)."""
        xp, gates = backend.xp, states[self.output]
        each = [gates[:, gate, ...] for gate in range(self.gates)]
        (enter, carry), leave = self.flows(each), self.leaving(each)
        entered = signal[:, : self.steps, ...]
        if enter is not None:
            entered = entered * enter
        parts = []
        for direction in range(len(self.reverse)):
            part, flow, found = self.part(direction), None, {}
            later: int | None = None
            for step in reversed(self.order(direction)):
                here = entered[:, step, ..., part]
                if later is not None:
                    here = here + carry[:, later, ..., part] * flow
                elif self.last:
                    here = here + signal[:, self.steps, ..., part]
                flow, later = here, step
                found[step] = flow
            parts.append(xp.stack([found[step] for step in range(self.steps)], axis=1) * leave[..., part])
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)

    def emit_state(self, writer: BackWriter, slot: int) -> str:
        return emit_gates(self, writer)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return emit_through_time(self, writer, signal)
