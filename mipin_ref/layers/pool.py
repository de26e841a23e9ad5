"""Max-pools backwards: recorded switches put each value back where it came from (paper, Eq. 8)."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.window import Window


def winning_taps(
    switches: npt.NDArray[np.int64], window: Window, in_shape: tuple[int, ...]
) -> npt.NDArray[np.integer[Any]]:
    """onnxruntime's flat indices over n·C·map as the kernel tap, counted in C order, that won each window.

    switches: [n, C, *map]; in_shape: per-sample shape [C, *size] of the pool's input.
    """
    # Half as wide where they fit, and no remainders: the quotients of an axis leave them.
    kind = np.int32 if len(switches) * prod(in_shape) < 1 << 31 else np.int64
    rest: npt.NDArray[np.integer[Any]] = switches.astype(kind)
    taps, weight = np.zeros_like(rest), 1
    for axis in reversed(range(len(window.kernel))):
        size, dilation = in_shape[1 + axis], window.dilations[axis]
        above = rest // size
        start = np.arange(switches.shape[2 + axis]).astype(kind) * window.strides[axis] - window.begin[axis]
        tap = rest - above * size - start.reshape((-1,) + (1,) * (len(window.kernel) - 1 - axis))
        taps += (tap if dilation == 1 else tap // dilation) * weight
        rest, weight = above, weight * window.kernel[axis]
    return taps.astype(window.tap_dtype)


def unpool(
    backend: Backend,
    s: Array,
    taps: Array,
    window: Window,
    size: tuple[int, ...],
    *,
    overlaps: Literal["mean", "sum"] = "mean",
) -> Array:
    """Each value of s [n, C, *map] at the location that its window chose, zero elsewhere.

    taps: [n, C, *map] from winning_taps; overlaps: what a location chosen by several windows gets of their values, in
    an inverse the mean, in the adjoint (a gradient) the sum. Returns [n, C, *size].
    """
    xp = backend.xp
    n, channels, *locations = s.shape
    padded = window.padded(tuple(locations), size)
    canvas = backend.zeros((n, channels, *padded), s.dtype)
    # What is put back is still in the cache when the next tap is.
    chunk = max(1, backend.block_bytes // (backend.itemsize * channels * prod(padded)))
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        values, won = s[rows, ...], taps[rows, ...]
        mean = window.overlapping and overlaps == "mean"
        counts = backend.zeros((values.shape[0], channels, *padded), s.dtype) if mean else None
        for tap, offset in enumerate(window.offsets):
            where = (slice(None), *window.spread(offset, tuple(locations)))
            chosen = xp.astype(won == tap, s.dtype)
            if window.overlapping:
                canvas[(rows, *where)] += values * chosen
            else:
                canvas[(rows, *where)] = values * chosen
            if counts is not None:
                counts[(slice(None), *where)] += chosen
        if counts is not None:
            canvas[rows, ...] /= xp.maximum(counts, xp.ones_like(counts))
    return canvas[(slice(None), slice(None), *window.crop(size))]
