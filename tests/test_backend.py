"""The CPU/GPU switch: transfers are explicit, unknown backends are refused, and CuPy has every function we call."""

from __future__ import annotations

import numpy as np
import pytest

from mipin_ref.backend import NotPositiveDefinite, get_backend
from mipin_ref.errors import BackendUnavailable, InvalidData
from tests.backends import backend, on_every_backend, relative_error


@on_every_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_there_and_back(name: str, dtype: str) -> None:
    device = backend(name, dtype)
    frozen = np.arange(6.0).reshape(2, 3)
    frozen.flags.writeable = False
    for array in (frozen, np.asfortranarray(frozen), frozen[:, ::2], frozen != 0, np.array([1, 2], np.uint8)):
        back = device.get(device.put(array))
        assert np.array_equal(back, array)
        assert back.dtype == (np.dtype(dtype) if array.dtype == np.float64 else array.dtype)


@on_every_backend
def test_cholesky_solves_and_raises(name: str) -> None:
    device = backend(name)
    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    solve = device.cholesky(device.put(a))
    assert relative_error(device.get(solve(device.put(np.eye(2)))), np.linalg.inv(a)) < 1e-15
    with pytest.raises(NotPositiveDefinite):
        device.cholesky(device.put(-a))


def test_unknown_names() -> None:
    with pytest.raises(InvalidData, match="backend must be 'numpy' or 'cupy'"):
        get_backend("torch")
    with pytest.raises(InvalidData, match="dtype must be"):
        get_backend("numpy", "float16")


def test_cupy_says_what_to_install() -> None:
    with pytest.raises(BackendUnavailable, match=r"cuda12|CUDA device"):
        get_backend("cupy")
