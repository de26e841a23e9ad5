"""The CPU/GPU switch: array namespace, device, dtype, factorisations, and the only two ways to and from NumPy."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal

import array_api_compat
import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.linalg
from threadpoolctl import ThreadpoolController

from mipin_ref.errors import BackendUnavailable, InvalidData

Array = Any
"""An array of the backend's namespace: NumPy, CuPy, or any other of the array API standard."""

Dtype = Literal["float64", "float32"]


class NotPositiveDefinite(Exception):
    """A Cholesky factorisation met a pivot that is not positive."""


@dataclass(frozen=True)
class Backend:
    """Where the engine computes: `xp` on `device`, products in `dtype`, sums and solutions in float64."""

    xp: Any
    device: Any
    dtype: Dtype

    @property
    def name(self) -> str:
        return str(self.xp.__name__).removeprefix("array_api_compat.")

    @property
    def compute(self) -> Any:
        """The dtype of signals and matrix products."""
        return getattr(self.xp, self.dtype)

    @property
    def itemsize(self) -> int:
        return 8 if self.dtype == "float64" else 4

    def put(self, a: npt.NDArray[Any], dtype: Any = None) -> Array:
        """A NumPy array on the device, floats as `compute` unless a dtype is given."""
        if dtype is None and np.issubdtype(a.dtype, np.floating):
            dtype = self.compute
        if not a.flags.writeable and not self._is_numpy:
            a = a.copy()
        return self.xp.asarray(a, dtype=dtype, device=self.device)

    def get(self, a: Array) -> npt.NDArray[Any]:
        """A device array as NumPy."""
        if self._is_numpy:
            return np.asarray(a)
        if array_api_compat.is_cupy_namespace(self.xp):
            return np.asarray(a.get())
        host = self.xp.Device("CPU_DEVICE") if self.xp.__name__ == "array_api_strict" else "cpu"
        return np.array(np.from_dlpack(array_api_compat.to_device(a, host)))

    def contiguous(self, a: Array) -> Array:
        """The same values in C order, as `put` gives them; the rounding of what follows may depend on the order."""
        if array_api_compat.is_torch_namespace(self.xp):
            return a.contiguous()
        if self._is_numpy or array_api_compat.is_cupy_namespace(self.xp):
            return self.xp.ascontiguousarray(a)
        # The standard has no memory order, so what is not known to be in C order is written anew.
        fresh = self.zeros(a.shape, a.dtype)
        fresh[...] = a
        return fresh

    def zeros(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return self.xp.zeros(shape, dtype=dtype or self.compute, device=self.device)

    def cholesky(self, a: Array) -> Callable[[Array], Array]:
        """Factorise a [k, k], symmetric, float64; the result solves a x = b for b [k, d].

        Raises NotPositiveDefinite.
        """
        xp = self.xp
        if self._is_numpy:
            try:
                factor = scipy.linalg.cho_factor(a, lower=True, check_finite=False)
            except np.linalg.LinAlgError as error:
                raise NotPositiveDefinite from error
            return lambda b: scipy.linalg.cho_solve(factor, b, check_finite=False)
        if array_api_compat.is_cupy_namespace(xp):
            return _cupy_cholesky(a)
        try:
            lower = xp.linalg.cholesky(a)
        except (np.linalg.LinAlgError, RuntimeError) as error:
            raise NotPositiveDefinite from error
        # The standard has no triangular solve, and solving with a itself may find it singular where its factor is not.
        return lambda b: xp.linalg.solve(lower.T, xp.linalg.solve(lower, b))

    def eigh(self, a: Array) -> tuple[Array, Array]:
        """Eigenvalues [k], ascending, and eigenvectors [k, k] of a symmetric float64 matrix."""
        values, vectors = self.xp.linalg.eigh(a)
        return values, vectors

    def matmul_stack(self, a: Array, b: Array) -> Array:
        """Many small products a [f, r, n] @ b [f, n, c].

        On NumPy the stack is shared out among threads that each use one BLAS thread: BLAS would start and join its own
        for every small product, which costs more than the product and, on a busy machine, many times more.
        """
        if not self._is_numpy:
            return a @ b
        out = np.empty((a.shape[0], a.shape[1], b.shape[2]), np.result_type(a, b))
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        edges = np.linspace(0, len(out), min(workers, len(out)) + 1).astype(int)
        with _blas_threads().limit(limits=1), ThreadPoolExecutor(len(edges) - 1) as pool:
            list(pool.map(lambda i, j: np.matmul(a[i:j], b[i:j], out=out[i:j]), edges[:-1], edges[1:]))
        return out

    def rfftn(self, a: Array, size: tuple[int, ...], axes: tuple[int, ...]) -> Array:
        """Real FFT over `axes`, zero-padded to `size`, in the precision of a."""
        if self._is_numpy:
            return scipy.fft.rfftn(a, s=size, axes=axes, workers=-1)
        return self.xp.fft.rfftn(a, s=size, axes=axes)

    def irfftn(self, a: Array, size: tuple[int, ...], axes: tuple[int, ...]) -> Array:
        """The inverse of rfftn."""
        return self.xp.fft.irfftn(a, s=size, axes=axes)

    @property
    def _is_numpy(self) -> bool:
        return bool(array_api_compat.is_numpy_namespace(self.xp))


@cache
def _blas_threads() -> ThreadpoolController:
    """Finding the BLAS libraries of the process takes longer than limiting them, so it is done once."""
    return ThreadpoolController().select(user_api="blas")


def get_backend(backend: str | Backend | ModuleType = "numpy", dtype: str = "float64") -> Backend:
    """The backend of a name ("numpy", "cupy"), of an array-API namespace, or a Backend as it is.

    Raises BackendUnavailable where CuPy or a device is missing, InvalidData for another name or dtype.
    """
    if dtype not in ("float64", "float32"):
        raise InvalidData(f"dtype must be 'float64' or 'float32', not {dtype!r}")
    kind: Dtype = "float64" if dtype == "float64" else "float32"
    if isinstance(backend, Backend):
        return Backend(backend.xp, backend.device, kind)
    if isinstance(backend, ModuleType) and array_api_compat.is_cupy_namespace(backend):
        backend = "cupy"
    if isinstance(backend, ModuleType) and hasattr(backend, "asarray"):
        return Backend(array_api_compat.array_namespace(backend.asarray([0.0])), None, kind)
    if backend == "numpy":
        return Backend(array_api_compat.array_namespace(np.zeros(1)), None, kind)
    if backend == "cupy":
        return Backend(_cupy_namespace(), None, kind)
    raise InvalidData(f"backend must be 'numpy' or 'cupy', not {backend!r}")


def _cupy_namespace() -> Any:
    install = "install the extra that fits your CUDA: pip install 'mipin_ref[cuda12]' or 'mipin_ref[cuda13]'"
    try:
        import cupy
    except ImportError as error:
        raise BackendUnavailable(f"backend 'cupy' needs CuPy: {install}") from error
    if not cupy.cuda.is_available():
        raise BackendUnavailable("backend 'cupy' needs a CUDA device, and CuPy finds none")
    import array_api_compat.cupy

    return array_api_compat.cupy


def _cupy_cholesky(a: Array) -> Callable[[Array], Array]:
    import cupy
    import cupyx
    from cupyx.scipy.linalg import solve_triangular

    # Without errstate CuPy returns NaN instead of raising.
    try:
        with cupyx.errstate(linalg="raise"):
            lower = cupy.linalg.cholesky(a)
    except np.linalg.LinAlgError as error:
        raise NotPositiveDefinite from error
    return lambda b: solve_triangular(lower, solve_triangular(lower, b, lower=True), lower=True, trans="T")
