"""The CPU/GPU switch: transfers are explicit, what is unknown or unavailable is refused."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

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
    given = device.put(a.copy())
    solve = device.cholesky(given)
    assert device.get(given)[0, 1] == 1.0  # what stands above the diagonal stays
    assert relative_error(device.get(solve(device.put(np.eye(2)))), np.linalg.inv(a)) < 1e-15
    with pytest.raises(NotPositiveDefinite):
        device.cholesky(device.put(-a))


def test_work_is_shared_out_among_as_many_threads_as_blas_has() -> None:
    """Results in order, whichever is done first; each thread with one of BLAS, which has its own again afterwards."""
    met = Barrier(3, timeout=20)

    def work(item: int) -> tuple[int, set[int]]:
        met.wait()  # Three at a time, or never.
        time.sleep(0.01 * (-item % 3))
        return item, blas()

    def blas() -> set[int]:
        # OpenCV, which other tests load, brings one of its own that is not asked here.
        found = [one for one in threadpool_info() if one["user_api"] == "blas" and "opencv" not in one["filepath"]]
        return {one["num_threads"] for one in found}

    with threadpool_limits(3):
        assert list(get_backend("numpy").each(work, range(12))) == [(item, {1}) for item in range(12)]
        assert blas() == {3}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_stack_of_products_is_that_of_each(threads: int, count: int) -> None:
    """Cut into as many parts as there are threads, or stacked products."""
    a, b = (np.random.default_rng(count).standard_normal((count, *shape)) for shape in ((4, 5), (5, 3)))
    with threadpool_limits(threads):
        product = get_backend("numpy").matmul_stack(a, b)
    expected = [[[sum(row * column) for column in right.T] for row in left] for left, right in zip(a, b, strict=True)]
    # A sum of five terms rounds five times, relative to its terms, which are below 16 together.
    np.testing.assert_allclose(product, expected, rtol=0, atol=5 * 16 * np.finfo(float).eps)


def test_unknown_names() -> None:
    with pytest.raises(InvalidData, match="backend must be 'numpy' or 'cupy'"):
        get_backend("torch")
    with pytest.raises(InvalidData, match="dtype must be"):
        get_backend("numpy", "float16")


@on_every_backend
@pytest.mark.parametrize("size", [1, 2, 40])
@pytest.mark.parametrize("spread", [1.0, 1e14])
def test_a_factor_is_checked(name: str, size: int, spread: float) -> None:
    """CuPy's own check may be off, and cuSOLVER leaves what it did not reach: NaN, or the rest of the matrix."""
    device = backend(name)
    basis = np.linalg.qr(np.random.default_rng(size).standard_normal((size, size)))[0]
    a = 1e6 * (basis * np.geomspace(1, 1 / spread, size)) @ basis.T
    lower = np.linalg.cholesky(a)
    device.check_factor(device.put(a), device.put(lower))
    device.check_factor(device.put(np.tril(a) + (1 + 1e-6) * np.triu(a, 1)), device.put(lower))
    unknown, unfinished = lower.copy(), lower.copy()
    unknown[-1, -1] = np.nan
    last = slice(size // 2, None)
    unfinished[last, last] = np.tril(a[last, last])
    for wrong in (unknown, unfinished, np.full_like(a, np.nan), np.zeros_like(a), 1.0001 * lower):
        with pytest.raises(NotPositiveDefinite):
            device.check_factor(device.put(a), device.put(wrong))


def test_cupy_without_a_device() -> None:
    with pytest.raises(BackendUnavailable, match=r"^backend 'cupy' needs a CUDA device, and CuPy finds none$"):
        get_backend("cupy")


def test_cupy_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        BackendUnavailable, match=r"^backend 'cupy' needs CuPy: .*\[cuda12\]' or 'mipin_ref\[cuda13\]'$"
    ):
        get_backend("cupy")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        # As CuPy does where a library of CUDA is missing: pages of advice around the cause.
        (
            "try:\n    raise OSError('libcudart.so.12: cannot open')\nexcept OSError as e:\n"
            "    raise ImportError('\\n=====\\nFailed to import CuPy.\\n\\nOriginal error:\\n  ...') from e",
            r"cannot be imported \(OSError: libcudart\.so\.12: cannot open\): install the extra",
        ),
        ("import no_such_library", r"cannot be imported \(ModuleNotFoundError: No module named 'no_such_library'\)"),
        ("raise RuntimeError('\\n\\n')", r"cannot be imported \(RuntimeError\): install"),
        (
            "class cuda:\n    def is_available():\n        raise RuntimeError('cudaErrorUnknown: unknown error')",
            r"needs a CUDA device, and CuPy says: RuntimeError: cudaErrorUnknown: unknown error$",
        ),
        (
            "class cuda:\n    def is_available():\n        return True",
            r"finds a device but cannot compute on it \(\w+: .*\): install",
        ),
        ("class cuda:\n    def is_available():\n        return False", r"needs a CUDA device, and CuPy finds none$"),
    ],
)
def test_cupy_that_does_not_work(module: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for installations that are broken in ways that this machine is not."""
    (tmp_path / "cupy.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    try:
        with pytest.raises(BackendUnavailable, match=message) as found:
            get_backend("cupy")
    finally:
        sys.modules.pop("cupy", None)
    assert "\n" not in str(found.value)
