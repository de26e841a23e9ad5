"""The max-pool: recorded switches put each value back where it came from (paper, Eq. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import KeepsAxes, Switched, Untrained
from mipin_ref.layers.kind import TAP, BackWriter, Flags, States, Writer
from mipin_ref.layers.leads import under_windows
from mipin_ref.layers.switches import emit_switches, emit_unpool
from mipin_ref.window import Window


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(Switched, KeepsAxes, Untrained):
    """x [n, C, *map] -> the maximum of each window."""

    kind = "MaxPool"
    inverse = "passes"
    inverse_name = "unpooling, Eq. 8"
    joint_name = "MaxPool"
    intercept = False
    cut = None
    columns = 0
    rearranges = False
    mixes = True
    carries = True
    channels = 1
    hands_on = False
    no_way_back = None
    fires = False
    keeps_zero = True
    window: Window
    ceil_mode: bool

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return under_windows(wanted, self.window, self.in_shape[1:])

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        return self.touched + TAP * prod(self.out_shape) * self.window.taps

    @property
    def room(self) -> int:
        return self.in_shape[0] * prod(self.window.padded(self.out_shape[1:], self.in_shape[1:]))

    def describe(self) -> str:
        return self.window.describe() + (", ceil" if self.ceil_mode else "")

    def details(self) -> dict[str, Any]:
        return {"window": self.window, "ceil_mode": self.ceil_mode}

    def emit(self, writer: Writer) -> None:
        writer.node("MaxPool", ceil_mode=int(self.ceil_mode), **self.window.attributes)

    def emit_state(self, writer: BackWriter, slot: int) -> str:
        return emit_switches(
            writer, self.input, self.output, self.window, self.in_shape, self.out_shape, self.ceil_mode
        )

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return emit_unpool(writer, signal, self.window, self.in_shape, self.out_shape)

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        xp, locations = backend.xp, self.out_shape[1:]
        canvas = xp.full(
            (*inputs[0].shape[:2], *self.window.padded(locations, self.in_shape[1:])),
            -inf,
            dtype=inputs[0].dtype,
            device=backend.device,
        )
        canvas[(..., *self.window.crop(self.in_shape[1:]))] = inputs[0]
        cuts = [canvas[(..., *self.window.spread(offset, locations))] for offset in self.window.offsets]
        most = cuts[0]
        for cut in cuts[1:]:
            most = xp.maximum(most, cut)
        return most

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return unpool(backend, signal, states[self.output], self.window, self.in_shape[1:])

    @property
    def tap_dtype(self) -> np.dtype[Any]:
        return self.window.tap_dtype

    def adjoint(self, backend: Backend, signal: Array, taps: Array) -> Array:
        return unpool(backend, signal, taps, self.window, self.in_shape[1:], overlaps="sum")

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        return emit_unpool(writer, signal, self.window, self.in_shape, self.out_shape, overlaps="sum")

    def taps(self, switches: npt.NDArray[np.int64]) -> npt.NDArray[np.integer[Any]]:
        return winning_taps(switches, self.window, self.in_shape)


def winning_taps(
    switches: npt.NDArray[np.int64], window: Window, in_shape: tuple[int, ...]
) -> npt.NDArray[np.integer[Any]]:
    """onnxruntime's flat indices over n·C·map as the kernel tap, counted in C order, that won each window.

    switches: [n, C, *map]; in_shape: per-sample shape [C, *size] of the pool's input.
    """
    # Half as wide where they fit, and no remainders: the quotients of an axis leave them.
    kind = np.int32 if len(switches) * prod(in_shape) < 1 << 31 else np.int64
    rest: npt.NDArray[np.integer[Any]] = switches.astype(kind)
    taps, weight = np.zeros_like(rest), 1
    for axis in reversed(range(len(window.kernel))):
        size, dilation = in_shape[1 + axis], window.dilations[axis]
        above = rest // size
        start = np.arange(switches.shape[2 + axis]).astype(kind) * window.strides[axis] - window.begin[axis]
        tap = rest - above * size - start.reshape((-1,) + (1,) * (len(window.kernel) - 1 - axis))
        taps += (tap if dilation == 1 else tap // dilation) * weight
        rest, weight = above, weight * window.kernel[axis]
    return taps.astype(window.tap_dtype)


def unpool(
    backend: Backend,
    s: Array,
    taps: Array,
    window: Window,
    size: tuple[int, ...],
    *,
    overlaps: Literal["mean", "sum"] = "mean",
) -> Array:
    """Each value of s [n, C, *map] at the location that its window chose, zero elsewhere.

    taps: [n, C, *map] from winning_taps; overlaps: what a location chosen by several windows gets of their values, in
    an inverse the mean, in the adjoint (a gradient) the sum. Returns [n, C, *size].
    """
    xp = backend.xp
    n, channels, *locations = s.shape
    padded = window.padded(tuple(locations), size)
    canvas = backend.zeros((n, channels, *padded), s.dtype)
    # What is put back is still in the cache when the next tap is.
    chunk = max(1, backend.block_bytes // (backend.itemsize * channels * prod(padded)))
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        values, won = s[rows, ...], taps[rows, ...]
        mean = window.overlapping and overlaps == "mean"
        counts = backend.zeros((values.shape[0], channels, *padded), s.dtype) if mean else None
        for tap, offset in enumerate(window.offsets):
            where = (slice(None), *window.spread(offset, tuple(locations)))
            chosen = xp.astype(won == tap, s.dtype)
            if window.overlapping:
                canvas[(rows, *where)] += values * chosen
            else:
                canvas[(rows, *where)] = values * chosen
            if counts is not None:
                counts[(slice(None), *where)] += chosen
        if counts is not None:
            canvas[rows, ...] /= xp.maximum(counts, xp.ones_like(counts))
    return canvas[(slice(None), slice(None), *window.crop(size))]
