"""The max-pool inverse: recorded switches put each value back where it came from (paper, Eq. 8)."""

from __future__ import annotations

from typing import Any

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
    taps = np.zeros(switches.shape, np.int64)
    flat = switches
    strides = np.cumprod((1, *in_shape[:0:-1]))[:-1][::-1]
    for axis, stride in enumerate(strides):
        size = in_shape[1 + axis]
        location = (flat // stride) % size
        start = np.arange(switches.shape[2 + axis]) * window.strides[axis] - window.begin[axis]
        start = start.reshape((-1,) + (1,) * (len(strides) - 1 - axis))
        taps = taps * window.kernel[axis] + (location - start) // window.dilations[axis]
    return taps.astype(window.tap_dtype)


def unpool(backend: Backend, s: Array, taps: Array, window: Window, size: tuple[int, ...]) -> Array:
    """Each value of s [n, C, *map] at the location that its window chose; the mean where several windows chose one.

    taps: [n, C, *map] from winning_taps; returns [n, C, *size], zero elsewhere.
    """
    xp = backend.xp
    locations = tuple(s.shape[2:])
    canvas = xp.zeros((*s.shape[:2], *window.padded(locations, size)), dtype=s.dtype, device=backend.device)
    counts = xp.zeros_like(canvas) if window.overlapping else None
    for tap, offset in enumerate(window.offsets):
        chosen = xp.astype(taps == tap, s.dtype)
        where = (slice(None), slice(None), *window.spread(offset, locations))
        canvas[where] += s * chosen
        if counts is not None:
            counts[where] += chosen
    if counts is not None:
        canvas = canvas / xp.maximum(counts, xp.ones_like(counts))
    return canvas[(slice(None), slice(None), *window.crop(size))]
