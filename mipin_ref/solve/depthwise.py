"""Products of a depthwise convolution's regressors, a channel at a time, from lines of the map instead of written rows.

Two taps meet where line j of the signal meets line j + lag. Of two lines all products of their elements are one matrix
product, over samples and lines at once, and each pair of taps along the line takes the sum of a diagonal of it. So for
a kernel of k×k there are 2k products of as many rows as the map is wide, in place of one of k² rows that are written
out; what lies beyond the input is never added, so that sums of squares are none but of squares. Long lines are cut:
diagonals that taps take lie near the middle one, and a piece of the line meets no element far from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.solve.taps import Axis, Tap, axes_of
from mipin_ref.window import Window

Span = tuple[int, int]

PIECE = 14
"""Elements of a line that are multiplied at a time, about: of fewer, small products are no faster."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of a line. left: its locations; right: those that it meets of another line; sums: what sums the diagonals
    of their products, flat [left·right, k·k] or [left·right, k].
    """

    left: slice
    right: slice
    sums: Array


class DepthwiseSums:
    """Z'Z [c, taps, taps] and Z'Y [c, taps, parts], float64, from a signal [n, c, *locations] and y.

    y: [n, parts, c, *size], of two spatial axes; products are of the compute dtype.
    """

    def __init__(
        self,
        backend: Backend,
        window: Window,
        locations: tuple[int, ...],
        size: tuple[int, ...],
        channels: int,
        parts: int,
    ) -> None:
        self._backend, wide = backend, backend.xp.float64
        self._lines, self._along = axes_of([window], [locations], size)
        kernel = window.kernel
        self._zz = backend.zeros((channels, *kernel, *kernel), wide)
        self._zy = backend.zeros((channels, *kernel, parts), wide)
        self._met = _met(self._lines)
        self._own_pieces, self._cross_pieces = (
            [Piece(left, right, backend.put(sums)) for left, right, sums in _pieces(whole)]
            for whole in _sums(self._along, locations[1], size[1])
        )
        self._phases = sorted({self._lines.phase(tap)[0] for tap in self._lines.taps})

    def update(self, s: Array, y: Array) -> None:
        """Add samples, of the compute dtype or of another."""
        (n, channels, count, width), stride = s.shape, self._lines.stride
        # So few channels at a time that their lines and products stay in the cache.
        each = count * n * width + width**2
        step = max(1, self._backend.block_bytes // (2 * self._backend.itemsize * (each or 1)))
        blocks = [slice(start, min(start + step, channels)) for start in range(0, channels, step)]

        def block(some: slice) -> None:
            lines = self._laid(s[:, some, ...], (1, 2, 0, 3))
            phases = {phase: self._laid(y[:, :, some, phase::stride, :], (2, 3, 0, 1, 4)) for phase in self._phases}
            self._own(some, lines)
            self._cross(some, lines, phases)

        for _ in self._backend.each(block, blocks):
            pass

    def _laid(self, a: Array, axes: tuple[int, ...]) -> Array:
        """An array with its axes in another order, of the compute dtype."""
        return self._backend.contiguous(self._backend.xp.permute_dims(a, axes), self._backend.compute)

    def _own(self, some: slice, s: Array) -> None:
        """Products of the signal [c, lines, n, w] with itself."""
        xp = self._backend.xp
        for (lag, first, stop), pairs in self._met.items():
            met = self._diagonals(s[:, first:stop, ...], s[:, first + lag : stop + lag, ...])
            for u, v in pairs:
                self._zz[some, u, :, v, :] += met
                if u != v:
                    self._zz[some, v, :, u, :] += xp.matrix_transpose(met)

    def _cross(self, some: slice, s: Array, phases: dict[int, Array]) -> None:
        """Products of the signal with y by phases [c, lines, n, parts, w]."""
        for tap in self._lines.taps:
            phase, lag = self._lines.phase(tap)
            inside = self._lines.inside(tap)
            y = phases[phase][:, inside.start + lag : inside.stop + lag, ...]
            for part in range(self._zy.shape[3]):
                self._zy[some, tap[1], :, part] += self._summed(
                    self._cross_pieces, s[:, inside, ...], y[:, :, :, part, :]
                )

    def _diagonals(self, a: Array, b: Array) -> Array:
        """Sums over the products of elements of two of its lines [c, l, n, w]: of each pair of taps [c, k, k]."""
        k = len(self._along.starts[0])
        return self._backend.xp.reshape(self._summed(self._own_pieces, a, b), (-1, k, k))

    def _summed(self, pieces: Sequence[Piece], a: Array, b: Array) -> Array:
        """The same of lines [c, l, n, w] and [c, l, n, W], as pieces have it: of pairs or of each tap [c, ..]."""
        xp = self._backend.xp
        parts = []
        for piece in pieces:
            met = _product(xp, a[..., piece.left], b[..., piece.right])
            parts.append(xp.astype(xp.reshape(met, (met.shape[0], -1)) @ piece.sums, xp.float64))
        return sum(parts[1:], start=parts[0])

    def merge(self, other: DepthwiseSums) -> None:
        """Add all samples of other sums of the same problem."""
        self._zz += other._zz
        self._zy += other._zy

    @property
    def shared(self) -> Array:
        """Z'Z [c, taps, taps]."""
        taps = self._zy.shape[1] * self._zy.shape[2]
        return self._backend.xp.reshape(self._zz, (self._zz.shape[0], taps, taps))

    @property
    def crossed(self) -> Array:
        """Z'Y [c, taps, parts]."""
        return self._backend.xp.reshape(self._zy, (self._zy.shape[0], -1, self._zy.shape[3]))


