"""Average pooling: the means themselves, their adjoint, and what the inverse starts from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.padding import padded
from mipin_ref.window import Window


def covering_mean(backend: Backend, s: Array, window: Window, size: tuple[int, ...]) -> Array:
    """s [n, C, *map] -> [n, C, *size]: the mean of the values of all windows that cover a location, 0 where none does.

    Whether padding counted in the forward mean makes no difference here: it is one factor a window, and the weights of
    the inverse are fitted.
    """
    xp = backend.xp
    cover = _spread(backend, xp.ones(s.shape[2:], dtype=s.dtype, device=backend.device), window, size)
    return _spread(backend, s, window, size) / xp.maximum(cover, xp.ones_like(cover))


def average(backend: Backend, x: Array, window: Window, counts: Array) -> Array:
    """x [n, C, *size] -> [n, C, *map]: the mean over each window; counts: [*map] from `window_counts`."""
    locations = tuple(counts.shape)
    canvas = padded(backend, x, window, locations)
    total = backend.zeros((*x.shape[:2], *locations), x.dtype)
    for offset in window.offsets:
        total += canvas[(..., *window.spread(offset, locations))]
    return total / counts


def average_adjoint(backend: Backend, s: Array, window: Window, counts: Array, size: tuple[int, ...]) -> Array:
    """s [n, C, *map] -> [n, C, *size]: each location takes its share of every window that covers it."""
    return _spread(backend, s / counts, window, size)


def window_counts(
    window: Window, locations: tuple[int, ...], size: tuple[int, ...], *, pads: bool
) -> npt.NDArray[np.int64]:
    """How many values the mean of each window [*locations] is divided by (ONNX AveragePool).

    pads: whether the declared padding counts; what ceil_mode adds behind it never does.
    """
    counts = np.ones((), np.int64)
    for axis, (places, length) in enumerate(zip(locations, size, strict=True)):
        start = np.arange(places, dtype=np.int64) * window.strides[axis] - window.begin[axis]
        first, last = (-window.begin[axis], length + window.end[axis]) if pads else (0, length)
        # Tap u lies at start + u·dilation: those below `first`, and those below `last`, of the kernel's.
        skipped, reached = (
            np.clip(-((start - end) // window.dilations[axis]), 0, window.kernel[axis]) for end in (first, last)
        )
        counts = counts[..., None] * (reached - skipped)
    return counts


def _spread(backend: Backend, s: Array, window: Window, size: tuple[int, ...]) -> Array:
    """s [..., *map] -> [..., *size]: at each location the sum over the windows that cover it."""
    locations, before = tuple(s.shape[s.ndim - len(size) :]), tuple(s.shape[: s.ndim - len(size)])
    canvas = backend.zeros((*before, *window.padded(locations, size)), s.dtype)
    for offset in window.offsets:
        canvas[(..., *window.spread(offset, locations))] += s
    return canvas[(..., *window.crop(size))]
