"""The transposed convolution as a kind of layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.conv.adjoint import conv_adjoint
from mipin_ref.layers.conv.emit_adjoint import emit_conv
from mipin_ref.layers.conv.forward import conv_forward, forward_bytes
from mipin_ref.layers.conv.kind import THIN
from mipin_ref.layers.conv.subsampled import AxisPart, axis_parts, locations_of, taps_of, window_of
from mipin_ref.layers.groups import KeepsAxes, Located, Part
from mipin_ref.layers.kind import BackWriter, Flags, HostArray, Shape, Writer
from mipin_ref.layers.leads import of_groups, spread_to
from mipin_ref.layers.padding import padded
from mipin_ref.window import Window


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvTranspose(Located, KeepsAxes):
    """x [n, in, *map] -> the adjoint of a convolution with weight [in, out / groups, *kernel], plus bias [out].

    window: of that convolution, which reads the output. Its inverse is that convolution with a kernel K in place of
    the weight (method, section 10): X̂[m, j] = Σ K[o, m, u] S[o, j·stride - begin + u·dilation].
    """

    kind = "ConvTranspose"
    inverse_name = "conv, as Eq. 7"
    joint_name = "transposed conv"
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
    output_axis = 1
    weight: HostArray
    bias: HostArray
    window: Window
    groups: int

    @property
    def operations(self) -> float:
        return 2.0 * self.weight.size * prod(self.in_shape[1:])

    @property
    def work(self) -> int:
        slow = 1 if self.weight.shape[1] >= THIN else THIN
        return self.touched + slow * prod(self.in_shape) * prod(self.weight.shape[1:])

    @property
    def room(self) -> int:
        return self.out_shape[0] * prod(self.window.padded(self.in_shape[1:], self.out_shape[1:]))

    @property
    def columns(self) -> int:
        return prod(self.weight.shape[1:]) * prod(self.in_shape[1:])

    def leads(self, wanted: Flags, slot: int) -> Flags:
        read = spread_to(of_groups(wanted, self.groups), self.window, self.in_shape[1:])
        return np.repeat(read, self.in_shape[0] // self.groups, axis=0)

    def describe(self) -> str:
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.out_shape[0]}@{self.window.describe()}{groups}"

    def details(self) -> dict[str, Any]:
        return {"window": self.window, "groups": self.groups}

    def emit(self, writer: Writer) -> None:
        geometry = self.window.attributes
        del geometry["kernel_shape"]
        full = zip(self.in_shape[1:], self.window.strides, self.window.extent, strict=True)
        reached = [(n - 1) * s + e for n, s, e in full]
        cropped = zip(self.out_shape[1:], reached, self.window.begin, self.window.end, strict=True)
        more = tuple(n - (r - b - f) for n, r, b, f in cropped)
        constants = writer.weight("weight", self.weight), writer.weight("bias", self.bias)
        writer.node("ConvTranspose", *constants, group=self.groups, output_padding=more, **geometry)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return emit_conv(writer, signal, self.window, self.groups, self.out_shape[1:], self.in_shape[1:])

    def block_shape(self, *, column: bool) -> Shape:
        return self.weight.shape

    @property
    def block_axes(self) -> tuple[str, ...]:
        return ("in", "out / groups", *(f"kernel axis {i}" for i in range(self.weight.ndim - 2)))

    @cached_property
    def _boxes(self) -> tuple[tuple[AxisPart, ...], ...]:
        sizes = zip(self.out_shape[1:], self.in_shape[1:], strict=True)
        return tuple(product(*(axis_parts(self.window, a, *size) for a, size in enumerate(sizes))))

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(window_of(box), locations_of(box), self.out_shape[0]) for box in self._boxes)

    def divided(self, backend: Backend, signal: Array) -> tuple[Array, ...]:
        found = []
        for box in self._boxes:
            read = signal[(slice(None), slice(None), *(part.read for part in box))]
            wanted = locations_of(box)
            if tuple(read.shape[2:]) != wanted:
                framed = backend.zeros((*read.shape[:2], *wanted), read.dtype)
                inside = zip(box, read.shape[2:], strict=True)
                framed[(..., *(slice(part.before, part.before + n) for part, n in inside))] = read
                read = framed
            found.append(read)
        return tuple(found)

    def block_of(self, kernel: HostArray) -> HostArray:
        return self.assembled([kernel])

    def assembled(self, kernels: Sequence[HostArray]) -> HostArray:
        inputs, outputs = self.in_shape[0] // self.groups, self.weight.shape[1]
        block = np.zeros(self.weight.shape)
        for box, kernel in zip(self._boxes, kernels, strict=True):
            taps = kernel.shape[2:]
            parts = kernel.reshape(self.groups, outputs, inputs, *taps).swapaxes(1, 2)
            turned = np.flip(parts.reshape(-1, outputs, *taps), tuple(range(2, kernel.ndim)))
            block[(slice(None), slice(None), *taps_of(box))] = turned
        return block

    def correlate(self, backend: Backend, x: Array, signal: Array) -> Array:
        xp, window, groups, locations = backend.xp, self.window, self.groups, tuple(self.in_shape[1:])
        n, (m, o, *_) = x.shape[0], self.weight.shape
        canvas = padded(backend, signal, window, locations)
        left = xp.permute_dims(xp.reshape(x, (n, groups, m // groups, prod(locations))), (1, 2, 0, 3))
        left = xp.reshape(left, (groups, m // groups, -1))
        products = backend.zeros((window.taps, m, o), xp.float64)
        for tap, offset in enumerate(window.offsets):
            cut = xp.reshape(canvas[(..., *window.spread(offset, locations))], (n, groups, o, prod(locations)))
            right = xp.reshape(xp.permute_dims(cut, (1, 0, 3, 2)), (groups, -1, o))
            products[tap, ...] = xp.astype(xp.reshape(left @ right, (m, o)), xp.float64)
        return xp.reshape(xp.permute_dims(products, (1, 2, 0)), self.weight.shape)

    def workspace_bytes(self, backend: Backend) -> int:
        return forward_bytes(
            backend, self.weight.shape, self.in_shape[1:], self.window, self.groups, self.out_shape[1:]
        )

    @property
    def offset(self) -> HostArray:
        return self.bias.reshape(-1, *(1,) * (len(self.out_shape) - 1))

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return conv_adjoint(backend, x, weight, self.window, self.groups, self.out_shape[1:])

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return conv_forward(backend, signal, weight, self.window, self.groups, self.in_shape[1:])
