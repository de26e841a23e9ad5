"""A constant scale and shift."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import ElementWise, Linear, Unweighted
from mipin_ref.layers.kind import BackWriter, HostArray, States, Writer


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Unweighted, Linear, ElementWise):
    """x -> x · scale + shift; both of the rank of the per-sample shape, with axes of length one where constant.

    told: the axis of the channels of a batch normalisation, counted with the batch; None of arithmetic with constants.
    """

    kind = "Affine"
    inverse = "own"
    inverse_name = "a weight a channel"
    joint_name = "Affine"
    intercept = True
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = False
    fires = False
    keeps_zero = False
    no_way_back = None
    averages = False
    scale: HostArray
    shift: HostArray
    told: int | None = None

    @property
    def channels(self) -> int | None:
        return self.told

    def never_negative(self, inputs: bool) -> bool:
        return inputs and bool(np.all(self.scale >= 0) and np.all(self.shift >= 0))

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {"scale": self.scale, "shift": self.shift}

    @property
    def operations(self) -> float:
        return float(prod(self.out_shape))

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        return {}

    def emit(self, writer: Writer) -> None:
        scaled = writer.inner("scaled")
        writer.append("Mul", [self.input, writer.weight("scale", self.scale[None])], scaled)
        writer.append("Add", [scaled, writer.weight("shift", self.shift[None])], self.output)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return signal

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal

    @property
    def constant(self) -> HostArray:
        return self.scale

    @property
    def offset(self) -> HostArray:
        return self.shift

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return x * weight

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return signal * weight

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        return writer.append("Mul", [signal, writer.weight("scale", self.scale[None])], "scaled")
