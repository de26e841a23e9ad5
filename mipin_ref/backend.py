"""The CPU/GPU switch: array namespace, device, dtype, factorisations, and the only two ways to and from NumPy."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeVar

import array_api_compat
import numpy as np
import numpy.typing as npt
import scipy.linalg

from mipin_ref.errors import BackendUnavailable, InvalidData, shown
from mipin_ref.options import checked_choice
from mipin_ref.threads import BLAS_THREADS

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

    @property
    def rides(self) -> bool:
        """Whether onnxruntime may compute in its place: in single precision, on the host."""
        return self._is_numpy and self.dtype == "float32"

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
            lower = _cupy_factor(a)
            self.check_factor(a, lower)
            return _cupy_solve(lower)
        try:
            lower = xp.linalg.cholesky(a)
        except (np.linalg.LinAlgError, RuntimeError) as error:
            raise NotPositiveDefinite from error
        self.check_factor(a, lower)
        # The standard has no triangular solve, and solving with a itself may find it singular where its factor is not.
        return lambda b: xp.linalg.solve(lower.T, xp.linalg.solve(lower, b))

    def check_factor(self, a: Array, lower: Array) -> None:
        """Whether lower lowerᵀ is a [k, k], by its product with one vector: not every library says where it failed.

        A factor left unfinished holds NaN, or the rest of a as it was. Of a only the lower triangle counts, as in the
        factorisation: products in single precision are symmetric up to their rounding. Raises NotPositiveDefinite.
        """
        xp, k = self.xp, a.shape[0]
        v = xp.cos(xp.arange(k, dtype=a.dtype, device=self.device))
        half, diagonal = xp.tril(a), xp.linalg.diagonal(a)
        wrong = xp.max(xp.abs(lower @ (lower.T @ v) - (half @ v + half.T @ v - diagonal * v)))
        # Rounding leaves (k + 1)·eps·√(a_ii a_jj) of each entry, the products thrice as much, and v is at most one.
        allowed = 4 * (k + 1) * k * float(np.finfo(np.float64).eps) * xp.max(xp.abs(diagonal))
        if not bool(wrong <= allowed):
            raise NotPositiveDefinite

    def eigh(self, a: Array) -> tuple[Array, Array]:
        """Eigenvalues [.., k], ascending, and eigenvectors [.., k, k] of symmetric float64 matrices.

        Raises InvalidData where the iteration for them does not end.
        """
        cupy = array_api_compat.is_cupy_namespace(self.xp)
        try:
            with _cupy_errors() if cupy else nullcontext():
                values, vectors = self.xp.linalg.eigh(a)
        except np.linalg.LinAlgError as error:
            raise InvalidData(f"the normal equations have no eigenvalues that can be found: {error}") from error
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
            ahead: deque[Future[U]] = deque()
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def add_gram(self, total: Array, z: Array) -> None:
        """Add zᵀz of z [n, k] to total [k, k], of which only the lower triangle counts then."""
        if not self._is_numpy:
            total += z.T @ z
            return
        # NumPy would have BLAS multiply one triangle and then mirror it element by element, which for a few hundred
        # rows takes longer than the product; so the triangle is cut into blocks of columns.
        width = z.shape[1]
        step = max(128, -(-width // 8))
        for start in range(0, width, step):
            columns = slice(start, min(start + step, width))
            total[start:, columns] += z[:, start:].T @ z[:, columns]

    def matmul_stack(self, a: Array, b: Array) -> Array:
        """The many small products a [f, r, n] @ b [f, n, c]."""
        if not self._is_numpy:
            return a @ b
        out = np.empty((a.shape[0], a.shape[1], b.shape[2]), np.result_type(a, b))
        edges = np.linspace(0, len(out), min(BLAS_THREADS.count, len(out)) + 1).astype(int)
        for _ in self.each(lambda at: np.matmul(a[at], b[at], out=out[at]), map(slice, edges[:-1], edges[1:])):
            pass
        return out

    @property
    def has_own_memory(self) -> bool:
        """Whether arrays lie on a device that computes beside the host, which may do something else meanwhile."""
        return bool(array_api_compat.is_cupy_namespace(self.xp)) or "cuda" in str(self.device)

    @property
    def _is_numpy(self) -> bool:
        return bool(array_api_compat.is_numpy_namespace(self.xp))


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
    checked_choice("dtype", dtype, ("float64", "float32"))
    kind: Dtype = "float64" if dtype == "float64" else "float32"
    if isinstance(backend, Backend):
        return Backend(backend.xp, backend.device, kind)
    if isinstance(backend, ModuleType) and array_api_compat.is_cupy_namespace(backend):
        backend = "cupy"
    if isinstance(backend, ModuleType) and hasattr(backend, "asarray"):
        return Backend(array_api_compat.array_namespace(backend.asarray([0.0])), None, kind)
    if isinstance(backend, str) and backend == "numpy":
        return Backend(array_api_compat.array_namespace(np.zeros(1)), None, kind)
    if isinstance(backend, str) and backend == "cupy":
        return Backend(_cupy_namespace(), None, kind)
    raise InvalidData(f"backend must be 'numpy' or 'cupy', not {shown(backend)}")


def _cupy_namespace() -> Any:
    """CuPy's namespace, every CUDA library that the engine will need having been used once."""
    install = "install the extra that fits your CUDA: pip install 'mipin_ref[cuda12]' or 'mipin_ref[cuda13]'"
    try:
        import cupy
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise BackendUnavailable(f"backend 'cupy' needs CuPy: {install}") from error
        raise BackendUnavailable(f"CuPy is installed but cannot be imported ({_cause(error)}): {install}") from error
    try:
        has_device = bool(cupy.cuda.is_available())
    except Exception as error:
        raise BackendUnavailable(f"backend 'cupy' needs a CUDA device, and CuPy says: {_cause(error)}") from error
    if not has_device:
        raise BackendUnavailable("backend 'cupy' needs a CUDA device, and CuPy finds none")
    # CuPy opens cuBLAS, cuSOLVER and the compiler when they are first needed: that must not be after an hour.
    try:
        import array_api_compat.cupy as xp

        device = Backend(xp, None, "float64")
        two = device.put(2 * np.eye(2))
        device.cholesky(two)(two)
        device.eigh(two)
        device.eigh(xp.stack([two, two]))
    except Exception as error:
        raise BackendUnavailable(
            f"CuPy finds a device but cannot compute on it ({_cause(error)}): {install}"
        ) from error
    return xp


def _cause(error: BaseException) -> str:
    """The first line of what went wrong first; CuPy puts pages around it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


def _cupy_errors() -> AbstractContextManager[None]:
    """Make CuPy ask cuSOLVER whether it succeeded; by default it does not, and goes on with what it finds."""
    import cupyx

    errors: AbstractContextManager[None] = cupyx.errstate(linalg="raise")
    return errors


def _cupy_factor(a: Array) -> Array:
    import cupy

    try:
        with _cupy_errors():
            return cupy.linalg.cholesky(a)
    except np.linalg.LinAlgError as error:
        raise NotPositiveDefinite from error


def _cupy_solve(lower: Array) -> Callable[[Array], Array]:
    from cupyx.scipy.linalg import solve_triangular

    return lambda b: solve_triangular(lower, solve_triangular(lower, b, lower=True), lower=True, trans="T")
