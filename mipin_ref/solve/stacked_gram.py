"""Grouped convolutions of few regressors a group, depthwise ones above all: every group in one stack of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.adjoint_rows import adjoint_columns
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.depthwise import DepthwiseSums
from mipin_ref.solve.joint import Moments, Solution
from mipin_ref.window import Window

WIDEST = 1 << 20
"""Elements of what sums products of lines, above which rows are written out instead."""


class StackedGram:
    """The normal equations of `groups` problems of `features` regressors each, rows written out.

    kept: the locations that count, None for all.
    """

    def __init__(
        self,
        backend: Backend,
        windows: Sequence[Window],
        size: tuple[int, ...],
        locations: Sequence[tuple[int, ...]],
        features: int,
        inputs: int,
        groups: int,
        own: int,
        *,
        intercept: bool,
        kept: Sequence[int] | None = None,
    ) -> None:
        self._backend, self._windows, self._size = backend, windows, size
        self._kept = None if kept is None else backend.put(np.asarray(kept, np.int64))
        self._groups, self._parts, self._intercept = groups, 1 + own, intercept
        self._signal = prod(locations[0])
        wide = backend.xp.float64
        self._zz = backend.zeros((groups, features, features), wide)
        self._zy = backend.zeros((groups, features, self._parts * inputs // groups), wide)
        self._z = backend.zeros((groups, features), wide)
        self._channels = ChannelSums(backend, inputs, self._parts)
        self._lines: DepthwiseSums | None = None
        alone = inputs == groups and len(windows) == 1 and features == windows[0].taps and len(size) == 2
        if alone and kept is None and not intercept and size[1] * locations[0][1] * features <= WIDEST:
            self._lines = DepthwiseSums(backend, windows[0], locations[0], size, groups, self._parts)

    @property
    def sample_elements(self) -> int:
        """What is held of a sample while it is added: its rows, or of lines, which are cut from a few channels at a
        time, those of two.
        """
        size, features, values = prod(self._size), int(self._zz.shape[1]), int(self._zy.shape[2])
        if self._lines is not None:
            return min(2, self._groups) * (self._signal + self._parts * size)
        return self._groups * max(features, values) * size

    @property
    def rows(self) -> int:
        return self._channels.rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples: a signal [n, o, *locations] a window, and y = [x, v_1, ..] [n, (1 + r)·m, *size]; of the compute
        dtype or of another.
        """
        xp, wide, groups = self._backend.xp, self._backend.xp.float64, self._groups
        n, length = y.shape[0], prod(self._size)
        if self._lines is not None:
            parts = xp.reshape(y, (n, self._parts, groups, *self._size))
            self._lines.update(signals[0], parts)
            self._channels.update(xp.reshape(parts, (n, self._parts, groups, length)))
            return
        *signals, y = (xp.astype(a, self._backend.compute, copy=False) for a in (*signals, y))
        columns = [
            adjoint_columns(self._backend, s, window, groups, self._size)
            for s, window in zip(signals, self._windows, strict=True)
        ]
        z = columns[0] if len(columns) == 1 else xp.concat(columns, axis=1)
        parts = xp.reshape(y, (n, self._parts, -1, length))
        if self._kept is not None:
            z = xp.take(xp.reshape(z, (*z.shape[:2], n, length)), self._kept, axis=3)
            z = xp.reshape(z, (*z.shape[:2], -1))
            parts, length = xp.take(parts, self._kept, axis=3), self._kept.shape[0]
        self._channels.update(parts)
        beside = xp.reshape(parts, (n, self._parts, groups, -1, length))
        beside = xp.reshape(xp.permute_dims(beside, (2, 1, 3, 0, 4)), (groups, -1, n * length))
        if self._intercept:
            self._z += xp.sum(z, axis=2, dtype=wide)
            # What centring leaves of single-precision products may be their rounding.
            z, beside = xp.astype(z, wide), xp.astype(beside, wide)
        product = self._backend.matmul_stack
        self._zz += xp.astype(product(z, xp.matrix_transpose(z)), wide)
        self._zy += xp.astype(product(z, xp.matrix_transpose(beside)), wide)

    def merge(self, other: StackedGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        if other._zy.shape != self._zy.shape:
            raise InvalidData("only sums of the same problem can be merged")
        self._channels.merge(other._channels)
        if self._lines is not None and other._lines is not None:
            self._lines.merge(other._lines)
        self._zz += other._zz
        self._zy += other._zy
        self._z += other._z

    def solve(self, ridge: float) -> Solution:
        """Weights [groups, taps·o, m], taps outermost, own weights and intercepts alike."""
        return self._moments().solve(self._backend, ridge)

    def error(self, fitted: Solution) -> float:
        """Σ(x - x̂)² over these samples of what other sums of the same problem gave."""
        return self._moments().error(self._backend, fitted)

    def _moments(self) -> Moments:
        xp, groups, channels = self._backend.xp, self._groups, self._channels
        means = channels.means
        yy = channels.products(centred=self._intercept)
        parts, d = means.shape[0], means.shape[1] // groups
        mean_y = xp.permute_dims(xp.reshape(means, (parts, groups, d)), (1, 0, 2))
        yy = xp.permute_dims(xp.reshape(yy, (parts, parts, groups, d)), (2, 0, 1, 3))
        zz, zy, mean_z = self._zz, self._zy, self._z / self.rows
        if self._lines is not None:
            zz, zy = self._lines.shared, self._lines.crossed
        zy = xp.reshape(zy, (*zy.shape[:2], parts, d))
        if not self._intercept:
            return Moments(self.rows, zz, zy, yy, mean_z, mean_y)
        zz = zz - self._z[:, :, None] * mean_z[:, None, :]
        return Moments(self.rows, zz, zy, yy, mean_z, mean_y, self._z, mean_y)
