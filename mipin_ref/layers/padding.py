"""The zeros around an input that windows reach beyond."""

from __future__ import annotations

from mipin_ref.backend import Array, Backend
from mipin_ref.window import Window


def padded(backend: Backend, x: Array, window: Window, locations: tuple[int, ...]) -> Array:
    """x [..., *size] -> [..., *window.padded(locations, size)], zero where x is not."""
    rank = len(locations)
    size = tuple(x.shape[x.ndim - rank :])
    canvas = backend.zeros((*x.shape[: x.ndim - rank], *window.padded(locations, size)), x.dtype)
    canvas[(..., *window.crop(size))] = x
    return canvas
