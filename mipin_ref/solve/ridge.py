"""Symmetric systems with a ridge: Cholesky where it is safe, a truncated eigendecomposition where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mipin_ref.backend import Array, Backend, NotPositiveDefinite
from mipin_ref.errors import InvalidData

EPS = float(np.finfo(np.float64).eps)

STEPS, LARGE, SETTLED = 24, 256, 1e-2
"""Steps to an eigenvalue at most, and unknowns from which they end when one changes it by so little."""

Solver = Literal["cholesky", "eigh", "per channel", "dual-cholesky", "dual-eigh"]


@dataclass(frozen=True, eq=False)
class Factor:
    """A system, or a stack of them, ready to be solved for any right side.

    solve: b [.., k, d] float64 -> x [.., k, d]; condition: of the system solved (an estimate from below with
    "cholesky"); rank: directions kept. Of a stack both are those of the worst.
    """

    solve: Callable[[Array], Array]
    solver: Solver
    condition: float
    rank: int


def factorise(backend: Backend, a: Array, ridge: float) -> Factor:
    """What solves (a + λI) x = b for symmetric positive semi-definite a.

    a: [k, k] float64, overwritten; ridge: λ >= 0. Directions of a whose eigenvalue is below k·eps·max are noise of the
    sums: where they would matter (a condition beyond 1 / (k·eps)) the system is solved by eigendecomposition without
    them, which for λ = 0 is the minimum-norm solution.
    Raises InvalidData where a, or later b, is not finite.
    """
    check_finite(backend, a)
    xp, k = backend.xp, a.shape[0]
    limit = 1.0 / (k * EPS)
    if ridge:
        a = backend.add_to_diagonal(a, ridge)
    diagonal = xp.asarray(xp.linalg.diagonal(a), copy=True)
    try:
        with backend.few_threads(k):
            largest = _largest(backend, k, lambda v: a @ v)
            solve = backend.cholesky(a)
            condition = largest * _largest(backend, k, solve)
    except NotPositiveDefinite:
        condition = float("inf")
    if not condition < limit:
        return _by_eigenvalues(backend, _mirrored(backend, a, diagonal), ridge)
    return Factor(_checked(backend, solve), "cholesky", condition, k)


def factorise_stack(backend: Backend, a: Array, ridge: float) -> Factor:
    """The same for many systems at once, a [g, k, k], overwritten.

    Several are solved by eigendecomposition, which the array namespaces do for stacks. Raises as factorise does.
    """
    xp = backend.xp
    if a.shape[0] == 1:
        factor = factorise(backend, a[0, ...], ridge)
        return replace(factor, solve=lambda b: factor.solve(b[0, ...])[None, ...])
    check_finite(backend, a)
    k = a.shape[1]
    values, vectors = backend.eigh(a)
    largest = values[:, -1:]
    kept = values > k * EPS * xp.maximum(largest, xp.zeros_like(largest))
    # Beside others a system of zeros is nothing: what is told of a stack is the worst of the rest.
    return _truncated(backend, values + ridge, vectors, kept, of_zeros=1.0)


def check_finite(backend: Backend, a: Array) -> None:
    """Raises InvalidData where a is not."""
    if not bool(backend.xp.all(backend.xp.isfinite(a))):
        raise InvalidData("the normal equations are not finite: the data are too large for float64 sums")


def _checked(backend: Backend, solve: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def checked(b: Array) -> Array:
        check_finite(backend, b)
        return solve(b)

    return checked


def _on_eigenvectors(backend: Backend, vectors: Array, inverse: Array) -> Callable[[Array], Array]:
    return lambda b: vectors @ (inverse[..., None] * (backend.xp.matrix_transpose(vectors) @ b))


def _by_eigenvalues(backend: Backend, a: Array, ridge: float) -> Factor:
    """The solution on the eigenvectors of a (which holds a + λI) whose eigenvalue stands out of the noise."""
    values, vectors = backend.eigh(a)
    kept = values - ridge > a.shape[0] * EPS * max(float(values[-1]), 0.0)
    return _truncated(backend, values, vectors, kept, of_zeros=float("inf"))


def _truncated(backend: Backend, values: Array, vectors: Array, kept: Array, *, of_zeros: float) -> Factor:
    """The solution on the eigenvectors that are kept.

    values: [.., k] eigenvalues in order, λ included; vectors: [.., k, k]; kept: [.., k] bool; of_zeros: the condition
    of a system none of whose eigenvalues is above zero.
    """
    xp = backend.xp
    inverse = xp.where(kept, 1.0 / xp.where(kept, values, xp.ones_like(values)), xp.zeros_like(values))
    smallest = xp.min(xp.where(kept, values, values[..., -1:]), axis=-1)
    alive, one = smallest > 0, xp.ones_like(smallest)
    condition = xp.where(alive, values[..., -1] / xp.where(alive, smallest, one), of_zeros * one)
    rank = int(xp.min(xp.sum(xp.astype(kept, xp.int64), axis=-1)))
    solve = _checked(backend, _on_eigenvectors(backend, vectors, inverse))
    return Factor(solve, "eigh", float(xp.max(condition)), rank)


def _mirrored(backend: Backend, a: Array, diagonal: Array) -> Array:
    """What stands above the diagonal of a [k, k] below it too, whatever a factorisation left there."""
    upper = backend.xp.triu(a, k=1)
    return backend.add_to_diagonal(upper + upper.T, diagonal)


def _largest(backend: Backend, k: int, step: Callable[[Array], Array]) -> float:
    """The largest eigenvalue of what `step` multiplies [k, 1] by, from below and from a fixed start.

    Small systems by the power method; of large ones, of which every step reads all, by Lanczos (Golub and Van Loan,
    Matrix Computations, 10.1), which is as near after a third of the steps.
    """
    xp = backend.xp
    start = xp.cos(xp.arange(k, dtype=xp.float64, device=backend.device))[:, None] + 1.0
    v = start / xp.sqrt(xp.sum(start * start))
    if k >= LARGE:
        return _lanczos(backend, v, step)
    norm = xp.sum(v * v)
    for _ in range(STEPS):
        w = step(v)
        norm = xp.sqrt(xp.sum(w * w))
        v = w / norm
    return float(norm)


def _lanczos(backend: Backend, v: Array, step: Callable[[Array], Array]) -> float:
    """The largest Ritz value from v [k, 1], of length one; it ends when the next would hardly be told from it."""
    xp, basis, before = backend.xp, [v], 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        w = step(basis[-1])
        diagonal.append(float(xp.sum(basis[-1] * w)))
        ritz = float(np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[-1])
        if len(basis) == STEPS or not abs(ritz - before) > SETTLED * ritz:
            return ritz
        # Against all that came before, and twice: what is left in their direction grows.
        for _ in range(2):
            for earlier in basis:
                w = w - xp.sum(earlier * w) * earlier
        length = xp.sqrt(xp.sum(w * w))
        if not float(length) > EPS * ritz:
            return ritz
        beside.append(float(length))
        basis.append(w / length)
        before = ritz
