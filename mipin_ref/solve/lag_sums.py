"""Sums of products of maps at every lag that is asked for, by way of their spectra."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.solve.fourier import Transform, halved, lag_tables

TILE = 64
"""Channels that are multiplied at a time: their products at all frequencies of a block must stay near the processor."""

LEAST_BLOCKS = 8
"""Into which frequencies are cut, however many threads share them: sums must not depend on that."""

Lag = tuple[int, ...]


class LagSums:
    """R(l)[a, b] = Σ a[n, j] b[n, j + l] over samples n and locations j, for signals with one another and with others.

    sizes, channels: of each of the signals, which take part side by side; lags: of signals, per axis; others: of each
    further map that signals, but not the maps themselves, are correlated with: size, channels and lags per axis.
    length: of the circle, an axis, on which no lag that is asked for meets another. Products are of `dtype`, sums
    float64.
    """

    def __init__(
        self,
        backend: Backend,
        sizes: Sequence[tuple[int, ...]],
        channels: Sequence[int],
        lags: Sequence[Sequence[int]],
        length: tuple[int, ...],
        others: Sequence[tuple[tuple[int, ...], int, Sequence[Sequence[int]]]] = (),
    ) -> None:
        self._backend, self._length, self._channels = backend, length, sum(channels)
        self._signals = [Transform(backend, size, length, backend.compute) for size in sizes]
        self._others = [Transform(backend, size, length, backend.compute) for size, _, _ in others]
        # Of two opposite lags one is kept: the other's products are the same, transposed.
        half = [*lags[:-1], [lag for lag in lags[-1] if lag >= 0]] if lags else []
        self._lags = _numbered(half)
        self._other_lags = [_numbered(asked) for _, _, asked in others]
        wide = backend.xp.float64
        self._sums = backend.zeros((len(self._lags), self._channels, self._channels), wide)
        self._other_sums = [
            backend.zeros((len(numbered), self._channels, width), wide)
            for numbered, (_, width, _) in zip(self._other_lags, others, strict=True)
        ]
        each = 2 * prod(length[:-1]) * self._channels * TILE * backend.itemsize
        blocks = halved(length)
        step = max(1, min(backend.block_bytes // each, -(-blocks // LEAST_BLOCKS)))
        self._ranges = [(i, min(i + step, blocks)) for i in range(0, blocks, step)]
        self._tables = [
            [self._table(numbered, *r) for r in self._ranges] for numbered in (self._lags, *self._other_lags)
        ]

    def _table(self, lags: dict[Lag, int], first: int, stop: int) -> tuple[Array, Array]:
        cos, sin = lag_tables(list(lags), self._length, first, stop)
        return self._backend.put(cos), self._backend.put(sin)

    def update(self, signals: Sequence[Array], others: Sequence[Array] = ()) -> None:
        """Add samples: signals [n, c, *size] and others [n, w, *size], of the compute dtype."""
        samples = signals[0].shape[0]
        rows = [transform.rows(a) for transform, a in zip(self._signals, signals, strict=True)]
        other_rows = [transform.rows(a) for transform, a in zip(self._others, others, strict=True)]

        def block(number: int) -> list[tuple[Array, tuple[slice, slice], Array]]:
            first, stop = self._ranges[number]
            parts = [t.spectra(r, first, stop, samples) for t, r in zip(self._signals, rows, strict=True)]
            mine = parts[0] if len(parts) == 1 else self._backend.xp.concat(parts, axis=3)
            products = self._own_products(mine, *self._tables[0][number])
            for transform, r, total, tables in zip(
                self._others, other_rows, self._other_sums, self._tables[1:], strict=True
            ):
                theirs = transform.spectra(r, first, stop, samples)
                products += self._cross_products(mine, theirs, total, *tables[number])
            return products

        for block_products in self._backend.each(block, range(len(self._ranges))):
            for total, (a, b), products in block_products:
                total[:, a, b] += self._backend.xp.astype(products, total.dtype)

    def _own_products(self, spectra: Array, cos: Array, sin: Array) -> list[tuple[Array, tuple[slice, slice], Array]]:
        xp, products, tiles = self._backend.xp, [], _tiles(self._channels)
        for i, a in enumerate(tiles):
            even, odd = _products(self._backend, spectra[:, :, :, a], None, cos, sin)
            products.append((self._sums, (a, a), even + odd - xp.matrix_transpose(odd)))
            for b in tiles[i + 1 :]:
                even, odd = _products(self._backend, spectra[:, :, :, a], spectra[:, :, :, b], cos, sin)
                products.append((self._sums, (a, b), even + odd))
                products.append((self._sums, (b, a), xp.matrix_transpose(even - odd)))
        return products

    def _cross_products(
        self, spectra: Array, other: Array, total: Array, cos: Array, sin: Array
    ) -> list[tuple[Array, tuple[slice, slice], Array]]:
        products = []
        for a in _tiles(self._channels):
            for b in _tiles(total.shape[2]):
                even, odd = _products(self._backend, spectra[:, :, :, a], other[:, :, :, b], cos, sin)
                products.append((total, (a, b), even + odd))
        return products

    def merge(self, other: LagSums) -> None:
        """Add all samples of other sums of the same problem."""
        self._sums += other._sums
        for mine, theirs in zip(self._other_sums, other._other_sums, strict=True):
            mine += theirs

    def among(self, lag: Lag) -> Array:
        """R(lag) of the signals with one another [c, c]."""
        if lag in self._lags:
            return self._sums[self._lags[lag], ...]
        return self._sums[self._lags[tuple(-step for step in lag)], ...].T

    def with_other(self, number: int, lag: Lag) -> Array:
        """R(lag) of the signals with one of the others [c, w]."""
        return self._other_sums[number][self._other_lags[number][lag], ...]


def _products(backend: Backend, a: Array, b: Array | None, cos: Array, sin: Array) -> tuple[Array, Array]:
    """Two spectra [f, 2, n, c] multiplied at every frequency and taken to lags: even and odd part [lags, c, c'].

    b: None for a itself, of whose odd part the half is returned that its own transpose is to be taken off.
    """
    xp = backend.xp
    count, parts, n, wide = a.shape
    flat = xp.reshape(a, (count, parts * n, wide))
    left = xp.matrix_transpose(flat)
    right = flat if b is None else xp.reshape(b, (count, parts * n, b.shape[3]))
    shape = (-1, wide, right.shape[2])
    even = xp.reshape(cos @ xp.reshape(left @ right, (count, -1)), shape)
    if parts == 1:
        return even, xp.zeros_like(even)
    odd = xp.matrix_transpose(a[:, 1, :, :]) @ right[:, :n, :]
    if b is not None:
        odd = odd - xp.matrix_transpose(a[:, 0, :, :]) @ right[:, n:, :]
    return even, xp.reshape(sin @ xp.reshape(odd, (count, -1)), shape)


def _numbered(lags: Sequence[Sequence[int]]) -> dict[Lag, int]:
    return {lag: number for number, lag in enumerate(product(*lags))}


def _tiles(channels: int) -> list[slice]:
    return [slice(i, min(i + TILE, channels)) for i in range(0, channels, TILE)]
