"""Gauss-Legendre nodes on [0, 1], against integrals that are known."""

from __future__ import annotations

import math

import pytest

from mipin_ref.layers.quadrature import gauss_legendre

EPS = 2.0**-52


@pytest.mark.parametrize("count", [1, 2, 7, 16, 32])
def test_polynomials_of_degree_below_twice_the_nodes_are_exact(count: int) -> None:
    for degree in range(2 * count):
        total = math.fsum(weight * node**degree for node, weight in gauss_legendre(count))
        # NumPy's nodes and weights are right to a few units of roundoff of one; a power multiplies that by its degree.
        assert total == pytest.approx(1 / (degree + 1), abs=16 * (degree + 1) * EPS)


def test_one_degree_more_is_not() -> None:
    total = math.fsum(weight * node**4 for node, weight in gauss_legendre(2))
    # The error on monic polynomials of degree 2n is (n!)^4 / ((2n + 1) (2n)!^2) of the interval of length one.
    assert 1 / 5 - total == pytest.approx(math.factorial(2) ** 4 / (5 * math.factorial(4) ** 2), abs=16 * EPS)
