"""The joint least-squares problem: regressors that all channels share, beside a few that are each channel's own.

With Z the shared and V the own regressors of a channel, min ‖x - Z w - V v‖² + λ‖w‖² + λ‖v‖² is solved by block
elimination: Z'Z + λI is factorised once, and each channel adds a system as small as its V is narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.solve.ridge import Factor, Solver, factorise, factorise_stack
from mipin_ref.solve.rounding import of_products, of_signals, relative

BLOCK_BYTES = 64 << 20
"""Bytes of right sides solved at a time: many enough for the speed of products, few beside the memory of a fit."""

NONE_SHARED = Factor(lambda b: b, "per channel", 1.0, 0)
"""Where channels share no regressor, there is nothing to solve."""


@dataclass(frozen=True, eq=False)
class Solution:
    """weights [groups, f, d], own [groups, r, d] and intercept [groups, d] or None, float64 on the device.

    condition: of the worst system solved; rank: directions kept in the least determined group, own regressors included;
    squared_error: of the calibration rows; spread: Σ(x - mean)² over them; amplification: by how many units of
    roundoff what the weights give may move where signals and products are rounded (see solve.rounding).
    """

    weights: Array
    own: Array
    intercept: Array | None
    rows: int
    solver: str
    condition: float
    rank: int
    squared_error: float
    spread: float
    amplification: float


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of products over `rows` rows, float64; centred where the fit has an intercept, but for zy, the largest.

    zz: [groups, f, f]; zy: [groups, f, 1 + r, d]; yy: [groups, 1 + r, 1 + r, d]; mean_z: [groups, f];
    mean_y: [groups, 1 + r, d]. y_0 is the value x, y_1.. the own regressors. With an intercept zy is centred by
    sum_z [groups, f] times centre_y [groups, 1 + r, d], the sums of Z and the means of y as they stand in zy. noise: of
    single-precision products, in units of those of `solve.rounding`; exact: products are of double precision, of
    regressors that may have been rounded. second, noisy: see of_products, where zz does not tell them.
    """

    rows: int
    zz: Array
    zy: Array
    yy: Array
    mean_z: Array
    mean_y: Array
    sum_z: Array | None = None
    centre_y: Array | None = None
    noise: float = 1.0
    exact: bool = False
    second: Array | None = None
    noisy: Array | None = None

    @property
    def centred(self) -> bool:
        return self.sum_z is not None

    def solve(self, backend: Backend, ridge: float) -> Solution:
        """The joint solution. λ = ridge >= 0, absolute, on sums; 0 gives the minimum norm.

        Some channels at a time, so that of zy, which may be most of the memory, nothing as large is made but weights.
        """
        xp = backend.xp
        groups, f, parts, d = self.zy.shape
        if ridge == 0 and parts > 1 and f:
            return self._minimum_norm(backend)
        factor = factorise_stack(backend, xp.asarray(self.zz, copy=True), ridge) if f else NONE_SHARED
        weights, mix = backend.zeros((groups, d, f), xp.float64), xp.ones_like(self.yy[:, 0, :, :])
        step = max(1, BLOCK_BYTES // (8 * groups * parts * max(f, 1)))
        conditions, ranks, error, moved = [factor.condition], [], 0.0, []
        for start in range(0, d, step):
            some = slice(start, min(start + step, d))
            zy, yy = self._cross(some), self.yy[..., some]
            solved = xp.reshape(factor.solve(xp.reshape(zy, (groups, f, zy.shape[2] * zy.shape[3]))), zy.shape)
            own = eliminate(backend, yy - inner(backend, zy, solved) if parts > 1 else yy, yy, ridge, f)
            one = mixed(backend, solved, own.mix)
            error += self._squared_error(backend, one, own.mix, zy, yy, ridge if factor.solver == "cholesky" else None)
            weights[:, some, :], mix[:, :, some] = xp.matrix_transpose(one), own.mix
            conditions.append(own.condition)
            ranks.append(own.rank)
            if parts > 1:
                moved.append(self._moved_by_own(backend, own, some, ridge))
        # In memory a channel's weights lie side by side: so a Dense stores them, and so a factorisation gives them.
        shared = xp.matrix_transpose(weights)
        spread = self.yy[:, 0, 0, :]
        amplification = relative(backend, xp.concat(moved, axis=1), spread, self.rows) if moved else 0.0
        if f:
            amplification = max(amplification, self._amplified(backend, factor, shared, mix, ridge))
        rank = factor.rank + min(ranks, default=0)
        return self._solution(backend, shared, mix, factor.solver, max(conditions), rank, error, amplification)

    def error(self, backend: Backend, fitted: Solution) -> float:
        """Σ(x - x̂)² over these rows of what was fitted on others: on centred sums, and of what the means are apart."""
        xp = backend.xp
        mix = xp.concat([xp.ones_like(self.mean_y[:, :1, :]), -fitted.own], axis=1)
        groups, f, parts, d = self.zy.shape
        step, total = max(1, BLOCK_BYTES // (8 * groups * parts * max(f, 1))), 0.0
        for start in range(0, d, step):
            some = slice(start, min(start + step, d))
            given = fitted.weights[..., some], mix[..., some], self._cross(some), self.yy[..., some]
            total += self._squared_error(backend, *given)
        if fitted.intercept is not None:
            shared = xp.matrix_transpose(fitted.weights) @ self.mean_z[:, :, None]
            apart = xp.sum(mix * self.mean_y, axis=1) - shared[:, :, 0] - fitted.intercept
            total += self.rows * float(xp.sum(apart * apart))
        return total

    def _cross(self, channels: slice) -> Array:
        """zy of some channels, centred."""
        zy = self.zy[..., channels]
        if self.sum_z is None or self.centre_y is None:
            return zy
        return zy - self.sum_z[:, :, None, None] * self.centre_y[:, None, :, channels]

    def _second_moments(self) -> list[Array]:
        """Σy² [groups, d] of the value and each own regressor, not centred."""
        squares = [self.yy[:, a, a, :] for a in range(self.yy.shape[1])]
        if not self.centred:
            return squares
        return [square + self.rows * self.mean_y[:, a, :] ** 2 for a, square in enumerate(squares)]

    def _amplified(self, backend: Backend, factor: Factor, weights: Array, mix: Array, ridge: float) -> float:
        """The estimate of solve.rounding for the shared regressors."""
        xp = backend.xp
        second = self.second
        if second is None:
            second = xp.stack([xp.linalg.diagonal(zz) for zz in (self.zz[g, ...] for g in range(self.zz.shape[0]))])
            if self.centred:
                second = second + self.rows * self.mean_z**2
        left = sum(square * mix[:, a, :] ** 2 for a, square in enumerate(self._second_moments()))
        given = factor.solve, second, weights, left, self.yy[:, 0, 0, :], self.rows
        if self.exact:
            return of_signals(backend, *given, ridge)
        return self.noise * of_products(backend, *given, self.noisy)

    def _moved_by_own(self, backend: Backend, own: Own, channels: slice, ridge: float) -> Array:
        """The same for some channels' own regressors [groups, d].

        Sums of theirs alone are exact; single-precision products with shared ones leave their rounding in what is left
        when those are eliminated.
        """
        xp = backend.xp
        squares = xp.stack([square[:, channels] for square in self._second_moments()[1:]])
        given = xp.sum(xp.permute_dims(own.mix[:, 1:, :], (1, 0, 2)) ** 2 * squares, axis=0)
        moved = xp.sqrt(given / self.rows)
        if backend.dtype == "float64" or own.least is None or not self.zz.shape[1]:
            return moved
        least, largest = own.least, xp.max(squares, axis=0) + ridge
        ratio = xp.where(least > 0, largest / xp.where(least > 0, least, xp.ones_like(least)), xp.inf)
        return moved + ratio * xp.sqrt(self.yy[:, 0, 0, channels] / self.rows)

    def _squared_error(
        self, backend: Backend, weights: Array, mix: Array, zy: Array, yy: Array, ridge: float | None = None
    ) -> float:
        """Σ(x - x̂)² over the rows of some channels, whose zy and yy are given.

        ridge: where the weights solve (Z'Z + λI) w = Z'x, x being the mixture, so that no product with Z'Z is needed.
        """
        xp, parts = backend.xp, range(yy.shape[1])
        square = sum(xp.sum(mix[:, a, :] * mix[:, b, :] * yy[:, a, b, :]) for a in parts for b in parts)
        cross = mixed(backend, zy, mix)
        if ridge is not None:
            return float(square - xp.sum(weights * cross) - ridge * xp.sum(weights * weights))
        return float(square - 2 * xp.sum(weights * cross) + xp.sum(weights * (self.zz @ weights)))

    def _solution(
        self,
        backend: Backend,
        weights: Array,
        mix: Array,
        solver: Solver,
        condition: float,
        rank: int,
        error: float,
        amplification: float,
    ) -> Solution:
        xp = backend.xp
        spread = xp.sum(self.yy[:, 0, 0, :])
        if not self.centred:
            spread = spread - self.rows * xp.sum(self.mean_y[:, 0, :] ** 2)
        intercept = None
        if self.centred:
            shared = xp.matrix_transpose(weights) @ self.mean_z[:, :, None]
            intercept = xp.sum(mix * self.mean_y, axis=1) - shared[:, :, 0]
        return Solution(
            weights,
            -mix[:, 1:, :],
            intercept,
            self.rows,
            solver,
            condition,
            rank,
            max(error, 0.0),
            max(float(spread), 0.0),
            amplification,
        )

    def _minimum_norm(self, backend: Backend) -> Solution:
        """λ = 0: the norm counts all weights of a channel, so each channel's system is solved whole."""
        xp = backend.xp
        groups, f, _, d = self.zy.shape
        zy = self._cross(slice(None))
        weights, mix = xp.zeros_like(zy[:, :, 0, :]), xp.ones_like(self.yy[:, 0, :, :])
        factors: list[Factor] = []
        for group in range(groups):
            for channel in range(d):
                zv, vv = zy[group, :, 1:, channel], self.yy[group, 1:, 1:, channel]
                system = xp.concat([xp.concat([self.zz[group, ...], zv], axis=1), xp.concat([zv.T, vv], axis=1)])
                right = xp.concat([zy[group, :, 0, channel], self.yy[group, 1:, 0, channel]])
                factor = factorise(backend, system, 0.0)
                solved = factor.solve(right[:, None])
                weights[group, :, channel] = solved[:f, 0]
                mix[group, 1:, channel] = -solved[f:, 0]
                factors.append(factor)
        condition, rank = max(s.condition for s in factors), min(s.rank for s in factors)
        solver: Solver = "eigh" if any(s.solver == "eigh" for s in factors) else "cholesky"
        error = self._squared_error(backend, weights, mix, zy, self.yy)
        # Single precision has no minimum-norm solution: what it would lose is not estimated.
        return self._solution(backend, weights, mix, solver, condition, rank, error, float("inf"))


@dataclass(frozen=True, eq=False)
class Own:
    """mix: [groups, 1 + r, d], one for the value and -v for its own regressors: what is left for the shared ones is
    the mixture Σ mix_a y_a; condition and rank: of the worst channel's small system; least: the smallest eigenvalue of
    each channel's [groups, d], None where there is no own regressor.
    """

    mix: Array
    condition: float
    rank: int
    least: Array | None


def eliminate(backend: Backend, schur: Array, yy: Array, ridge: float, shared: int) -> Own:
    """The weights of the own regressors once the shared ones are eliminated.

    schur: [groups, 1 + r, 1 + r, d], products of what the shared regressors leave of each y; yy: the products before;
    shared: how many were eliminated. Directions of which the rounding of the products alone is left are dropped: the
    shared regressors explain them already.
    """
    xp = backend.xp
    parts = yy.shape[1]
    first = xp.ones_like(yy[:, 0, :1, :])
    if parts == 1:
        return Own(first, 1.0, 0, None)
    left = xp.permute_dims(schur[:, 1:, 1:, :], (0, 3, 1, 2))
    left = 0.5 * (left + xp.matrix_transpose(left)) + ridge * xp.eye(parts - 1, dtype=left.dtype, device=backend.device)
    right = xp.permute_dims(schur[:, 1:, 0, :], (0, 2, 1))
    values, vectors = backend.eigh(left)
    scale = xp.stack([yy[:, a, a, :] for a in range(1, parts)])
    largest = xp.max(scale, axis=0)[:, :, None] + ridge
    kept = values > (shared + parts) * float(np.finfo(backend.dtype).eps) * largest
    safe = xp.where(kept, values, xp.ones_like(values))
    inverse = xp.where(kept, 1.0 / safe, xp.zeros_like(values))
    v = vectors @ (inverse[..., None] * (xp.matrix_transpose(vectors) @ right[..., None]))
    mix = xp.concat([first, -xp.permute_dims(v[..., 0], (0, 2, 1))], axis=1)
    condition = xp.max(xp.where(kept, largest / safe, xp.ones_like(values)))
    rank = xp.min(xp.sum(xp.astype(kept, xp.int64), axis=2))
    return Own(mix, float(condition), int(rank), values[..., 0])


def inner(backend: Backend, a: Array, b: Array) -> Array:
    """Σ_f a b for every pair of parts: twice [groups, f, 1 + r, d] -> [groups, 1 + r, 1 + r, d]."""
    xp = backend.xp
    parts = range(a.shape[2])
    rows = [xp.stack([xp.sum(a[:, :, i, :] * b[:, :, j, :], axis=1) for j in parts], axis=1) for i in parts]
    return xp.stack(rows, axis=1)


def mixed(backend: Backend, y: Array, mix: Array) -> Array:
    """Σ mix_a y_a: [groups, f, 1 + r, d] and [groups, 1 + r, d] -> [groups, f, d]."""
    mixture: Any = y[:, :, 0, :]
    for a in range(1, y.shape[2]):
        mixture = mixture + y[:, :, a, :] * mix[:, None, a, :]
    return mixture