def _product(xp: Any, a: Array, b: Array) -> Array:
    """All products of elements of lines [c, l, n, w] and [c, l, n, W], summed over lines and samples [c, w, W]."""
    left, right = (xp.reshape(one, (one.shape[0], -1, one.shape[-1])) for one in (a, b))
    return xp.matrix_transpose(left) @ right


def _span(axis: Axis, first: Tap, second: Tap, lag: int) -> Span:
    """The locations of the first tap's signal where both taps are inside the input."""
    one, other = axis.inside(first), axis.inside(second)
    return max(one.start, other.start - lag), min(one.stop, other.stop - lag)


def _sums(axis: Axis, width: int, size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What sums the diagonals of products of two lines: ones for each pair of taps [w, w, k·k], where both are in the
    input, and of products with a line of the input for each tap [w, W, k].
    """
    k = len(axis.starts[0])
    own, cross = np.zeros((width, width, k, k)), np.zeros((width, size, k))
    for first in axis.taps:
        inside = np.arange(*_ends(axis.inside(first)))
        cross[inside, inside * axis.stride + axis.starts[0][first[1]], first[1]] = 1
        for second in axis.taps:
            lag = axis.lag(first, second)
            if lag is not None:
                there = np.arange(*_span(axis, first, second, lag))
                own[there, there + lag, first[1], second[1]] = 1
    return own.reshape(width, width, k * k), cross


def _pieces(whole: npt.NDArray[np.float64]) -> Iterator[tuple[slice, slice, npt.NDArray[np.float64]]]:
    """What sums diagonals [w, W, ..] in pieces of the first line that have the same length, but for one: which elements
    of both lines, and what sums their products, flat.
    """
    width = len(whole)
    step = -(-width // max(1, round(width / PIECE)))
    for start in range(0, width, step):
        left = slice(start, min(start + step, width))
        reached = np.flatnonzero(whole[left].any(axis=(0, 2)))
        if len(reached) or (start == 0 and not whole.any()):
            # Where taps read nothing but padding there is one piece all the same, whose sums are zero.
            right = slice(int(reached[0]), int(reached[-1]) + 1) if len(reached) else slice(0, 1)
            yield left, right, whole[left, right].reshape(-1, whole.shape[2])


def _ends(inside: slice) -> Span:
    return inside.start, inside.stop


def _met(axis: Axis) -> dict[tuple[int, int, int], Sequence[tuple[int, int]]]:
    """The pairs of taps that meet at a lag on lines [first, stop), which are cut where the span of any of them ends."""
    spans: dict[int, dict[tuple[int, int], Span]] = defaultdict(dict)
    for first in axis.taps:
        for second in axis.taps:
            lag = axis.lag(first, second)
            if lag is None or lag < 0:
                continue
            span = _span(axis, first, second, lag)
            if span[0] < span[1]:
                spans[lag][first[1], second[1]] = span
    met: dict[tuple[int, int, int], Sequence[tuple[int, int]]] = {}
    for lag, pairs in spans.items():
        for start, stop in pairwise(sorted({end for span in pairs.values() for end in span})):
            inside = [pair for pair, span in pairs.items() if span[0] <= start and stop <= span[1]]
            if inside:
                met[lag, start, stop] = inside
    return met
