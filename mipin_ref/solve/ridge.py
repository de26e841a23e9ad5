"""Symmetric systems with a ridge: Cholesky where it is safe, a truncated eigendecomposition where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mipin_ref.backend import Array, Backend, NotPositiveDefinite
from mipin_ref.errors import InvalidData

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class SymmetricSolution:
    """x [k, d]; condition: of the system solved (an estimate from below with "cholesky"); rank: directions kept."""

    x: Array
    solver: Literal["cholesky", "eigh"]
    condition: float
    rank: int


def solve_symmetric(backend: Backend, a: Array, b: Array, ridge: float) -> SymmetricSolution:
    """Solve (a + λI) x = b for symmetric positive semi-definite a.

    a: [k, k] float64, overwritten; b: [k, d] float64; ridge: λ >= 0. Directions of a whose eigenvalue is below
    k·eps·max are noise of the sums: where they would matter (a condition beyond 1 / (k·eps)) the system is solved by
    eigendecomposition without them, which for λ = 0 is the minimum-norm solution.
    Raises InvalidData where a or b is not finite.
    """
    xp = backend.xp
    _check_finite(backend, a, b)
    k = a.shape[0]
    limit = 1.0 / (k * EPS)
    if ridge:
        a += ridge * xp.eye(k, dtype=xp.float64, device=backend.device)
    try:
        solve = backend.cholesky(a)
    except NotPositiveDefinite:
        return _by_eigenvalues(backend, a, b, ridge)
    condition = _condition(backend, a, solve)
    if not condition < limit:
        return _by_eigenvalues(backend, a, b, ridge)
    return SymmetricSolution(solve(b), "cholesky", condition, k)


def solve_stack(backend: Backend, a: Array, b: Array, ridge: float) -> SymmetricSolution:
    """Many such systems at once: a [g, k, k], overwritten, and b [g, k, d] -> x [g, k, d].

    Several are solved by eigendecomposition, which the array namespaces do for stacks; condition and rank are those of
    the worst. Raises as solve_symmetric does.
    """
    xp = backend.xp
    if a.shape[0] == 1:
        found = solve_symmetric(backend, a[0, ...], b[0, ...], ridge)
        return SymmetricSolution(found.x[None, ...], found.solver, found.condition, found.rank)
    _check_finite(backend, a, b)
    k = a.shape[1]
    values, vectors = backend.eigh(a)
    largest = values[:, -1:]
    kept = values > k * EPS * xp.maximum(largest, xp.zeros_like(largest))
    values = values + ridge
    inverse = xp.where(kept, 1.0 / xp.where(kept, values, xp.ones_like(values)), xp.zeros_like(values))
    x = vectors @ (inverse[:, :, None] * (xp.matrix_transpose(vectors) @ b))
    smallest = xp.min(xp.where(kept, values, values[:, -1:]), axis=1)
    alive = smallest > 0
    condition = float(
        xp.max(
            xp.where(alive, values[:, -1] / xp.where(alive, smallest, xp.ones_like(smallest)), xp.ones_like(smallest))
        )
    )
    return SymmetricSolution(x, "eigh", condition, int(xp.min(xp.sum(xp.astype(kept, xp.int64), axis=1))))


def _check_finite(backend: Backend, a: Array, b: Array) -> None:
    xp = backend.xp
    if not bool(xp.all(xp.isfinite(a))) or not bool(xp.all(xp.isfinite(b))):
        raise InvalidData("the normal equations are not finite: the data are too large for float64 sums")


def _by_eigenvalues(backend: Backend, a: Array, b: Array, ridge: float) -> SymmetricSolution:
    """The solution on the eigenvectors of a (which holds a + λI) whose eigenvalue stands out of the noise."""
    xp = backend.xp
    k = a.shape[0]
    values, vectors = backend.eigh(a)
    largest = float(values[-1])
    kept = values - ridge > k * EPS * max(largest, 0.0)
    inverse = xp.where(kept, 1.0 / xp.where(kept, values, xp.ones_like(values)), xp.zeros_like(values))
    x = vectors @ (inverse[:, None] * (vectors.T @ b))
    smallest = float(xp.min(xp.where(kept, values, xp.full_like(values, largest))))
    condition = largest / smallest if smallest > 0 else float("inf")
    return SymmetricSolution(x, "eigh", condition, int(xp.sum(xp.astype(kept, xp.int64))))


def _condition(backend: Backend, a: Array, solve: Callable[[Array], Array], steps: int = 24) -> float:
    """λmax/λmin of a by power and inverse iteration from a fixed start: cheap, deterministic, and from below."""
    xp = backend.xp
    k = a.shape[0]
    start = xp.cos(xp.arange(k, dtype=xp.float64, device=backend.device))[:, None] + 1.0

    def growth(step: Callable[[Array], Array]) -> Any:
        v = start / xp.sqrt(xp.sum(start * start))
        norm = xp.sum(v * v)
        for _ in range(steps):
            w = step(v)
            norm = xp.sqrt(xp.sum(w * w))
            v = w / norm
        return norm

    return float(growth(lambda v: a @ v) * growth(solve))
