"""Means over windows and over the whole map: the means themselves, their adjoint, and what the inverse starts from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.layers.conv.emit_adjoint import emit_spread
from mipin_ref.layers.groups import KeepsAxes, Linear, Untrained, Unweighted
from mipin_ref.layers.kind import TAP, BackWriter, Flags, HostArray, States, Writer
from mipin_ref.layers.leads import under_windows
from mipin_ref.layers.padding import padded
from mipin_ref.window import Window


class _Average(Unweighted, Linear, KeepsAxes, Untrained, group=True):
    """A mean over locations, whose signal is spread over them before it gets a weight and an intercept a channel."""

    inverse = "own"
    inverse_name = "spread over the map"
    intercept = True
    cut = None
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

    def never_negative(self, inputs: bool) -> bool:
        return inputs


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePool(_Average):
    """The mean of each window.

    count_include_pad: whether the declared padding counts in the mean; what ceil_mode adds never does.
    """

    kind = "AveragePool"
    joint_name = "AveragePool"
    window: Window
    ceil_mode: bool
    count_include_pad: bool

    @property
    def work(self) -> int:
        return self.touched + TAP * prod(self.out_shape) * self.window.taps

    @property
    def room(self) -> int:
        return self.in_shape[0] * prod(self.window.padded(self.out_shape[1:], self.in_shape[1:]))

    def describe(self) -> str:
        padded = self.count_include_pad and (any(self.window.begin) or any(self.window.end))
        return self.window.describe() + (", ceil" if self.ceil_mode else "") + (", pads count" if padded else "")

    def details(self) -> dict[str, Any]:
        return {"window": self.window, "ceil_mode": self.ceil_mode, "count_include_pad": self.count_include_pad}

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return under_windows(wanted, self.window, self.in_shape[1:])

    def emit(self, writer: Writer) -> None:
        modes = {"ceil_mode": int(self.ceil_mode), "count_include_pad": int(self.count_include_pad)}
        writer.node("AveragePool", **modes, **self.window.attributes)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        size, locations = self.in_shape[1:], self.out_shape[1:]
        cover = _spread(get_backend(), np.ones(locations), self.window, size)
        spread = self._emit_spread(writer, signal)
        shared = writer.append("Mul", [spread, writer.weight("shares", 1 / np.maximum(cover, 1)[None, None])], "shared")
        return writer.append("Reshape", [shared, writer.whole("in shape", -1, *self.in_shape)], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return covering_mean(backend, signal, self.window, self.in_shape[1:])

    @property
    def constant(self) -> HostArray:
        """How many values the mean of each window is divided by [*map]."""
        counts = window_counts(self.window, self.out_shape[1:], self.in_shape[1:], pads=self.count_include_pad)
        return counts.astype(np.float64)

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return average(backend, x, self.window, weight)

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return average_adjoint(backend, signal, self.window, weight, self.in_shape[1:])

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        shares = writer.append("Div", [signal, writer.weight("counts", self.constant[None, None])], "shares")
        spread = self._emit_spread(writer, shares)
        return writer.append("Reshape", [spread, writer.whole("in shape", -1, *self.in_shape)], "back")

    def _emit_spread(self, writer: BackWriter, signal: str) -> str:
        """Write what adds the values of the windows up that cover each location, of every channel by itself."""
        size, locations = self.in_shape[1:], self.out_shape[1:]
        lone = writer.append("Reshape", [signal, writer.whole("a map each", -1, 1, *locations)], "maps")
        ones = writer.weight("ones", np.ones((1, 1, *self.window.kernel)))
        return emit_spread(writer, lone, ones, self.window, locations, size)


@dataclass(frozen=True, eq=False, kw_only=True)
class GlobalAveragePool(_Average):
    """x [n, C, *map] -> the mean over the map [n, C, 1, ...]."""

    kind = "GlobalAveragePool"
    joint_name = "GlobalAveragePool"
    room = 0

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        return {}

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return np.broadcast_to(wanted, self.in_shape)

    def emit(self, writer: Writer) -> None:
        writer.node("GlobalAveragePool")

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.append("Expand", [signal, writer.whole("expanded", 1, *self.in_shape)], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return backend.xp.broadcast_to(signal, (signal.shape[0], *self.in_shape))

    @property
    def constant(self) -> HostArray:
        """How many locations there are []."""
        return np.asarray(float(prod(self.in_shape[1:])))

    def product(self, backend: Backend, x: Array, weight: Array) -> Array:
        return backend.xp.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)

    def adjoint(self, backend: Backend, signal: Array, weight: Array) -> Array:
        return backend.xp.broadcast_to(signal / prod(self.in_shape[1:]), (signal.shape[0], *self.in_shape))

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        shares = writer.append("Div", [signal, writer.weight("count", self.constant)], "shares")
        return writer.append("Expand", [shares, writer.whole("expanded", 1, *self.in_shape)], "back")


def covering_mean(backend: Backend, s: Array, window: Window, size: tuple[int, ...]) -> Array:
    """s [n, C, *map] -> [n, C, *size]: the mean of the values of all windows that cover a location, 0 where none does.

    Whether padding counted in the forward mean makes no difference here: it is one factor a window, and the weights of
    the inverse are fitted.
    """
    xp = backend.xp
    cover = _spread(backend, xp.ones(s.shape[2:], dtype=s.dtype, device=backend.device), window, size)
    return _spread(backend, s, window, size) / xp.maximum(cover, xp.ones_like(cover))


def average(backend: Backend, x: Array, window: Window, counts: Array) -> Array:
    """x [n, C, *size] -> [n, C, *map]: the mean over each window; counts: [*map] from `window_counts`."""
    locations = tuple(counts.shape)
    canvas = padded(backend, x, window, locations)
    total = backend.zeros((*x.shape[:2], *locations), x.dtype)
    for offset in window.offsets:
        total += canvas[(..., *window.spread(offset, locations))]
    return total / counts


def average_adjoint(backend: Backend, s: Array, window: Window, counts: Array, size: tuple[int, ...]) -> Array:
    """s [n, C, *map] -> [n, C, *size]: each location takes its share of every window that covers it."""
    return _spread(backend, s / counts, window, size)


def window_counts(
    window: Window, locations: tuple[int, ...], size: tuple[int, ...], *, pads: bool
) -> npt.NDArray[np.int64]:
    """How many values the mean of each window [*locations] is divided by (ONNX AveragePool).

    pads: whether the declared padding counts; what ceil_mode adds behind it never does.
    """
    counts = np.ones((), np.int64)
    for axis, (places, length) in enumerate(zip(locations, size, strict=True)):
        start = np.arange(places, dtype=np.int64) * window.strides[axis] - window.begin[axis]
        first, last = (-window.begin[axis], length + window.end[axis]) if pads else (0, length)
        # Tap u lies at start + u·dilation: those below `first`, and those below `last`, of the kernel's.
        skipped, reached = (
            np.clip(-((start - end) // window.dilations[axis]), 0, window.kernel[axis]) for end in (first, last)
        )
        counts = counts[..., None] * (reached - skipped)
    return counts


def _spread(backend: Backend, s: Array, window: Window, size: tuple[int, ...]) -> Array:
    """s [..., *map] -> [..., *size]: at each location the sum over the windows that cover it."""
    locations, before = tuple(s.shape[s.ndim - len(size) :]), tuple(s.shape[: s.ndim - len(size)])
    canvas = backend.zeros((*before, *window.padded(locations, size)), s.dtype)
    for offset in window.offsets:
        canvas[(..., *window.spread(offset, locations))] += s
    return canvas[(..., *window.crop(size))]
