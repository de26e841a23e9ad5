"""Sums of each channel alone: of its values and of the regressors that are its own."""

from __future__ import annotations

from itertools import product

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
        xp, (n, parts, channels, length) = self._backend.xp, y.shape
        # So few samples, and of a large one channels, at a time that they stay in the cache in float64.
        room = self._backend.block_bytes // 16
        step, wide = (max(1, room // (parts * many * length or 1)) for many in (channels, 1))
        rows = [slice(start, min(start + step, n)) for start in range(0, n, step)]
        ranges = [slice(start, min(start + wide, channels)) for start in range(0, channels, wide)]
        pairs = [(a, b) for a in range(parts) for b in range(a, parts)]

        for part, some in product(rows, ranges):
            values = xp.astype(y[part, :, some, :], xp.float64, copy=False)
            self._totals[:, some] += xp.sum(values, axis=(0, 3))
            for a, b in pairs:
                added = self._backend.dots(values[:, a, :, :], values[:, b, :, :])
                self._products[a, b, some] += added
                if a != b:
                    self._products[b, a, some] += added
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
