"""Regressors of adjoint convolutions written out side by side, and added to normal equations or kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.solve.adjoint_rows import Region, adjoint_columns, adjoint_rows
from mipin_ref.solve.gram import Accumulator, Gram
from mipin_ref.solve.joint import Solution
from mipin_ref.window import Window

LONG = 2
"""Locations a regressor from which the products of each sample are added by themselves."""

SAMPLE_BYTES = 8 << 20
"""What is written out of one sample then, at most."""


class Im2colGram:
    """Rows of the adjoints written out side by side and added to normal equations, or kept for the dual form.

    slab: how many positions of the first spatial axis are written out at a time; kept: the locations that count, None
    for all.
    """

    def __init__(
        self,
        backend: Backend,
        windows: Sequence[Window],
        size: tuple[int, ...],
        sums: Accumulator,
        slab: int,
        kept: Sequence[int] | None = None,
    ) -> None:
        self._backend, self._windows, self._size, self._sums = backend, windows, size, sums
        self._boxes = [(box, None) for box in _slabs(size, slab)] if kept is None else _boxes(size, slab, kept)
        self._as_they_lie = kept is None and isinstance(sums, Gram) and not sums.intercept

    @property
    def rows(self) -> int:
        return self._sums.rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples: a signal [n, o, *locations] a window, and y [n, width, *size], of the compute dtype or another.

        Where nothing is shifted rows stay columns, as maps lie in memory: to turn them takes as long as their products.
        """
        sums, columns = self._sums, prod(self._size)
        if self._as_they_lie and isinstance(sums, Gram):
            small = self._backend.itemsize * sums.features * columns <= SAMPLE_BYTES
            # A device wants to be filled: it would take many times as many calls, of small products.
            if sums.features * LONG <= columns and small and not self._backend.has_own_memory:
                sums.update_samples(y.shape[0], lambda sample: self._sample(signals, y, sample), self._apart(y))
                return
            if all(window.pointwise for window in self._windows):
                z = [self._turned(signal) for signal in signals]
                joined = z[0] if len(z) == 1 else self._backend.xp.concat(z, axis=0)
                sums.update_columns(joined, self._turned(y), self._apart(y))
                return
        self._rows(signals, y)

    def _apart(self, y: Array) -> Array:
        """The values y [n, width, *size] without their axes of space [n, width, locations]."""
        return self._backend.xp.reshape(y, (*y.shape[:2], -1))

    def _turned(self, a: Array) -> Array:
        """A map [n, c, *size] as columns [c, n·locations], of the compute dtype."""
        turned = self._backend.xp.permute_dims(self._apart(a), (1, 0, 2))
        return self._backend.xp.reshape(self._backend.contiguous(turned, self._backend.compute), (a.shape[1], -1))

    def _sample(self, signals: Sequence[Array], y: Array, sample: int) -> tuple[Array, Array]:
        """The regressors [f, locations] and values [width, locations] of one sample, of the compute dtype."""
        xp, backend, only = self._backend.xp, self._backend, slice(sample, sample + 1)
        parts = [
            adjoint_columns(backend, xp.astype(s[only, ...], backend.compute, copy=False), window, 1, self._size)[
                0, ...
            ]
            for s, window in zip(signals, self._windows, strict=True)
        ]
        values = xp.astype(self._apart(y[only, ...])[0, ...], backend.compute, copy=False)
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0), values

    def _rows(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples by rows."""
        xp, last = self._backend.xp, (0, *range(2, y.ndim), 1)
        *signals, y = (xp.astype(a, self._backend.compute, copy=False) for a in (*signals, y))
        y = xp.permute_dims(y, last)
        spread = [xp.permute_dims(s, last) for s in signals]
        for box, kept in self._boxes:
            rows = [
                adjoint_rows(
                    self._backend,
                    s,
                    window,
                    tuple((a + b, e + b) for (a, e), b in zip(box, window.begin, strict=True)),
                )
                for s, window in zip(spread, self._windows, strict=True)
            ]
            z = rows[0] if len(rows) == 1 else xp.concat(rows, axis=1)
            values = y[(slice(None), *(slice(*span) for span in box), slice(None))]
            if kept is not None:
                index = self._backend.put(kept)
                z, values = (xp.take(xp.reshape(a, (y.shape[0], -1, a.shape[-1])), index, axis=1) for a in (z, values))
                z = xp.reshape(z, (-1, z.shape[-1]))
            self._sums.update(z, xp.reshape(values, (-1, y.shape[-1])))

    def merge(self, other: Im2colGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        self._sums.merge(other._sums)

    def solve(self, ridge: float, columns: Array | None = None, channels: slice = slice(None)) -> Solution:
        """Weights [1, Σ taps·o, m], the windows one after another, taps outermost."""
        return self._sums.solve(ridge, columns, channels)

    def error(self, fitted: Solution, columns: Array | None = None, channels: slice = slice(None)) -> float:
        """Σ(x - x̂)² over these samples of what other sums of the same problem gave."""
        return self._sums.error(fitted, columns, channels)


def _slabs(size: tuple[int, ...], slab: int) -> list[Region]:
    """A map cut along its first axis."""
    whole = tuple((0, n) for n in size[1:])
    return [((start, min(start + slab, size[0])), *whole) for start in range(0, size[0], slab)]


def _boxes(size: tuple[int, ...], slab: int, kept: Sequence[int]) -> list[tuple[Region, npt.NDArray[np.int64] | None]]:
    """The same without what holds no location of `kept`, each with those that it holds, counted within it."""
    places = np.stack(np.unravel_index(np.asarray(kept, np.int64), size), axis=1)
    made: list[tuple[Region, npt.NDArray[np.int64] | None]] = []
    for (start, stop), *_ in _slabs(size, slab):
        here = places[(places[:, 0] >= start) & (places[:, 0] < stop)]
        if not len(here):
            continue
        low, high = here.min(axis=0), here.max(axis=0) + 1
        index = np.ravel_multi_index(tuple((here - low).T), tuple(int(n) for n in high - low))
        made.append((tuple((int(a), int(b)) for a, b in zip(low, high, strict=True)), index.astype(np.int64)))
    return made
