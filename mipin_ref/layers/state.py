"""What is met in state alone: of what attention weighs by, and of what these weights are made.

Nothing comes back through these kinds but gradients (method, section 10: the state carries no signal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.layers.groups import KeepsAxes, Untrained, Unweighted
from mipin_ref.layers.kind import BackWriter, Flags, States, Writer


class _State(Unweighted, Untrained, group=True):
    inverse = "passes"
    inverse_name = "state"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = True
    carries = False
    channels = None
    hands_on = False
    fires = False
    keeps_zero = False
    no_way_back = "it is met in state alone, where no signal comes back"

    @property
    def paths(self) -> tuple[int, ...]:
        return ()

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return np.zeros(self.in_shapes[slot], np.bool_)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        raise UnsupportedModel(f"layer {self.name!r} ({self.kind}) has no way back: {self.no_way_back}")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        raise UnsupportedModel(f"layer {self.name!r} ({self.kind}) has no way back: {self.no_way_back}")


@dataclass(frozen=True, eq=False, kw_only=True)
class SoftmaxWeights(_State, KeepsAxes):
    """exp(x) over its sum along `axis`, counted with the batch."""

    kind = "SoftmaxWeights"
    joint_name = "SoftmaxWeights"
    axis: int

    def never_negative(self, inputs: bool) -> bool:
        return True

    @property
    def work(self) -> int:
        return 4 * self.touched

    def describe(self) -> str:
        return f"axis {self.axis}"

    def details(self) -> dict[str, Any]:
        return {"axis": self.axis}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        xp, x = backend.xp, inputs[0]
        powers = xp.exp(x - xp.max(x, axis=self.axis, keepdims=True))
        return powers / xp.sum(powers, axis=self.axis, keepdims=True)

    def derivative(self, backend: Backend, y: Array, signal: Array) -> Array:
        """The gradient by the input, of that by the output y."""
        return y * (signal - backend.xp.sum(y * signal, axis=self.axis, keepdims=True))

    def emit(self, writer: Writer) -> None:
        writer.node("Softmax", axis=self.axis)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores(_State):
    """The matrix product of two tensors [..., a, b] and [..., b, c], whose other axes broadcast."""

    kind = "Scores"
    joint_name = "Scores"
    axes = None

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def operations(self) -> float:
        return 2.0 * prod(self.out_shape) * self.in_shape[-1]

    @property
    def work(self) -> int:
        return self.touched + prod(self.out_shape) * self.in_shape[-1]

    def describe(self) -> str:
        return f"over {self.in_shape[-1]}"

    def details(self) -> dict[str, Any]:
        return {}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return inputs[0] @ inputs[1]

    def emit(self, writer: Writer) -> None:
        writer.node("MatMul")
