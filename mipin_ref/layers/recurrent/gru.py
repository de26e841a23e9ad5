"""The gated recurrent unit: a hidden state that one gate keeps or renews (Cho et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.functions import Pair
from mipin_ref.layers.kind import BackWriter, Writer
from mipin_ref.layers.recurrent.emit import emit_operator
from mipin_ref.layers.recurrent.kind import Recurrent, T


class Renewed(NamedTuple):
    """One step of one direction: gates and candidate, each with its derivative; what the candidate takes of the past
    before the reset gate, or behind it where that comes first, the candidate before its function, the hidden state
    before and after, [n, H] each.
    """

    update: Pair
    reset: Pair
    candidate: Pair
    past: Array
    total: Array
    before: Array
    after: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class GRU(Recurrent):
    """n_t = tanh(a_t + R (r_t ⊙ h_{t-1}) + b), h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}, with gates z, r in this order;
    a: its first input; reset_behind: tanh(a_t + r_t ⊙ (R h_{t-1} + b)) in its place (ONNX's linear_before_reset).

    S(h_t) = S(H_t) + z_{t+1} ⊙ S(h_{t+1}), S(n_t) = (1 - z_t) ⊙ S(h_t) (method, section 10).
    """

    kind = "GRU"
    joint_name = "GRU"
    gates = 2
    reset_behind: bool

    def details(self) -> dict[str, Any]:
        return super().details() | {"reset_behind": self.reset_behind}

    def flows(self, gates: Sequence[T]) -> tuple[T | None, T]:
        return None, gates[0]

    def leaving(self, gates: Sequence[Array]) -> Array:
        return 1 - gates[0]

    def emit_leaving(self, writer: BackWriter, gates: Sequence[str]) -> str:
        return writer.append("Sub", [writer.weight("one", 1.0), gates[0]], "renewed")

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        xp, parts = backend.xp, []
        for direction in range(len(self.reverse)):
            made = self.run(backend, inputs, direction)
            parts.append(xp.stack([made[step].after for step in range(self.steps)], axis=1))
        return xp.concat(parts, axis=-1)

    def run(self, backend: Backend, inputs: Sequence[Array], direction: int) -> dict[int, Renewed]:
        """What is computed at each step."""
        xp, size, part = backend.xp, self.size, self.part(direction)
        a, x = inputs[:2]
        before = xp.broadcast_to(self.initial(backend, inputs, "hidden", direction), (x.shape[0], *self.rows, size))
        recurrence, bias = (backend.put(one)[direction, self.gates, ...] for one in (self.recurrence, self.bias))
        given, own, made = self.given(backend, x, direction), self.own(backend, direction), {}
        for step in self.order(direction):
            gates, slopes = self.opening.pair(xp, given[:, step, ...] + before @ own)
            update, reset = (gates[..., :size], slopes[..., :size]), (gates[..., size:], slopes[..., size:])
            past = (before if self.reset_behind else reset[0] * before) @ recurrence.T + bias
            total = a[:, step, ..., part] + (reset[0] * past if self.reset_behind else past)
            candidate = self.renewing.pair(xp, total)
            after = (1 - update[0]) * candidate[0] + update[0] * before
            made[step] = Renewed(update, reset, candidate, past, total, before, after)
            before = after
        return made

    def emit(self, writer: Writer) -> None:
        emit_operator(self, writer, {"linear_before_reset": int(self.reset_behind)})
