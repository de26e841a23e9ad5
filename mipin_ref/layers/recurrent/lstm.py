"""The long short-term memory: a cell that gates let in, keep and let out (Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.layers.functions import Pair
from mipin_ref.layers.kind import BackWriter, HostArray, Recording, Writer
from mipin_ref.layers.recurrent.emit import emit_operator
from mipin_ref.layers.recurrent.emit_peepholes import emit_seeing_gates
from mipin_ref.layers.recurrent.kind import Recurrent, T
from mipin_ref.layers.recurrent.squash import TANH, Squash


class Remembered(NamedTuple):
    """One step of one direction: the gates i, o and f, the candidate and what the cell becomes where it leaves, each
    with its derivative; the candidate before its function, the cell before and after, [n, H] each.
    """

    input: Pair
    output: Pair
    forget: Pair
    candidate: Pair
    leaves: Pair
    total: Array
    cell_before: Array
    cell: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class LSTM(Recurrent):
    """g_t = tanh(a_t + R h_{t-1} + b), C_t = f_t ⊙ C_{t-1} + i_t ⊙ g_t, h_t = o_t ⊙ tanh C_t, with gates i, o, f in
    this order; a: its first input.

    S(C_t) = o_t ⊙ S(H_t) + f_{t+1} ⊙ S(C_{t+1}), S(g_t) = i_t ⊙ S(C_t) (method, section 10).
    Functions other than these stand in `opening`, `renewing` and `leaves`.
    cell: [D, H] before the first step; peepholes: [D, 3, H], what gates i and f add of C_{t-1} and o of C_t (Gers and
    Schmidhuber 2000), which is state as all of a gate is; None where they see no cell.
    """

    kind = "LSTM"
    joint_name = "LSTM"
    gates = 3
    cell: HostArray
    peepholes: HostArray | None = None
    leaves: Squash = TANH

    @property
    def arrays(self) -> dict[str, HostArray]:
        seen = {} if self.peepholes is None else {"peepholes": self.peepholes}
        return super().arrays | {"cell": self.cell} | seen

    def details(self) -> dict[str, Any]:
        return super().details() | {"last": self.last}

    @property
    def functions(self) -> tuple[Squash, ...]:
        return (*super().functions, self.leaves)

    @property
    def usual(self) -> tuple[Squash, ...]:
        return (*super().usual, TANH)

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
            steps = [made[step].output[0] * made[step].leaves[0] for step in range(self.steps)]
            more = [made[self.order(direction)[-1]].cell] if self.last else []
            parts.append(xp.stack([*steps, *more], axis=1))
        return xp.concat(parts, axis=-1)

    def run(self, backend: Backend, inputs: Sequence[Array], direction: int) -> dict[int, Remembered]:
        """What is computed at each step."""
        xp, size, part = backend.xp, self.size, self.part(direction)
        a, x = inputs[:2]
        shape = (x.shape[0], *self.rows, size)
        before = xp.broadcast_to(self.initial(backend, inputs, "hidden", direction), shape)
        cell = xp.broadcast_to(self.initial(backend, inputs, "cell", direction), shape)
        recurrence, bias = (backend.put(one)[direction, self.gates, ...] for one in (self.recurrence, self.bias))
        given, own, made = self.given(backend, x, direction), self.own(backend, direction), {}
        for step in self.order(direction):
            total = a[:, step, ..., part] + before @ recurrence.T + bias
            candidate = self.renewing.pair(xp, total)
            sums = given[:, step, ...] + before @ own
            into, out, forget, after = self.opened(backend, sums, candidate[0], cell, direction)
            leaves = self.leaves.pair(xp, after)
            made[step] = Remembered(into, out, forget, candidate, leaves, total, cell, after)
            before, cell = out[0] * leaves[0], after
        return made

    def opened(
        self, backend: Backend, sums: Array, candidate: Array, cell: Array, direction: int
    ) -> tuple[Pair, Pair, Pair, Array]:
        """Gates i, o, f with their derivatives, and the cell that a step makes, [n, H] each; sums: [n, 3 · H] of
        sequence, hidden state and bias.
        """
        xp, size = backend.xp, self.size
        into, out, forget = (sums[..., k * size : (k + 1) * size] for k in range(3))
        seen = None if self.peepholes is None else backend.put(self.peepholes)[direction, ...]
        if seen is not None:
            into, forget = into + seen[0, :] * cell, forget + seen[2, :] * cell
        let_in, kept = self.opening.pair(xp, into), self.opening.pair(xp, forget)
        after = kept[0] * cell + let_in[0] * candidate
        if seen is not None:
            out = out + seen[1, :] * after
        return let_in, self.opening.pair(xp, out), kept, after

    @property
    def reads(self) -> tuple[Recording, ...]:
        """With peepholes, cells are made anew, and of what the candidate takes too."""
        own: tuple[Recording, ...] = () if self.peepholes is None else (("value", self.inputs[0]),)
        return tuple(dict.fromkeys((*own, *super().reads)))

    def state(self, recorded: Mapping[Recording, HostArray]) -> HostArray:
        """The gates of recorded values; those that see the cell step by step, beside the cells that they make."""
        if self.peepholes is None:
            return super().state(recorded)
        backend = get_backend()
        inputs = [recorded["value", name].astype(np.float64) for name in self.inputs]
        y = recorded["value", self.output].astype(np.float64)
        parts = []
        for direction in range(len(self.reverse)):
            part, made = self.part(direction), np.empty((len(y), self.gates, self.steps, *self.rows, self.size))
            before = self.before(backend, y, inputs, direction)
            sums = self.given(backend, inputs[1], direction) + before @ self.own(backend, direction)
            own = inputs[0][..., part] + before @ self.recurrence[direction, -1].T + self.bias[direction, -1]
            cell = self.initial(backend, inputs, "cell", direction)
            for step in self.order(direction):
                candidate = self.renewing.of(backend.xp, own[:, step])
                *gates, cell = self.opened(backend, sums[:, step], candidate, cell, direction)
                made[:, :, step] = np.stack([gate for gate, _ in gates], axis=1)
            parts.append(made)
        return np.concatenate(parts, axis=-1)

    def emit_state(self, writer: BackWriter, slot: int) -> str:
        return super().emit_state(writer, slot) if self.peepholes is None else emit_seeing_gates(self, writer)

    def emit(self, writer: Writer) -> None:
        emit_operator(self, writer, {})
