"""The CPU/GPU switch: array namespace, device, dtype, factorisations, and the only two ways to and from NumPy."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from types import ModuleType
from typing import Any, Literal, TypeVar

import array_api_compat
import numpy as np
import numpy.typing as npt
import scipy.linalg
from threadpoolctl import ThreadpoolController

from mipin_ref.errors import BackendUnavailable, InvalidData

Array = Any
"""An array of the backend's namespace: NumPy, CuPy, or any other of the array API standard."""

Dtype = Literal["float64", "float32"]

T = TypeVar("T")
U = TypeVar("U")


class NotPositiveDefinite(Exception):
    """A Cholesky factorisation met a pivot that is not positive."""


@dataclass(frozen=True)
class Backend:
    """Where the engine computes: `xp` on `device`, products in `dtype`, sums and solutions in float64."""

    xp: Any
    device: Any
    dtype: Dtype

    def __reduce__(self) -> tuple[Callable[..., Backend], tuple[str, Any, Dtype]]:
        # A module does not travel between processes; its name does.
        return _named, (self.xp.__name__, self.device, self.dtype)

    @property
    def name(self) -> str:
        return str(self.xp.__name__).removeprefix("array_api_compat.")

    @property
    def compute(self) -> Any:
        """The dtype of signals and matrix products."""
        return getattr(self.xp, self.dtype)

    def in_double(self) -> Backend:
        """The same with products in float64."""
        return Backend(self.xp, self.device, "float64")

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

    @property
    def block_bytes(self) -> int:
        """How large the operands of one step should be: what stays in the caches of a host, what fills a device."""
        return (4 << 20) if self._is_numpy else (64 << 20)

    def each(self, work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """work(item) for every item, results in order.

        On NumPy the items are shared out among threads that each use one BLAS thread: BLAS would start and join its own
        for every small product, which costs more than the product and, on a busy machine, many times more. There are
        as many threads as BLAS is set to.
        """
        if not self._is_numpy:
            yield from map(work, items)
            return
        with BLAS_THREADS.single() as threads, ThreadPoolExecutor(threads) as pool:
            left = iter(items)
            while chunk := list(islice(left, threads)):
                yield from pool.map(work, chunk)

    def matmul_stack(self, a: Array, b: Array) -> Array:
        """Many small products a [f, r, n] @ b [f, n, c]."""
        if not self._is_numpy:
            return a @ b
        out = np.empty((a.shape[0], a.shape[1], b.shape[2]), np.result_type(a, b))
        edges = np.linspace(0, len(out), min(BLAS_THREADS.count, len(out)) + 1).astype(int)
        for _ in self.each(lambda at: np.matmul(a[at], b[at], out=out[at]), map(slice, edges[:-1], edges[1:])):
            pass
        return out

    @property
    def _is_numpy(self) -> bool:
        return bool(array_api_compat.is_numpy_namespace(self.xp))


class _BlasThreads:
    """How many threads BLAS may use in this process: one number for all its copies, restored in the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users, self._limits, self._count = 0, ExitStack(), 1
        self._alone = 0

    @cached_property
    def _libraries(self) -> ThreadpoolController:
        """Finding the BLAS libraries takes longer than limiting them, so it is done once."""
        return ThreadpoolController().select(user_api="blas")

    @property
    def count(self) -> int:
        """The number that BLAS is set to outside of `single`; one inside of `alone`."""
        with self._lock:
            if self._alone:
                return 1
            return self._count if self._users else self._setting()

    def _setting(self) -> int:
        return max((int(library["num_threads"]) for library in self._libraries.info()), default=1)

    @contextmanager
    def single(self) -> Iterator[int]:
        """One thread a call for as long as anybody is inside; yields how many there were."""
        with self._lock:
            if not self._users:
                self._count = self._setting()
                self._limits.enter_context(self._libraries.limit(limits=1))
            self._users += 1
            count = 1 if self._alone else self._count
        try:
            yield count
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._limits.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """`single`, and nothing is shared out among threads either: for one of many tasks that a process runs."""
        with self.single():
            with self._lock:
                self._alone += 1
            try:
                yield
            finally:
                with self._lock:
                    self._alone -= 1


BLAS_THREADS = _BlasThreads()


def _named(module: str, device: Any, dtype: Dtype) -> Backend:
    """The Backend of a namespace's name, in another process. Raises BackendUnavailable where it is not installed."""
    try:
        return Backend(importlib.import_module(module), device, dtype)
    except ImportError as error:
        raise BackendUnavailable(f"the array namespace {module} is missing here: {error}") from error


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
