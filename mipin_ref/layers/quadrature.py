"""Integrals over [0, 1] as weighted sums."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def gauss_legendre(count: int) -> tuple[tuple[float, float], ...]:
    """The `count` Gauss-Legendre nodes on [0, 1], each with its weight: exact for polynomials of degree 2 count - 1."""
    at, weights = np.polynomial.legendre.leggauss(count)
    return tuple((float(0.5 * (u + 1)), float(0.5 * w)) for u, w in zip(at, weights, strict=True))
