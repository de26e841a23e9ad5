"""Symmetric solves and accumulators against scikit-learn, NumPy's lstsq, and the sums written out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.errors import InvalidData
from mipin_ref.solve.gram import Accumulator, Gram, Rows, make_accumulator
from mipin_ref.solve.ridge import factorise, factorise_stack
from tests.backends import EPS, PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error

Problem = tuple[np.ndarray, np.ndarray]


def problem(rows: int, features: int, outputs: int, seed: int = 0, offset: float = 3.0) -> Problem:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((rows, features)) + offset
    return z, z @ rng.standard_normal((features, outputs)) + rng.standard_normal((rows, outputs)) - offset


def scikit_learn(z: np.ndarray, x: np.ndarray, ridge: float, solver: str) -> Any:
    """Its ridge regression of x on z."""
    from sklearn.linear_model import Ridge

    return Ridge(alpha=ridge, solver=solver).fit(z, x)


def fitted(kind: Callable[..., Accumulator], name: str, z: np.ndarray, x: np.ndarray, cuts: list[int]) -> Accumulator:
    """Rows added in pieces that end at `cuts`."""
    device = backend(name)
    sums = kind(device, z.shape[1], x.shape[1], intercept=True)
    for start, stop in zip([0, *cuts], [*cuts, len(z)], strict=True):
        sums.update(device.put(z[start:stop]), device.put(x[start:stop]))
    return sums


@on_every_backend
@pytest.mark.parametrize("kind", [Gram, Rows])
@pytest.mark.parametrize("ridge", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize(("rows", "features"), [(60, 7), (12, 40)])
def test_dense_inverse_equals_scikit_learn(name: str, kind: Any, ridge: float, rows: int, features: int) -> None:
    z, x = problem(rows, features, 5)
    found = fitted(kind, name, z, x, [rows // 3]).solve(ridge)
    reference = scikit_learn(z, x, ridge, "svd")
    get = backend(name).get
    # The error of a symmetric solve is eps times the condition of its system, which the ridge bounds.
    tolerance = 50 * EPS * found.condition
    assert relative_error(get(found.weights)[0], reference.coef_.T) < tolerance
    assert relative_error(get(found.intercept)[0], reference.intercept_) < tolerance
    residual = x - reference.predict(z)
    # A difference of sums of the size of the spread: it knows errors down to rounding of the spread.
    assert found.squared_error == pytest.approx(np.sum(residual**2), rel=1e-9, abs=1e3 * EPS * found.spread)
    assert found.spread == pytest.approx(np.sum((x - x.mean(0)) ** 2), rel=1e-12)
    assert found.rows == rows


@on_drawn_backend
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    pick=PICKS,
    kind=st.sampled_from([Gram, Rows]),
    cuts=st.lists(st.integers(0, 30), max_size=4).map(sorted),
    shards=st.integers(1, 4),
)
def test_any_sharding_adds_up_to_the_whole(
    names: tuple[str, ...], pick: int, kind: Any, cuts: list[int], shards: int
) -> None:
    z, x = problem(30, 6, 3, offset=100.0)
    whole = fitted(kind, picked(names, pick), z, x, []).solve(1e-3)
    edges = np.linspace(0, 30, shards + 1).astype(int)
    parts = [
        fitted(kind, picked(names, pick), z[a:b], x[a:b], [c - a for c in cuts if a <= c <= b])
        for a, b in pairwise(edges)
    ]
    total = parts[-1]
    for part in parts[:-1]:
        total.merge(part)
    found = total.solve(1e-3)
    get = backend(picked(names, pick)).get
    assert total.rows == 30
    # Means of 100 cost two digits of the centred sums.
    assert relative_error(get(found.weights), get(whole.weights)) < 1e4 * EPS * whole.condition
    assert found.spread == pytest.approx(whole.spread, rel=1e-10)


@on_every_backend
def test_products_in_several_blocks_of_columns_add_up(name: str) -> None:
    """More regressors than one block has, in parts around different shifts, the later the larger."""
    z, x = problem(700, 300, 2, offset=0.0)
    z[350:] += 5
    parts = [fitted(Gram, name, z[a:b], x[a:b], [100]) for a, b in ((0, 350), (350, 700))]
    parts[0].merge(parts[1])
    found, get = parts[0].solve(1.0), backend(name).get
    reference = scikit_learn(z, x, 1.0, "cholesky")
    # Two solves of systems of this condition, each to its eps.
    tolerance = 50 * EPS * found.condition
    assert relative_error(get(found.weights)[0], reference.coef_.T) < tolerance
    assert relative_error(get(found.intercept)[0], reference.intercept_) < tolerance


@on_every_backend
def test_merging_another_problem_is_refused(name: str) -> None:
    z, x = problem(20, 4, 2)
    with pytest.raises(InvalidData, match="same problem"):
        fitted(Gram, name, z, x, []).merge(fitted(Gram, name, z[:, :3], x, []))
    with pytest.raises(InvalidData, match="same problem"):
        fitted(Gram, name, z, x, []).merge(fitted(Rows, name, z, x, []))


@on_every_backend
@pytest.mark.parametrize(("rows", "features", "solver"), [(40, 8, "eigh"), (6, 30, "dual-eigh"), (40, 4, "cholesky")])
def test_no_ridge_is_the_minimum_norm_solution(name: str, rows: int, features: int, solver: str) -> None:
    z, x = problem(rows, features, 3)
    if features == 8:
        z[:, 5] = z[:, 0] + z[:, 1]  # rank 7
    device = backend(name)
    sums = make_accumulator(device, features, 3, intercept=True, rows=rows)
    sums.update(device.put(z), device.put(x))
    found = sums.solve(0.0)
    centred = z - z.mean(0)
    expected = np.linalg.lstsq(centred, x - x.mean(0), rcond=1e-10)[0]
    assert found.solver == solver
    assert found.rank == np.linalg.matrix_rank(centred)
    assert relative_error(device.get(found.weights)[0], expected) < 1e-10


@on_every_backend
def test_a_tiny_ridge_on_a_singular_system_is_not_noise(name: str) -> None:
    """λ far below the rounding of the sums: noise divided by λ must not reach the weights."""
    z, x = problem(50, 5, 2)
    z = np.concatenate([z, z * 2], axis=1) * 1e6
    device = backend(name)
    sums = Gram(device, 10, 2, intercept=True)
    sums.update(device.put(z), device.put(x))
    found = sums.solve(1e-6)
    assert found.solver == "eigh"
    expected = np.linalg.lstsq(z - z.mean(0), x - x.mean(0), rcond=1e-10)[0]
    assert relative_error(device.get(found.weights)[0], expected) < 1e-8


@on_every_backend
def test_a_direction_is_noise_by_its_own_eigenvalue_and_not_by_the_ridge(name: str) -> None:
    """Of eigenvalues 1, .3 u and 0, u being k·eps, λ = .9 u lifts the second above u: it is noise all the same."""
    noise = 3 * EPS
    device = backend(name)
    found = factorise(device, device.put(np.diag([1.0, 0.3 * noise, 0.0])), 0.9 * noise)
    assert (found.solver, found.rank) == ("eigh", 1)
    np.testing.assert_allclose(device.get(found.solve(device.put(np.ones((3, 1)))))[:, 0], [1, 0, 0], atol=4 * EPS)


@on_every_backend
def test_a_stack_of_singular_systems_is_solved_by_what_stands_out(name: str) -> None:
    """Each against NumPy's pseudo-inverse; what rounding leaves of a zero eigenvalue is above zero in some of them."""
    rng = np.random.default_rng(2)
    half = rng.standard_normal((8, 6, 4))
    a, b = half @ np.swapaxes(half, 1, 2), rng.standard_normal((8, 6, 2))
    device = backend(name)
    found = factorise_stack(device, device.put(a), 0.0)
    assert (found.solver, found.rank) == ("eigh", 4)
    expected = np.linalg.pinv(a, rcond=1e-10, hermitian=True) @ b
    assert relative_error(device.get(found.solve(device.put(b))), expected) < 1e-10


