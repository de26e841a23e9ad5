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

MUCH = 2e7
"""Operations of which threads each take a part, at the least."""

MANY = 64
"""Small systems of which threads each take a part, at the least."""

SMALL_SYSTEM = 2048
"""Unknowns up to which one thread factorises as fast as two."""

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

    def contiguous(self, a: Array, dtype: Any = None) -> Array:
        """The same values in C order, as `put` gives them; the rounding of what follows may depend on the order.

        dtype: of the result, a's where None.
        """
        dtype = dtype or a.dtype
        if array_api_compat.is_torch_namespace(self.xp):
            return self.xp.astype(a, dtype, copy=False).contiguous()
        if self._is_numpy or array_api_compat.is_cupy_namespace(self.xp):
            return self.xp.ascontiguousarray(a, dtype=dtype)
        # The standard has no memory order, so what is not known to be in C order is written anew.
        fresh = self.zeros(a.shape, dtype)
        fresh[...] = self.xp.astype(a, dtype, copy=False)
        return fresh

    def zeros(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return self.xp.zeros(shape, dtype=dtype or self.compute, device=self.device)

    def cholesky(self, a: Array) -> Callable[[Array], Array]:
        """Factorise a [k, k], symmetric, float64; the result solves a x = b for b [k, d].

        The lower triangle of a, with the diagonal, may be overwritten. Raises NotPositiveDefinite.
        """
        xp = self.xp
        if self._is_numpy:
            try:
                # Its transpose, which is the same matrix, is in the order that LAPACK takes.
                factor = scipy.linalg.cho_factor(a.T, lower=False, overwrite_a=True, check_finite=False)
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
            if self._is_numpy and a.ndim == 3 and len(a) >= MANY:
                # One after another, they would be left to a single thread.
                parts = list(self.each(np.linalg.eigh, np.array_split(a, self.at_a_time)))
                values, vectors = (np.concatenate(some) for some in zip(*parts, strict=True))
            else:
                with _cupy_errors() if cupy else nullcontext():
                    values, vectors = self.xp.linalg.eigh(a)
        except np.linalg.LinAlgError as error:
            raise InvalidData(f"the normal equations have no eigenvalues that can be found: {error}") from error
        return values, vectors

    @property
    def block_bytes(self) -> int:
        """How large the operands of one step should be: what stays in the caches of a host, what fills a device."""
        return (4 << 20) if self._is_numpy else (64 << 20)

    @property
    def at_a_time(self) -> int:
        """How many items `each` works on."""
        return BLAS_THREADS.count if self._is_numpy else 1

    def add_to_diagonal(self, a: Array, value: float | Array) -> Array:
        """a [k, k] with value, one or [k], added to its diagonal, in place where arrays can be."""
        k = a.shape[0]
        if self._is_numpy:
            np.einsum("ii->i", a)[...] += value
            return a
        a += value * self.xp.eye(k, dtype=a.dtype, device=self.device)
        return a

    def few_threads(self, unknowns: int) -> AbstractContextManager[object]:
        """One thread of BLAS where a system is small: a second gains little there, and loses much on a busy machine."""
        return BLAS_THREADS.single() if self._is_numpy and unknowns < SMALL_SYSTEM else nullcontext()

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

    def add_products(self, zz: Array, zy: Array, z: Array, y: Array) -> None:
        """Add zᵀz and zᵀy of z [n, k] and y [n, d] to zz [k, k], of which only the lower triangle counts then, and zy.

        On NumPy some columns at a time: BLAS would multiply one triangle and NumPy mirror it element by element, which
        for a few hundred rows takes longer than the product; and products are still near the processor when they are
        added to float64 sums. Where there is much to multiply threads share out the columns, so that none waits for
        another within a product.
        """
        if not self._is_numpy:
            zz += z.T @ z
            zy += z.T @ y
            return
        (rows, width), wide = z.shape, y.shape[1]
        much = rows * width * (width + 2 * wide) > MUCH
        step = max(1, 4 * self.block_bytes // (width * self.itemsize))
        step = min(step, max(64, -(-wide // 4))) if much else step
        jobs = [(zy, y, slice(None), slice(start, min(start + step, wide))) for start in range(0, wide, step)]
        step = max(128, -(-width // 8))
        triangle = range(0, width, step)
        jobs += [(zz, z, slice(start, None), slice(start, min(start + step, width))) for start in triangle]

        def add(job: tuple[Array, Array, slice, slice]) -> None:
            total, right, below, columns = job
            total[below, columns] += z[:, below].T @ right[:, columns]

        for _ in self.each(add, jobs) if much else map(add, jobs):
            pass

    def dots(self, a: Array, b: Array) -> Array:
        """Σ a b [c] over n and l of [n, c, l], multiplied and summed in float64."""
        xp = self.xp
        a, b = (xp.astype(one, xp.float64, copy=False) for one in (a, b))
        if a.shape[2] == 1:
            return np.einsum("ncl,ncl->c", a, b) if self._is_numpy else xp.sum(a * b, axis=(0, 2))
        # BLAS would share out every single long product among its threads.
        with BLAS_THREADS.single() if self._is_numpy else nullcontext():
            return xp.sum(xp.vecdot(a, b, axis=-1), axis=0)

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
