"""Linear maps along one axis, of few entries each way: what resizes, picks and copies along it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.display import OneLine
from mipin_ref.layers.kind import BackWriter

SMALL, MANY = 1 << 12, 16
"""Entries of a matrix that is multiplied as a whole, and terms of one output from which on it is up to LARGE."""

LARGE = 1 << 22


@dataclass(frozen=True, eq=False)
class AxisMap(OneLine):
    """Entry o of the output is Σ weight[t, o] · input[index[t, o]] over terms t.

    index, weight: [terms, out]; size: entries of the input; a term that is not there has weight 0.
    """

    index: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    size: int

    @property
    def terms(self) -> int:
        return len(self.index)

    @property
    def length(self) -> int:
        """Entries of the output."""
        return int(self.index.shape[1])

    @cached_property
    def adjoint(self) -> AxisMap:
        """The transposed map: input i is Σ of what it was given to, with the same weights."""
        outputs = np.broadcast_to(np.arange(self.length), self.index.shape)
        there = self.weight != 0
        read, given, weight = self.index[there], outputs[there], self.weight[there]
        order = np.argsort(read, kind="stable")
        read, given, weight = read[order], given[order], weight[order]
        counts = np.bincount(read, minlength=self.size)
        place = np.arange(len(read)) - np.repeat(np.cumsum(counts) - counts, counts)
        most = max(1, int(counts.max(initial=0)))
        index, weights = np.zeros((most, self.size), np.int64), np.zeros((most, self.size))
        index[place, read], weights[place, read] = given, weight
        return AxisMap(index, weights, self.length)

    @cached_property
    def mean(self) -> AxisMap:
        """The adjoint with weights that add up to 1 for every entry, 0 where it was given to nothing."""
        back = self.adjoint
        total = back.weight.sum(axis=0)
        return AxisMap(back.index, back.weight / np.where(total > 0, total, 1.0), back.size)

    @cached_property
    def matrix(self) -> npt.NDArray[np.float64]:
        """[out, in]."""
        whole = np.zeros((self.length, self.size))
        for index, weight in zip(self.index, self.weight, strict=True):
            np.add.at(whole, (np.arange(self.length), index), weight)
        return whole

    @property
    def dense(self) -> bool:
        """Whether a product with the matrix is the shorter way."""
        entries = self.length * self.size
        return self.terms > 1 and entries <= (LARGE if self.terms > MANY else SMALL)

    def __call__(self, backend: Backend, x: Array, axis: int) -> Array:
        """x [..., size, ...] -> [..., length, ...], along one axis."""
        xp = backend.xp
        if self.dense:
            moved = xp.moveaxis(x, axis, -1)
            found = moved @ xp.astype(backend.put(self.matrix.T), x.dtype, copy=False)
            return xp.moveaxis(found, -1, axis)
        along, total = (-1,) + (1,) * (x.ndim - 1 - axis), None
        for index, weight in zip(self.index, self.weight, strict=True):
            part = xp.take(x, backend.put(index), axis=axis)
            if not np.all(weight == 1):
                part = part * xp.reshape(xp.astype(backend.put(weight), x.dtype, copy=False), along)
            total = part if total is None else total + part
        return total


def picking(index: npt.ArrayLike, size: int) -> AxisMap:
    """Entry o is input[index[o]]."""
    index = np.asarray(index, np.int64)[None]
    return AxisMap(index, np.ones(index.shape), size)


def along(backend: Backend, x: Array, maps: Mapping[int, AxisMap]) -> Array:
    """x with one map after another along its axes, counted with the batch; those that shorten it first."""
    for axis in sorted(maps, key=lambda a: maps[a].length / maps[a].size):
        x = maps[axis](backend, x, axis)
    return x


def emit_along(writer: BackWriter, signal: str, last: int, maps: Mapping[int, AxisMap]) -> str:
    """Write `along` as ONNX, for signals whose last axis has number `last`."""
    for axis in sorted(maps, key=lambda a: maps[a].length / maps[a].size):
        signal = _emit(writer, signal, last, axis, maps[axis])
    return signal


def _emit(writer: BackWriter, signal: str, last: int, axis: int, one: AxisMap) -> str:
    if one.terms == 1:
        index = writer.whole(f"index {axis}", *(int(place) for place in one.index[0]))
        taken = writer.append("Gather", [signal, index], f"taken {axis}", axis=axis)
        if np.all(one.weight == 1):
            return taken
        weight = one.weight[0].reshape(-1, *(1,) * (last - axis))
        return writer.append("Mul", [taken, writer.weight(f"shares {axis}", weight)], f"shared {axis}")
    if axis == last:
        return writer.append("MatMul", [signal, writer.weight(f"matrix {axis}", one.matrix.T)], f"along {axis}")
    if axis == last - 1:
        return writer.append("MatMul", [writer.weight(f"matrix {axis}", one.matrix), signal], f"along {axis}")
    perm = (*(i for i in range(last + 1) if i != axis), axis)
    turned = writer.append("Transpose", [signal], f"turned {axis}", perm=perm)
    made = writer.append("MatMul", [turned, writer.weight(f"matrix {axis}", one.matrix.T)], f"made {axis}")
    back = tuple(int(i) for i in np.argsort(perm))
    return writer.append("Transpose", [made], f"along {axis}", perm=back)