@on_every_backend
def test_condition_is_that_of_the_system_solved(name: str) -> None:
    device = backend(name)
    values = np.array([100.0, 5.0, 1.0])
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    found = factorise(device, device.put(basis @ np.diag(values) @ basis.T), 1.0)
    assert found.condition == pytest.approx(101 / 2, rel=1e-6)


@on_every_backend
@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_the_condition_of_a_large_system_is_told_from_below(name: str, ridge: float) -> None:
    """Eigenvalues that crowd at both ends, where the power method is slow."""
    device, rng = backend(name), np.random.default_rng(0)
    values = np.geomspace(1e-3, 1e3, 400) + 1e-3
    basis = np.linalg.qr(rng.standard_normal((400, 400)))[0]
    found = factorise(device, device.put(basis @ np.diag(values) @ basis.T), ridge)
    condition = (values.max() + ridge) / (values.min() + ridge)
    # A Ritz value is no larger than the largest eigenvalue, and ends when a step changes it by a hundredth.
    assert 0.9 * condition < found.condition < condition * (1 + 1e3 * EPS * condition)
    assert found.solver == "cholesky"


@on_every_backend
def test_a_large_system_of_one_eigenvalue(name: str) -> None:
    """There the first direction is one of its eigenvectors, and no second one is left."""
    device = backend(name)
    found = factorise(device, device.put(3.0 * np.eye(300)), 1.0)
    assert found.condition == pytest.approx(1.0, rel=1e3 * EPS)


