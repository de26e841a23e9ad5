"""The joint least-squares problem: regressors that all channels share, beside a few that are each channel's own.

With Z the shared and V the own regressors of a channel, min ‖x - Z w - V v‖² + λ‖w‖² + λ‖v‖² is solved by block
elimination: Z'Z + λI is factorised once, and each channel adds a system as small as its V is narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.solve.ridge import SymmetricSolution, solve_stack, solve_symmetric


@dataclass(frozen=True, eq=False)
class Solution:
    """weights [groups, f, d], own [groups, r, d] and intercept [groups, d] or None, float64 on the device.

    condition: of the worst system solved; rank: directions kept in the least determined group, own regressors included;
    squared_error: of the calibration rows; spread: Σ(x - mean)² over them.
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


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of products over `rows` rows, float64; centred where the fit has an intercept.

    zz: [groups, f, f]; zy: [groups, f, 1 + r, d]; yy: [groups, 1 + r, 1 + r, d]; mean_z: [groups, f];
    mean_y: [groups, 1 + r, d]. y_0 is the value x, y_1.. the own regressors.
    """

    rows: int
    centred: bool
    zz: Array
    zy: Array
    yy: Array
    mean_z: Array
    mean_y: Array

    def solve(self, backend: Backend, ridge: float) -> Solution:
        """The joint solution. λ = ridge >= 0, absolute, on sums; 0 gives the minimum norm."""
        xp = backend.xp
        groups, f, parts, d = self.zy.shape
        if ridge == 0 and parts > 1 and f:
            return self._minimum_norm(backend)
        solved = xp.reshape(xp.zeros_like(self.zy), (groups, f, parts * d))
        solver, condition, rank = "per channel", 1.0, 0
        if f:
            found = solve_stack(
                backend, xp.asarray(self.zz, copy=True), xp.reshape(self.zy, (groups, f, parts * d)), ridge
            )
            solved, solver, condition, rank = found.x, found.solver, found.condition, found.rank
        solved = xp.reshape(solved, (groups, f, parts, d))
        schur = self.yy - inner(backend, self.zy, solved) if parts > 1 else self.yy
        own = eliminate(backend, schur, self.yy, ridge, f)
        weights = mixed(backend, solved, own.mix)
        return self._solution(backend, weights, own, solver, max(condition, own.condition), rank + own.rank)

    def _solution(
        self, backend: Backend, weights: Array, own: Own, solver: str, condition: float, rank: int
    ) -> Solution:
        xp = backend.xp
        cross = mixed(backend, self.zy, own.mix)
        square = sum(
            xp.sum(own.mix[:, a, :] * own.mix[:, b, :] * self.yy[:, a, b, :])
            for a in range(self.yy.shape[1])
            for b in range(self.yy.shape[1])
        )
        error = square - 2 * xp.sum(weights * cross) + xp.sum(weights * (self.zz @ weights))
        spread = xp.sum(self.yy[:, 0, 0, :])
        if not self.centred:
            spread = spread - self.rows * xp.sum(self.mean_y[:, 0, :] ** 2)
        intercept = None
        if self.centred:
            intercept = xp.sum(own.mix * self.mean_y, axis=1) - xp.sum(self.mean_z[:, :, None] * weights, axis=1)
        return Solution(
            weights,
            -own.mix[:, 1:, :],
            intercept,
            self.rows,
            solver,
            condition,
            rank,
            max(float(error), 0.0),
            max(float(spread), 0.0),
        )

    def _minimum_norm(self, backend: Backend) -> Solution:
        """λ = 0: the norm counts all weights of a channel, so each channel's system is solved whole."""
        xp = backend.xp
        groups, f, _, d = self.zy.shape
        weights, mix = xp.zeros_like(self.zy[:, :, 0, :]), xp.ones_like(self.yy[:, 0, :, :])
        solutions: list[SymmetricSolution] = []
        for group in range(groups):
            for channel in range(d):
                zv, vv = self.zy[group, :, 1:, channel], self.yy[group, 1:, 1:, channel]
                system = xp.concat([xp.concat([self.zz[group, ...], zv], axis=1), xp.concat([zv.T, vv], axis=1)])
                right = xp.concat([self.zy[group, :, 0, channel], self.yy[group, 1:, 0, channel]])
                found = solve_symmetric(backend, system, right[:, None], 0.0)
                weights[group, :, channel] = found.x[:f, 0]
                mix[group, 1:, channel] = -found.x[f:, 0]
                solutions.append(found)
        own = Own(mix, 1.0, 0)
        condition, rank = max(s.condition for s in solutions), min(s.rank for s in solutions)
        solver = "eigh" if any(s.solver == "eigh" for s in solutions) else "cholesky"
        return self._solution(backend, weights, own, solver, condition, rank)


@dataclass(frozen=True, eq=False)
class Own:
    """mix: [groups, 1 + r, d], one for the value and -v for its own regressors: what is left for the shared ones is
    the mixture Σ mix_a y_a; condition and rank: of the worst channel's small system.
    """

    mix: Array
    condition: float
    rank: int


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
        return Own(first, 1.0, 0)
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
    return Own(mix, float(condition), int(rank))


def inner(backend: Backend, a: Array, b: Array) -> Array:
    """Σ_f a b for every pair of parts: twice [groups, f, 1 + r, d] -> [groups, 1 + r, 1 + r, d]."""
    xp = backend.xp
    parts = range(a.shape[2])
    rows = [xp.stack([xp.sum(a[:, :, i, :] * b[:, :, j, :], axis=1) for j in parts], axis=1) for i in parts]
    return xp.stack(rows, axis=1)


def mixed(backend: Backend, y: Array, mix: Array) -> Array:
    """Σ mix_a y_a: [groups, f, 1 + r, d] and [groups, 1 + r, d] -> [groups, f, d]."""
    found: Any = y[:, :, 0, :]
    for a in range(1, y.shape[2]):
        found = found + y[:, :, a, :] * mix[:, None, a, :]
    return found
