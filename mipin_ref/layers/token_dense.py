"""A fully connected layer that is the same at every location, as on tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import KeepsAxes, Located, Part
from mipin_ref.layers.kind import BackWriter, Flags, HostArray, Mask, Shape, Writer
from mipin_ref.window import Window


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenDense(Located, KeepsAxes):
    """x [n, ..., in, ...] -> x · weight [in, out] + bias [out] along one axis, at each location of the others.

    Its inverse is that of a Dense with one weight for all locations, whose rows are samples × locations (method,
    section 10). axis: of the features, counted with the batch; inner: whether its output is part of what an operator
    computes, and no tensor of the network, which is what has a mask.
    """

    kind = "TokenDense"
    inverse_name = "ridge over locations, Eq. 6"
    joint_name = "ridge over locations"
    intercept = True
    rearranges = False
    mixes = True
    hands_on = False
    carries = False
    fires = False
    keeps_zero = False
    no_way_back = None
    averages = False
    output_axis = 1
    room = 0
    columns = 0
    groups = 1
    block_axes = ("in", "out")
    weight: HostArray
    bias: HostArray
    axis: int
    inner: bool = False

    @property
    def mask(self) -> Mask:  # type: ignore[override]
        return "all" if self.inner else "nonzero"

    @property
    def channels(self) -> int:
        return self.axis

    @cached_property
    def window(self) -> Window:  # type: ignore[override]
        one, none = (1,) * (len(self.in_shape) - 1), (0,) * (len(self.in_shape) - 1)
        return Window(one, one, none, none, one)

    @property
    def parts(self) -> tuple[Part, ...]:
        others = tuple(length for axis, length in enumerate(self.out_shape, 1) if axis != self.axis)
        return (Part(self.window, others, self.out_shape[self.axis - 1]),)

    @property
    def locations(self) -> int:
        """How many of them a sample has."""
        return prod(self.in_shape) // self.in_shape[self.axis - 1]

    @property
    def operations(self) -> float:
        return 2.0 * self.weight.size * self.locations

    @property
    def work(self) -> int:
        return self.touched + int(self.weight.size) * self.locations

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return np.broadcast_to(np.any(wanted, axis=self.axis - 1, keepdims=True), self.in_shape)

    def describe(self) -> str:
        return f"axis {self.axis}, at {self.locations} locations"

    def details(self) -> dict[str, Any]:
        return {"axis": self.axis} | ({"inner": True} if self.inner else {})

    def emit(self, writer: Writer) -> None:
        last = len(self.in_shape)
        product, bias = self.output, None
        if np.any(self.bias):
            product = writer.inner("product")
            bias = writer.weight("bias", self.bias.reshape(-1, *(1,) * (last - self.axis)))
        if self.axis == last:
            writer.append("MatMul", [self.input, writer.weight("weight", self.weight)], product)
        elif self.axis == last - 1:
            writer.append("MatMul", [writer.weight("weight", self.weight.T), self.input], product)
        else:
            there, back = _to_last(self.axis, last), _from_last(self.axis, last)
            turned, made = writer.inner("turned"), writer.inner("made")
            writer.append("Transpose", [self.input], turned, perm=there)
            writer.append("MatMul", [turned, writer.weight("weight", self.weight)], made)
            writer.append("Transpose", [made], product, perm=back)
        if bias is not None:
            writer.append("Add", [product, bias], self.output)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        last = len(self.in_shape)
        if self.axis == last:
            return writer.append("MatMul", [signal, writer.block(lambda block: block.T)], "back")
        if self.axis == last - 1:
            return writer.append("MatMul", [writer.block(lambda block: block), signal], "back")
        turned = writer.append("Transpose", [signal], "turned", perm=_to_last(self.axis, last))
        made = writer.append("MatMul", [turned, writer.block(lambda block: block.T)], "made")
        return writer.append("Transpose", [made], "back", perm=_from_last(self.axis, last))

    def block_shape(self, *, column: bool) -> Shape:
        return self.weight.shape

    def block_of(self, kernel: HostArray) -> HostArray:
        return np.ascontiguousarray(kernel.reshape(kernel.shape[:2]).T)

    def correlate(self, backend: Backend, x: Array, signal: Array) -> Array:
        return backend.xp.astype(self._rows(backend, x).T @ self._rows(backend, signal), backend.xp.float64)

    def workspace_bytes(self, backend: Backend) -> int:
        return 0

    @property
    def offset(self) -> HostArray:
        return self.bias.reshape(-1, *(1,) * (len(self.out_shape) - self.axis))

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return self._times(backend, x, weight)

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return self._times(backend, signal, weight.T)

    def _rows(self, backend: Backend, x: Array) -> Array:
        """x [n, ..., f, ...] -> [n · locations, f]."""
        turned = backend.xp.permute_dims(x, _to_last(self.axis, x.ndim - 1))
        return backend.xp.reshape(turned, (-1, turned.shape[-1]))

    def _times(self, backend: Backend, x: Array, matrix: Array) -> Array:
        xp, last = backend.xp, x.ndim - 1
        around = [length for axis, length in enumerate(x.shape) if axis != self.axis]
        # One product of a tall matrix, not one for each row of a map.
        made = xp.reshape(self._rows(backend, x) @ matrix, (*around, matrix.shape[1]))
        return xp.permute_dims(made, _from_last(self.axis, last))


def _to_last(axis: int, last: int) -> tuple[int, ...]:
    return (*(i for i in range(last + 1) if i != axis), axis)


def _from_last(axis: int, last: int) -> tuple[int, ...]:
    return (*range(axis), last, *range(axis, last))