@on_every_backend
def test_a_large_singular_system_is_solved_by_what_stands_out(name: str) -> None:
    """The factorisation, which gets far before it fails, leaves no trace in the system that is solved instead."""
    device, rng = backend(name), np.random.default_rng(0)
    z = rng.standard_normal((299, 300))
    right = z.T @ rng.standard_normal((299, 2))
    found = factorise(device, device.put(z.T @ z), 0.0)
    assert (found.solver, found.rank) == ("eigh", 299)
    expected = np.linalg.pinv(z) @ np.linalg.pinv(z).T @ right
    # The smallest eigenvalue that is kept is a fifty-thousandth of the largest.
    assert relative_error(device.get(found.solve(device.put(right))), expected) < 1e-6


@pytest.mark.parametrize("kind", [Gram, Rows])
def test_the_weights_of_a_channel_lie_side_by_side(kind: Any) -> None:
    """So a Dense stores them: to turn those of a hundred million in memory takes longer than to fit them."""
    z, x = problem(20, 7, 5)
    weights = backend("numpy").get(fitted(kind, "numpy", z, x, []).solve(0.1).weights)[0]
    assert weights.T.flags.c_contiguous


@on_every_backend
def test_infinite_sums_are_refused(name: str) -> None:
    device = backend(name)
    with pytest.raises(InvalidData, match="not finite"):
        factorise(device, device.put(np.full((2, 2), np.inf)), 1.0)
    solve = factorise(device, device.put(np.eye(2)), 1.0).solve
    with pytest.raises(InvalidData, match="not finite"):
        solve(device.put(np.full((2, 1), np.inf)))


@on_every_backend
def test_float32_products_with_float64_sums(name: str) -> None:
    z, x = problem(4096, 20, 3, offset=0.5)
    device = backend(name, "float32")
    sums = Gram(device, 20, 3, intercept=True)
    for start in range(0, 4096, 512):
        sums.update(device.put(z[start : start + 512]), device.put(x[start : start + 512]))
    found = sums.solve(1e-3)
    reference = scikit_learn(z, x, 1e-3, "svd")
    weights = device.get(found.weights)
    assert weights.dtype == np.float64
    assert relative_error(weights[0], reference.coef_.T) < 20 * float(np.finfo(np.float32).eps)


@on_every_backend
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
def test_means_far_from_zero_cost_no_digits_in_float32(name: str, offset: float) -> None:
    """x that varies little around a large mean: unshifted products would round away what varies."""
    z, x = problem(4096, 20, 3, offset=0.5)
    x = (x + offset).astype(np.float32).astype(np.float64)
    device = backend(name, "float32")
    parts = [Gram(device, 20, 3, intercept=True) for _ in range(2)]
    for start in range(0, 4096, 512):
        rows = slice(start, start + 512)
        parts[start // 2048].update(device.put(z[rows]), device.put(x[rows]))
    parts[0].merge(parts[1])
    found = parts[0].solve(1e-3)
    reference = scikit_learn(z, x, 1e-3, "svd")
    assert relative_error(device.get(found.weights)[0], reference.coef_.T) < 40 * float(np.finfo(np.float32).eps)
    assert relative_error(device.get(found.intercept)[0], reference.intercept_) < 1e-6
    assert found.spread == pytest.approx(np.sum((x - x.mean(0)) ** 2), rel=1e-5)
