"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import Shared
from mipin_ref.layers.kind import BackWriter, Flags, HostArray, Shape, Writer


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense(Shared):
    """x [n, in] -> x @ weight [in, out] + bias [out]."""

    kind = "Dense"
    inverse_name = "ridge, Eq. 6"
    joint_name = "ridge"
    intercept = True
    sample_rows = True
    rearranges = False
    mixes = True
    carries = False
    channels = None
    hands_on = False
    fires = False
    keeps_zero = False
    axes = None
    no_way_back = None
    averages = False
    output_axis = 1
    room = 0
    columns = 0
    block_axes = ("in", "out")
    weight: HostArray
    bias: HostArray

    @property
    def operations(self) -> float:
        return 2.0 * self.weight.size

    @property
    def work(self) -> int:
        return self.touched + int(self.weight.size)

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return np.full(self.in_shape, np.any(wanted))

    def describe(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        return {}

    def emit(self, writer: Writer) -> None:
        writer.node("Gemm", writer.weight("weight", self.weight), writer.weight("bias", self.bias))

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.append("Gemm", [signal, writer.block(lambda block: block)], "back", transB=1)

    def block_shape(self, *, column: bool) -> Shape:
        return (self.in_shape[0], 1 if column else self.out_shape[0])

    def correlate(self, backend: Backend, x: Array, signal: Array) -> Array:
        return backend.xp.astype(x.T @ signal, backend.xp.float64)

    def workspace_bytes(self, backend: Backend) -> int:
        return 0

    @property
    def offset(self) -> HostArray:
        return self.bias

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return x @ weight

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return signal @ weight.T
