"""The convolution as a kind of layer."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.conv.adjoint import adjoint_bytes, conv_adjoint
from mipin_ref.layers.conv.emit_adjoint import emit_adjoint
from mipin_ref.layers.conv.forward import conv_forward
from mipin_ref.layers.groups import KeepsAxes, Located
from mipin_ref.layers.kind import BackWriter, Flags, HostArray, Shape, Writer
from mipin_ref.layers.leads import of_groups, under_windows
from mipin_ref.layers.padding import padded
from mipin_ref.window import Window

THIN = 8
"""Output channels of a group below which a convolution is slower, and by how much."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Located, KeepsAxes):
    """x [n, in, *map] -> cross-correlation with weight [out, in / groups, *kernel], plus bias [out]."""

    kind = "Conv"
    inverse_name = "adjoint conv, Eq. 7"
    joint_name = "conv"
    intercept = False
    rearranges = False
    mixes = True
    carries = False
    channels = 1
    hands_on = False
    fires = False
    keeps_zero = False
    no_way_back = None
    averages = False
    output_axis = 0
    weight: HostArray
    bias: HostArray
    window: Window
    groups: int

    @property
    def operations(self) -> float:
        return 2.0 * self.weight.size * prod(self.out_shape[1:])

    @property
    def work(self) -> int:
        # The products of many small groups are small, and slower.
        slow = 1 if self.weight.shape[0] >= THIN * self.groups else THIN
        return self.touched + slow * prod(self.out_shape) * prod(self.weight.shape[1:])

    @property
    def room(self) -> int:
        return self.in_shape[0] * prod(self.window.padded(self.out_shape[1:], self.in_shape[1:]))

    @property
    def columns(self) -> int:
        return 0 if self.window.pointwise else prod(self.weight.shape[1:]) * prod(self.out_shape[1:])

    def leads(self, wanted: Flags, slot: int) -> Flags:
        read = under_windows(of_groups(wanted, self.groups), self.window, self.in_shape[1:])
        return np.repeat(read, self.weight.shape[1], axis=0)

    def describe(self) -> str:
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.weight.shape[0]}@{self.window.describe()}{groups}"

    def details(self) -> dict[str, Any]:
        return {"window": self.window, "groups": self.groups}

    def emit(self, writer: Writer) -> None:
        geometry = self.window.attributes
        del geometry["kernel_shape"]
        constants = writer.weight("weight", self.weight), writer.weight("bias", self.bias)
        writer.node("Conv", *constants, group=self.groups, **geometry)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        sizes = self.weight.shape, self.out_shape[1:], self.in_shape[1:]
        return emit_adjoint(writer, signal, self.window, self.groups, *sizes)

    def block_shape(self, *, column: bool) -> Shape:
        return self.weight.shape

    @property
    def block_axes(self) -> tuple[str, ...]:
        return ("out", "in / groups", *(f"kernel axis {i}" for i in range(self.weight.ndim - 2)))

    def block_of(self, kernel: HostArray) -> HostArray:
        return kernel

    def correlate(self, backend: Backend, x: Array, signal: Array) -> Array:
        xp = backend.xp
        window, groups, locations = self.window, self.groups, tuple(self.out_shape[1:])
        n, (o, m, *_) = x.shape[0], self.weight.shape
        canvas = padded(backend, x, window, locations)
        left = xp.permute_dims(xp.reshape(signal, (n, groups, o // groups, prod(locations))), (1, 2, 0, 3))
        left = xp.reshape(left, (groups, o // groups, -1))
        products = backend.zeros((window.taps, o, m), xp.float64)
        for tap, offset in enumerate(window.offsets):
            cut = xp.reshape(canvas[(..., *window.spread(offset, locations))], (n, groups, m, prod(locations)))
            right = xp.reshape(xp.permute_dims(cut, (1, 0, 3, 2)), (groups, -1, m))
            products[tap, ...] = xp.astype(xp.reshape(left @ right, (o, m)), xp.float64)
        return xp.reshape(xp.permute_dims(products, (1, 2, 0)), self.weight.shape)

    def workspace_bytes(self, backend: Backend) -> int:
        return adjoint_bytes(
            backend, self.weight.shape, self.out_shape[1:], self.window, self.groups, self.in_shape[1:]
        )

    @property
    def offset(self) -> HostArray:
        return self.bias.reshape(-1, *(1,) * (len(self.out_shape) - 1))

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return conv_forward(backend, x, weight, self.window, self.groups, self.out_shape[1:])

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return conv_adjoint(backend, signal, weight, self.window, self.groups, self.in_shape[1:])
