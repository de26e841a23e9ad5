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
    """The normal equations: centred where there is an intercept, products in the compute dtype, sums in float64.

    Means and centred sums of two parts combine exactly (Chan, Golub, LeVeque 1979), so that neither the order of the
    batches nor large means cost digits.
    """

    def __init__(self, backend: Backend, features: int, outputs: int, *, intercept: bool) -> None:
        self._backend = backend
        self._intercept = intercept
        wide = backend.xp.float64
        self.rows = 0
        self._mean_z = backend.zeros((features,), wide)
        self._mean_x = backend.zeros((outputs,), wide)
        self._zz = backend.zeros((features, features), wide)
        self._zx = backend.zeros((features, outputs), wide)
        self._xx = backend.zeros((outputs,), wide)

    def update(self, z: Array, x: Array) -> None:
        """Add rows z [r, f] and x [r, d] of the compute dtype."""
        xp, wide = self._backend.xp, self._backend.xp.float64
        rows = z.shape[0]
        if rows == 0:
            return
        mean_x = xp.sum(x, axis=0, dtype=wide) / rows
        centred_x = x - xp.astype(mean_x, x.dtype)
        xx = xp.sum(centred_x * centred_x, axis=0, dtype=wide)
        mean_z = xp.sum(z, axis=0, dtype=wide) / rows
        if self._intercept:
            z, x = z - xp.astype(mean_z, z.dtype), centred_x
        self._combine(rows, mean_z, mean_x, z.T @ z, z.T @ x, xx)

    def merge(self, other: Accumulator) -> None:
        """Add all rows of another accumulator of the same problem."""
        if not isinstance(other, Gram) or other._intercept != self._intercept or other._zx.shape != self._zx.shape:
            raise InvalidData("only sums of the same problem can be merged")
        if other.rows:
            self._combine(other.rows, other._mean_z, other._mean_x, other._zz, other._zx, other._xx)

    def _combine(self, rows: int, mean_z: Array, mean_x: Array, zz: Array, zx: Array, xx: Array) -> None:
        xp, wide = self._backend.xp, self._backend.xp.float64
        total = self.rows + rows
        shift_z, shift_x = mean_z - self._mean_z, mean_x - self._mean_x
        weight = self.rows * rows / total
        self._zz += xp.astype(zz, wide)
        self._zx += xp.astype(zx, wide)
        if self._intercept and self.rows:
            self._zz += (weight * shift_z)[:, None] * shift_z[None, :]
            self._zx += (weight * shift_z)[:, None] * shift_x[None, :]
        self._xx += xx + weight * shift_x * shift_x
        self._mean_z += shift_z * (rows / total)
        self._mean_x += shift_x * (rows / total)
        self.rows = total

    def solve(self, ridge: float) -> Solution:
        """W [f, d] and b [d] (paper, Eq. 6 where there is an intercept). λ = ridge, absolute, on sums."""
        sums = NormalEquations(self.rows, self._zz, self._zx, self._mean_z, self._mean_x, self._xx)
        return sums.solve(self._backend, ridge, intercept=self._intercept)


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """zz: [f, f], zx: [f, d] sums of products, centred where the fit has an intercept; mean_z: [f], mean_x: [d];
    xx: [d] Σ(x - mean)². All float64, over `rows` rows.
    """

    rows: int
    zz: Array
    zx: Array
    mean_z: Array
    mean_x: Array
    xx: Array

    def solve(self, backend: Backend, ridge: float, *, intercept: bool) -> Solution:
        xp = backend.xp
        found = solve_symmetric(backend, xp.asarray(self.zz, copy=True), self.zx, ridge)
        weights = found.x
        spread = xp.sum(self.xx)
        about = spread if intercept else spread + self.rows * xp.sum(self.mean_x * self.mean_x)
        error = about - 2 * xp.sum(weights * self.zx) + xp.sum(weights * (self.zz @ weights))
        return Solution(
            weights,
            self.mean_x - self.mean_z @ weights if intercept else None,
            self.rows,
            found.solver,
            found.condition,
            found.rank,
            max(float(error), 0.0),
            float(spread),
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
