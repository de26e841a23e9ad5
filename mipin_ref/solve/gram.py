"""Streaming, mergeable sums from which least-squares problems are solved: rows go in, weights come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.ridge import Solver, solve_symmetric


@dataclass(frozen=True)
class Solution:
    """weights [f, d] and intercept [d] or None, float64 on the device, with what is known of the fit.

    squared_error: of the calibration rows; spread: Σ(x - mean)² over them.
    """

    weights: Array
    intercept: Array | None
    rows: int
    solver: Solver
    condition: float
    rank: int
    squared_error: float
    spread: float


class Accumulator(Protocol):
    """Sums for min Σ‖x - zᵀW - b‖² + λ‖W‖² over rows (z [f], x [d])."""

    rows: int

    def update(self, z: Array, x: Array) -> None: ...

    def merge(self, other: Accumulator) -> None: ...

    def solve(self, ridge: float) -> Solution: ...


def make_accumulator(backend: Backend, features: int, outputs: int, *, intercept: bool, rows: int) -> Accumulator:
    """Normal equations, or for fewer rows than features the rows themselves (dual form)."""
    kind = Rows if rows < features else Gram
    return kind(backend, features, outputs, intercept=intercept)


def accumulator_bytes(features: int, outputs: int, rows: int) -> int:
    """What make_accumulator's choice holds at its largest, one batch's products included."""
    if rows < features:
        return 8 * rows * (2 * (features + outputs) + rows)
    return 16 * features * (features + outputs)


class Gram:
    """The normal equations: products in the compute dtype, sums in float64, centred at the end.

    With an intercept the regressors are shifted by the first batch's mean and get a one appended, so that the same two
    products also hold the sums, and what centring takes off in the end is small. x, the wider side, is shifted only
    where its mean is far from zero. Parts with other shifts are moved to this one's when merged.
    """

    def __init__(self, backend: Backend, features: int, outputs: int, *, intercept: bool) -> None:
        self._backend = backend
        self._intercept = intercept
        self._features = features
        wide, width = backend.xp.float64, features + int(intercept)
        self.rows = 0
        self._shift_z = backend.zeros((features,))
        self._shift_x = backend.zeros((outputs,))
        self._x_is_shifted = False
        self._zz = backend.zeros((width, width), wide)
        self._zx = backend.zeros((width, outputs), wide)
        self._x = backend.zeros((outputs,), wide)
        self._square = backend.zeros((), wide)

    def update(self, z: Array, x: Array) -> None:
        """Add rows z [r, f] and x [r, d] of the compute dtype."""
        xp, wide = self._backend.xp, self._backend.xp.float64
        if z.shape[0] == 0:
            return
        if self._intercept:
            if self.rows == 0:
                self._choose_shifts(z, x)
            one = xp.ones((z.shape[0], 1), dtype=z.dtype, device=self._backend.device)
            z = xp.concat([z - self._shift_z, one], axis=1)
            x = x - self._shift_x if self._x_is_shifted else x
        self._zz += xp.astype(z.T @ z, wide)
        self._zx += xp.astype(z.T @ x, wide)
        self._x += xp.sum(x, axis=0, dtype=wide)
        self._square += xp.sum(xp.vecdot(x, x, axis=-1), dtype=wide)
        self.rows += z.shape[0]

    def _choose_shifts(self, z: Array, x: Array) -> None:
        xp = self._backend.xp
        self._shift_z = xp.astype(xp.mean(z, axis=0), z.dtype)
        mean, variance = xp.mean(x, axis=0), xp.mean(xp.var(x, axis=0))
        self._x_is_shifted = bool(xp.mean(mean * mean) > 25 * variance)
        if self._x_is_shifted:
            self._shift_x = xp.astype(mean, x.dtype)

    def merge(self, other: Accumulator) -> None:
        """Add all rows of another accumulator of the same problem."""
        if not isinstance(other, Gram) or other._intercept != self._intercept or other._zx.shape != self._zx.shape:
            raise InvalidData("only sums of the same problem can be merged")
        if not other.rows:
            return
        if not self.rows:
            self._shift_z, self._shift_x = other._shift_z, other._shift_x
            self._x_is_shifted = other._x_is_shifted
        zz, zx, total, square = other._zz, other._zx, other._x, other._square
        if self._intercept:
            xp, wide = self._backend.xp, self._backend.xp.float64
            by_z = xp.astype(other._shift_z, wide) - xp.astype(self._shift_z, wide)
            by_x = xp.astype(other._shift_x, wide) - xp.astype(self._shift_x, wide)
            by_z = xp.concat([by_z, xp.zeros_like(by_z[:1])])[:, None]
            zz = zz + by_z * zz[-1:, :]
            zz = zz + zz[:, -1:] * by_z.T
            zx = zx + by_z * zx[-1:, :]
            zx = zx + zz[:, -1:] * by_x[None, :]
            square = square + xp.sum(by_x * (2 * total + other.rows * by_x))
            total = total + other.rows * by_x
        self._zz += zz
        self._zx += zx
        self._x += total
        self._square += square
        self.rows += other.rows

    def solve(self, ridge: float) -> Solution:
        """W [f, d] and b [d] (paper, Eq. 6 where there is an intercept). λ = ridge, absolute, on sums."""
        xp, wide, f = self._backend.xp, self._backend.xp.float64, self._features
        mean_x = self._x / self.rows
        zz, zx, mean_z = self._zz, self._zx, self._backend.zeros((f,), wide)
        if self._intercept:
            total = zz[:f, f]
            zx = zx[:f, :] - total[:, None] * mean_x[None, :]
            zz = zz[:f, :f] - total[:, None] * (total / self.rows)[None, :]
            mean_z = xp.astype(self._shift_z, wide) + total / self.rows
        spread = self._square - self.rows * xp.sum(mean_x * mean_x)
        mean_x = xp.astype(self._shift_x, wide) + mean_x
        sums = NormalEquations(self.rows, zz, zx, mean_z, mean_x, spread)
        return sums.solve(self._backend, ridge, intercept=self._intercept)


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """zz: [f, f], zx: [f, d] sums of products, centred where the fit has an intercept; mean_z: [f], mean_x: [d];
    spread: Σ(x - mean)². All float64, over `rows` rows.
    """

    rows: int
    zz: Array
    zx: Array
    mean_z: Array
    mean_x: Array
    spread: Array

    def solve(self, backend: Backend, ridge: float, *, intercept: bool) -> Solution:
        xp = backend.xp
        found = solve_symmetric(backend, xp.asarray(self.zz, copy=True), self.zx, ridge)
        weights = found.x
        about = self.spread if intercept else self.spread + self.rows * xp.sum(self.mean_x * self.mean_x)
        error = about - 2 * xp.sum(weights * self.zx) + xp.sum(weights * (self.zz @ weights))
        return Solution(
            weights,
            self.mean_x - self.mean_z @ weights if intercept else None,
            self.rows,
            found.solver,
            found.condition,
            found.rank,
            max(float(error), 0.0),
            max(float(self.spread), 0.0),
        )


class Rows:
    """The dual form, for fewer rows than features: keeps the rows, then solves (Z Zᵀ + λI) α = X, W = Zᵀ α."""

    def __init__(self, backend: Backend, features: int, outputs: int, *, intercept: bool) -> None:
        self._backend = backend
        self._intercept = intercept
        self._widths = (features, outputs)
        self._z: list[Array] = []
        self._x: list[Array] = []
        self.rows = 0

    def update(self, z: Array, x: Array) -> None:
        """Add rows z [r, f] and x [r, d] of the compute dtype."""
        xp = self._backend.xp
        if z.shape[0]:
            self._z.append(xp.astype(z, xp.float64, copy=True))
            self._x.append(xp.astype(x, xp.float64, copy=True))
            self.rows += z.shape[0]

    def merge(self, other: Accumulator) -> None:
        """Add all rows of another accumulator of the same problem."""
        if not isinstance(other, Rows) or other._intercept != self._intercept or other._widths != self._widths:
            raise InvalidData("only rows of the same problem can be merged")
        self._z.extend(other._z)
        self._x.extend(other._x)
        self.rows += other.rows

    def solve(self, ridge: float) -> Solution:
        """W [f, d] and b [d]; for λ = 0 the minimum-norm solution."""
        xp = self._backend.xp
        z, x = xp.concat(self._z), xp.concat(self._x)
        mean_z, mean_x = xp.mean(z, axis=0), xp.mean(x, axis=0)
        spread = xp.sum((x - mean_x) * (x - mean_x))
        if self._intercept:
            z, x = z - mean_z, x - mean_x
        found = solve_symmetric(self._backend, z @ z.T, x, ridge)
        weights = z.T @ found.x
        residual = x - z @ weights
        return Solution(
            weights,
            mean_x - mean_z @ weights if self._intercept else None,
            self.rows,
            "dual-cholesky" if found.solver == "cholesky" else "dual-eigh",
            found.condition,
            found.rank,
            float(xp.sum(residual * residual)),
            float(spread),
        )
