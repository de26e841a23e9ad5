"""The long short-term memory: a cell that gates let in, keep and let out (Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.functions import sigmoid
from mipin_ref.layers.kind import BackWriter, HostArray, Writer
from mipin_ref.layers.recurrent.emit import emit_operator
from mipin_ref.layers.recurrent.kind import Recurrent, T


class Remembered(NamedTuple):
    """One step of one direction [n, H] each: gates, the candidate before and behind its tanh, the cell before and
    after, the hidden state before.
    """

    input: Array
    output: Array
    forget: Array
    total: Array
    candidate: Array
    cell_before: Array
    cell: Array
    before: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class LSTM(Recurrent):
    """g_t = tanh(a_t + R h_{t-1} + b), C_t = f_t ⊙ C_{t-1} + i_t ⊙ g_t, h_t = o_t ⊙ tanh C_t, with gates i, o, f in
    this order; a: its first input.

    S(C_t) = o_t ⊙ S(H_t) + f_{t+1} ⊙ S(C_{t+1}), S(g_t) = i_t ⊙ S(C_t) (method, section 10).
    cell: [D, H] before the first step.
    """

    kind = "LSTM"
    joint_name = "LSTM"
    gates = 3
    cell: HostArray

    @property
    def arrays(self) -> dict[str, HostArray]:
        return super().arrays | {"cell": self.cell}

    def details(self) -> dict[str, Any]:
        return super().details() | {"last": self.last}

    def flows(self, gates: Sequence[T]) -> tuple[T | None, T]:
        _, out, forget = gates
        return out, forget

    def leaving(self, gates: Sequence[Array]) -> Array:
        return gates[0]

    def emit_leaving(self, writer: BackWriter, gates: Sequence[str]) -> str:
        return gates[0]

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        xp, parts = backend.xp, []
        for direction in range(len(self.reverse)):
            made = self.run(backend, inputs, direction)
            steps = [made[step].output * xp.tanh(made[step].cell) for step in range(self.steps)]
            more = [made[self.order(direction)[-1]].cell] if self.last else []
            parts.append(xp.stack([*steps, *more], axis=1))
        return xp.concat(parts, axis=-1)

    def run(self, backend: Backend, inputs: Sequence[Array], direction: int) -> dict[int, Remembered]:
        """What is computed at each step."""
        xp, size, part = backend.xp, self.size, self.part(direction)
        a, x = inputs[:2]
        shape = (x.shape[0], size)
        before = xp.broadcast_to(self.initial(backend, inputs, "hidden", direction), shape)
        cell = xp.broadcast_to(self.initial(backend, inputs, "cell", direction), shape)
        recurrence, bias = (backend.put(one)[direction, self.gates, ...] for one in (self.recurrence, self.bias))
        given, own, made = self.given(backend, x, direction), self.own(backend, direction), {}
        for step in self.order(direction):
            gates = sigmoid(backend.xp, given[:, step, :] + before @ own)
            into, out, forget = (gates[:, k * size : (k + 1) * size] for k in range(3))
            total = a[:, step, part] + before @ recurrence.T + bias
            candidate = xp.tanh(total)
            after = forget * cell + into * candidate
            made[step] = Remembered(into, out, forget, total, candidate, cell, after, before)
            before, cell = out * xp.tanh(after), after
        return made

    def emit(self, writer: Writer) -> None:
        emit_operator(self, writer, {})
