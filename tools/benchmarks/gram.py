"""The Gram of a convolution's adjoint: correlations against explicit im2col and syrk, one thread, float32 products."""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.tables import Sheet, Told
from measured.cells import Value
from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.solve.regressor_sums import RegressorSums
from mipin_ref.window import Window

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Case:
    """A square convolution whose signal S has `channels` channels on a map of map×map locations."""

    channels: int
    kernel: int
    map: int
    stride: int
    pad: int
    images: int

    @property
    def size(self) -> int:
        """Side of the input that the adjoint reconstructs."""
        return (self.map - 1) * self.stride + self.kernel - 2 * self.pad

    @property
    def window(self) -> Window:
        return Window((self.kernel,) * 2, (self.stride,) * 2, (self.pad,) * 2, (self.pad,) * 2, (1, 1))

    def __str__(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        pad = f", pad {self.pad}" if self.pad else ", no pad"
        return (
            f"{self.channels}, {self.kernel}×{self.kernel}, {self.map}×{self.map}{stride}{pad} ({self.images} images)"
        )


COLUMNS = {
    "channels, kernel, map of S": "{case}",
    "im2col + syrk": "{rival:seconds}{scaled}",
    "correlation": "{ours:seconds}",
    "ratio": "{ratio:.3g}×",
    "apart": "{apart:.0e}",
    "extra memory": "{mine:MB.0} of {theirs:MB.0}",
}
CASES = (
    Case(64, 3, 24, 1, 0, 512),
    Case(64, 5, 28, 1, 0, 512),
    Case(64, 3, 28, 1, 1, 512),
    Case(128, 3, 28, 2, 1, 512),
    Case(64, 7, 56, 2, 3, 512),
    Case(512, 3, 14, 1, 1, 64),
)


def im2col(s: Floats, case: Case) -> Floats:
    """Regressors [n·locations, taps·channels] of s [n, channels, map, map]: channels innermost, the layout that costs
    least to write; a location's taps side by side."""
    n, c, k, reach = len(s), case.channels, case.kernel, case.kernel - 1
    spread = (case.map - 1) * case.stride + 1
    canvas = np.zeros((n, spread + 2 * reach, spread + 2 * reach, c), s.dtype)
    canvas[:, reach : reach + spread : case.stride, reach : reach + spread : case.stride] = s.transpose(0, 2, 3, 1)
    rows = np.empty((n, case.size, case.size, k * k, c), s.dtype)
    for u in range(k):
        for v in range(k):
            top, left = reach - u + case.pad, reach - v + case.pad
            rows[:, :, :, u * k + v] = canvas[:, top : top + case.size, left : left + case.size]
    return rows.reshape(-1, k * k * c)


def by_im2col(s: Floats, case: Case, chunk: int) -> Floats:
    total = np.zeros((case.kernel**2 * case.channels,) * 2)
    for i in range(0, len(s), chunk):
        rows = im2col(s[i : i + chunk], case)
        total += rows.T @ rows  # one buffer with itself: NumPy calls syrk
    return total


def by_correlation(backend: Backend, s: Array, case: Case, chunk: int) -> Array:
    size, where = (case.size,) * 2, (case.map,) * 2
    sums = RegressorSums(backend, [case.window], size, [where], [case.channels])
    for i in range(0, s.shape[0], chunk):
        sums.update([s[i : i + chunk, ...]])
    return sums.gram()


def measured(work: Callable[[], Any], finish: Callable[[Any], Any], repeats: int) -> tuple[float, Any]:
    """The least seconds of a call, as other work on the machine can only add to it, and what it returned."""
    best, value = float("inf"), None
    for _ in range(repeats):
        began = time.perf_counter()
        value = work()
        finish(value)
        best = min(best, time.perf_counter() - began)
    return best, value


def extra_bytes(work: Callable[[], Any], result: int) -> int:
    """The peak of what NumPy allocated during a call, less the result."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    parser.add_argument("--images", type=int, help="instead of each row's own number")
    parser.add_argument("--rival-bytes", type=float, default=2e9, help="im2col rows written at a time, at the most")
    parser.add_argument("--rival-seconds", type=float, default=20, help="fewer images for im2col beyond about this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=list(range(len(CASES))), help="which rows of the table")


def run(options: argparse.Namespace) -> Told:
    """A row a case; im2col is timed on fewer images where it takes long, and scaled in proportion."""
    backend = get_backend(options.backend, "float32")
    sheet = Sheet(COLUMNS)
    with threadpool_limits(limits=1):
        rate = gemm_rate()
        for number in options.rows:
            sheet.add(**row(CASES[number], backend, options, rate))
    return {"rows": sheet.rows}


def gemm_rate() -> float:
    """Operations a second of a float32 product."""
    a = np.ones((1024, 1024), np.float32)
    seconds, _ = measured(lambda: a @ a, lambda _: None, 3)
    return 2 * 1024**3 / seconds


def row(case: Case, backend: Backend, options: argparse.Namespace, rate: float) -> dict[str, Value]:
    """The figures of one case. mine, theirs: bytes beyond the Gram, None where a device does not tell its own."""
    images = options.images or case.images
    generator = np.random.default_rng(0)
    s = np.maximum(generator.standard_normal((images, case.channels, case.map, case.map), np.float32), 0)
    features = case.kernel**2 * case.channels
    each = 4 * features * case.size**2
    at_once = max(1, min(images, int(options.rival_bytes // each)))
    fewer = max(1, min(images, int(options.rival_seconds * rate // (case.size**2 * features**2))))
    chunks = {min(fewer, at_once), min(fewer, max(1, int(64e6 // each)))}
    repeats = options.repeats if fewer == images else 1
    tried = [measured(partial(by_im2col, s[:fewer], case, c), lambda _: None, repeats) for c in sorted(chunks)]
    rival, expected = min(tried, key=lambda one: one[0])
    chunk = max(1, min(images, (24 << 20) // (4 * case.channels * case.map**2)))
    device = backend.put(s)
    ours, _ = measured(lambda: by_correlation(backend, device, case, chunk), backend.get, options.repeats)
    same = backend.get(by_correlation(backend, device[:fewer, ...], case, chunk))
    apart = np.max(np.abs(same - expected)) / np.max(np.abs(expected))
    rival *= images / fewer
    result = 8 * features**2
    traced = options.backend == "numpy"
    return {
        "case": str(case),
        "rival": rival,
        "scaled": "" if fewer == images else f" (from {fewer} images)",
        "ours": ours,
        "ratio": rival / ours,
        "apart": float(apart),
        "mine": extra_bytes(lambda: by_correlation(backend, s, case, chunk), result) if traced else None,
        # The rows of all images at once and the product that is added to the sums.
        "theirs": each * images + 4 * features**2,
    }
