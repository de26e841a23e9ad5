"""Sums of each channel alone: of its values and of the regressors that are its own."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData


class ChannelSums:
    """Σ y_a y_b and Σ y_a per channel, y_0 being the value x and y_1.. its own regressors (skip branches and the like).

    parts: 1 + how many own regressors. Everything is summed, and multiplied, in float64: these are few products, and
    what their means leave after centring may be small.
    """

    def __init__(self, backend: Backend, channels: int, parts: int) -> None:
        wide = backend.xp.float64
        self._backend = backend
        self.rows = 0
        self._products = backend.zeros((parts, parts, channels), wide)
        self._totals = backend.zeros((parts, channels), wide)

    def update(self, y: Array) -> None:
        """Add y [n, parts, channels, locations]."""
        xp, (n, parts, *_) = self._backend.xp, y.shape
        # So few samples at a time that what is made of them in float64 stays in the cache.
        step = max(1, self._backend.block_bytes // (64 * prod(y.shape[1:]) or 1))
        pairs = [(a, b) for a in range(parts) for b in range(a, parts)]

        def summed(start: int) -> tuple[Array, list[Array]]:
            some = xp.astype(y[start : min(start + step, n), ...], xp.float64, copy=False)
            products = [self._backend.dots(some[:, a, :, :], some[:, b, :, :]) for a, b in pairs]
            return xp.sum(some, axis=(0, 3)), products

        starts = range(0, n, step)
        # Threads are worth their start where there are many steps; the order of what is added is the same.
        for totals, products in self._backend.each(summed, starts) if len(starts) > 1 else map(summed, starts):
            self._totals += totals
            for (a, b), product in zip(pairs, products, strict=True):
                self._products[a, b, :] += product
                if a != b:
                    self._products[b, a, :] += product
        self.rows += n * y.shape[3]

    def merge(self, other: ChannelSums) -> None:
        """Add all rows of other sums of the same problem."""
        if other._totals.shape != self._totals.shape:
            raise InvalidData("only sums of the same problem can be merged")
        self._products += other._products
        self._totals += other._totals
        self.rows += other.rows

    @property
    def means(self) -> Array:
        """[parts, channels]."""
        return self._totals / self.rows

    def products(self, *, centred: bool) -> Array:
        """[parts, parts, channels]."""
        if not centred:
            return self._products
        return self._products - self._totals[:, None, :] * self.means[None, :, :]
