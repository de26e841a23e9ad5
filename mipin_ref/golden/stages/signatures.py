"""Mistakes that any array may show, whatever its stage."""

from __future__ import annotations

import numpy as np

from mipin_ref.golden.stages.stage import Explained
from mipin_ref.layers import HostArray


def reordered(golden: HostArray, value: HostArray) -> Explained:
    """The right numbers at wrong places."""
    if value.ndim > 1 and len(set(value.shape)) < value.ndim:
        yield "axes 0 and 1 are swapped", lambda: golden.swapaxes(0, 1)
    if value.ndim > 1:
        yield "the values lie in Fortran order", lambda: golden.ravel("F").reshape(golden.shape)
        yield "the values lie in Fortran order", lambda: golden.ravel().reshape(golden.shape, order="F")


def scaled(golden: HostArray, value: HostArray) -> Explained:
    """The right numbers times one factor."""
    yield "the sign is wrong", lambda: -golden
    factor = _factor(golden, value)
    # The weights of a single regressor are all scaled alike, whatever is wrong with it.
    if abs(factor - 1) > 1e-3 and value.shape[-1:] != (1,):
        yield f"all values are {factor:.6g} times the golden ones", lambda: golden * factor


def _factor(golden: HostArray, value: HostArray) -> float:
    """The number that golden times it comes nearest to value."""
    square = float(np.sum(golden * golden))
    return float(np.sum(golden * value)) / square if square else 1.0
