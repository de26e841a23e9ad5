"""The namespaces that the engine is tested on: what would break on CuPy must break on one of these."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from mipin_ref.backend import Backend, get_backend

NAMES = ("numpy", "array-api-strict", "torch")


def backend(name: str, dtype: str = "float64") -> Backend:
    """NumPy; array-api-strict on device1, where NumPy functions and host arrays raise; torch on the CPU; CuPy."""
    if name == "array-api-strict":
        import array_api_strict

        strict = Backend(array_api_strict, array_api_strict.Device("device1"), "float64")
        return get_backend(strict, dtype)
    if name == "torch":
        import torch

        return get_backend(torch, dtype)
    return get_backend(name, dtype)


on_every_backend = pytest.mark.parametrize("name", [*NAMES, pytest.param("cupy", marks=pytest.mark.gpu)])
"""CuPy's turn comes with `pytest -m gpu` alone."""

on_drawn_backend = pytest.mark.parametrize(
    "names", [pytest.param(NAMES, id="cpu"), pytest.param(("cupy",), id="cupy", marks=pytest.mark.gpu)]
)
"""For tests of random examples: each draws one of `names` by a number from PICKS."""

PICKS = st.integers(0, len(NAMES) - 1)


def picked(names: tuple[str, ...], pick: int) -> str:
    return names[pick % len(names)]


EPS = float(np.finfo(np.float64).eps)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """max |actual - expected| / max |expected|."""
    scale = float(np.max(np.abs(expected), initial=0.0))
    return float(np.max(np.abs(actual - expected), initial=0.0)) / (scale or 1.0)
