"""Resizing a map: every output location is a weighted mean of input locations, the same along each axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.axis_map import AxisMap, along, emit_along
from mipin_ref.layers.groups import KeepsAxes, Linear, Untrained, Unweighted
from mipin_ref.layers.kind import BackWriter, Flags, HostArray, States, Writer
from mipin_ref.layers.leads import resized

MODES = ("nearest", "linear")
COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
"""What ONNX calls them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Resize(Unweighted, Linear, KeepsAxes, Untrained):
    """x [n, C, *map] -> [n, C, *out], nearest or linear.

    mode, coordinates, rounding: as ONNX names them; scales: of the axes of the map, as the file states them; None
    where it states sizes, whose quotients they are; tie: how near to a half, in locations, a place counts as one where
    halves are rounded, which is onnxruntime's own affair.
    A location takes the mean of what it was spread to, weighted as forward, before it gets a weight and an intercept a
    channel (method, section 10).
    """

    kind = "Resize"
    inverse = "own"
    inverse_name = "mean of what it was spread to"
    joint_name = "Resize"
    intercept = True
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = True
    carries = True
    channels = 1
    hands_on = False
    fires = False
    keeps_zero = False
    averages = True
    no_way_back = None
    offset = None
    mode: str
    coordinates: str
    rounding: str
    scales: tuple[float, ...] | None
    tie: float

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return resized(wanted, self.maps)

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        return int(self.touched * 2 ** (len(self.in_shape) - 1))

    @property
    def operations(self) -> float:
        return 2.0 * prod(self.out_shape) * sum(one.terms for one in self.maps.values())

    def describe(self) -> str:
        sizes = "×".join(map(str, self.out_shape[1:]))
        return f"{self.mode} to {sizes}, {self.coordinates}" + (f", {self.rounding}" if self.mode == "nearest" else "")

    def details(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "coordinates": self.coordinates,
            "rounding": self.rounding,
            "scales": self.scales,
        }

    @cached_property
    def maps(self) -> dict[int, AxisMap]:
        """By axis, counted with the batch, of those that change."""
        sizes = zip(self.in_shape[1:], self.out_shape[1:], strict=True)
        found = {}
        for axis, (size, length) in enumerate(sizes, 2):
            scale = None if self.scales is None else self.scales[axis - 2]
            if size != length or scale not in (None, 1):
                found[axis] = axis_map(self.mode, self.coordinates, self.rounding, size, length, scale, self.tie)
        return found

    def emit(self, writer: Writer) -> None:
        options = {"mode": self.mode, "coordinate_transformation_mode": self.coordinates, "nearest_mode": self.rounding}
        if self.scales is not None:
            scales = writer.weight("scales", (1.0, 1.0, *self.scales))
            writer.append("Resize", [self.input, "", self._single(writer, scales)], self.output, **options)
            return
        shape, batch, sizes = (writer.inner(role) for role in ("shape", "batch", "sizes"))
        writer.append("Shape", [self.input], shape, end=1)
        batch = shape
        writer.append("Concat", [batch, writer.whole("sample", *self.out_shape)], sizes, axis=0)
        writer.append("Resize", [self.input, "", "", sizes], self.output, **options)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return emit_along(writer, signal, len(self.in_shape), {axis: one.mean for axis, one in self.maps.items()})

    @staticmethod
    def _single(writer: Writer, scales: str) -> str:
        """The scales in single precision, as the operator takes no others."""
        single = writer.inner("single")
        writer.append("Cast", [scales], single, to=1)
        return single

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return along(backend, signal, {axis: one.mean for axis, one in self.maps.items()})

    @property
    def constant(self) -> HostArray:
        """One []: the weights are those of the geometry."""
        return np.ones(())

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return along(backend, x, self.maps)

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return along(backend, signal, {axis: one.adjoint for axis, one in self.maps.items()})

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        return emit_along(writer, signal, len(self.in_shape), {axis: one.adjoint for axis, one in self.maps.items()})


def axis_map(
    mode: str, coordinates: str, rounding: str, size: int, length: int, scale: float | None, tie: float = 0.0
) -> AxisMap:
    """Which of `size` locations each of `length` is made of; scale: None for the quotient; tie: as Resize has it.

    For nearest the coordinates are in single precision, as onnxruntime's are: it decides between neighbours. For
    linear they are exact to double precision; between neighbours the weights pass into each other.
    """
    if mode == "nearest":
        place = _original(coordinates, size, length, scale, np.float32)
        index = np.clip(_rounded(rounding, place, tie), 0, size - 1)[None]
        return AxisMap(index, np.ones(index.shape), size)
    place = np.clip(_original(coordinates, size, length, scale, np.float64), 0, size - 1)
    first = np.minimum(place.astype(np.int64), size - 1)
    second = np.minimum(first + 1, size - 1)
    share = np.where(first == second, 0.5, place - first)
    return AxisMap(np.stack([first, second]), np.stack([1 - share, share]), size)


def _original(coordinates: str, size: int, length: int, scale: float | None, real: Any) -> npt.NDArray[np.floating]:
    """Where each location lies in the input, in the precision `real`."""
    there, half, n, count = np.arange(length).astype(real), real(0.5), real(size), real(length)
    by = count / n if scale is None else real(scale)
    match coordinates:
        case "asymmetric":
            return np.asarray(there / by)
        case "align_corners":
            return np.asarray(there * (n - 1) / max(count - 1, real(1)))
        case "pytorch_half_pixel" if length == 1:
            return np.zeros(1, real)
        case _:
            return np.asarray((there + half) / by - half)


def _rounded(rounding: str, place: npt.NDArray[np.floating], tie: float) -> npt.NDArray[np.int64]:
    down, up = np.floor(place), np.ceil(place)
    # Exact: a place and the whole number below it differ by less than one, in no finer steps than the place has.
    over = place - down
    half, more = np.abs(over - 0.5) <= tie, over > 0.5
    found = {
        "floor": down,
        "ceil": up,
        "round_prefer_ceil": down + (half | more),
        "round_prefer_floor": down + (more & ~half),
    }
    return np.asarray(found[rounding].astype(np.int64))
