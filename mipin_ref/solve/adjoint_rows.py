"""The regressors of a convolution's adjoint, written out as rows: im2col for the inverse problem."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.window import Window

Region = tuple[tuple[int, int], ...]
"""A box [start, stop) an axis on the padded input, whose location t = i + begin = j·stride + u·dilation."""


def adjoint_rows(backend: Backend, s: Array, window: Window, region: Region) -> Array:
    """Regressors of X̂[t] = Σ K[o, u] S[o, j] over all j, u with t = j·stride + u·dilation, for t in `region`.

    s: [n, *map, o], channels last; returns [n·locations, taps·o], taps outermost.
    """
    xp = backend.xp
    n, channels = s.shape[0], s.shape[-1]
    if window.pointwise:
        return xp.reshape(s[(slice(None), *(slice(a, b) for a, b in region), slice(None))], (-1, channels))
    reach = [e - 1 for e in window.extent]
    # The canvas holds S spread by the stride, `reach` in from the start; tap u reads it u·dilation to the left.
    canvas_size = [
        max(r + (j - 1) * stride + 1, r + stop)
        for r, j, stride, (_, stop) in zip(reach, s.shape[1:-1], window.strides, region, strict=True)
    ]
    canvas = xp.zeros((n, *canvas_size, channels), dtype=s.dtype, device=backend.device)
    canvas[(slice(None), *window.spread(tuple(reach), tuple(s.shape[1:-1])), slice(None))] = s
    size = [stop - start for start, stop in region]
    columns = xp.empty((n, *size, window.taps, channels), dtype=s.dtype, device=backend.device)
    for tap, offset in enumerate(window.offsets):
        view = tuple(slice(r - u + a, r - u + b) for r, u, (a, b) in zip(reach, offset, region, strict=True))
        columns[(..., tap, slice(None))] = canvas[(slice(None), *view, slice(None))]
    return xp.reshape(columns, (n * prod(size), window.taps * channels))


def adjoint_columns(backend: Backend, s: Array, window: Window, groups: int, size: tuple[int, ...]) -> Array:
    """The same regressors over the whole input, a matrix a group: s [n, o, *map], channels first, to
    [groups, taps·o/groups, n·locations], taps outermost.
    """
    xp = backend.xp
    n, channels, *locations = s.shape
    if window.pointwise and n == groups == 1:
        return xp.reshape(s, (1, channels, -1))
    s = xp.permute_dims(xp.reshape(s, (n, groups, channels // groups, *locations)), (1, 2, 0, *range(3, s.ndim + 1)))
    reach = [e - 1 for e in window.extent]
    canvas_size = [
        max(r + (j - 1) * stride + 1, r + b + length)
        for r, j, stride, b, length in zip(reach, locations, window.strides, window.begin, size, strict=True)
    ]
    every = (slice(None),) * 3
    canvas = xp.zeros((*s.shape[:3], *canvas_size), dtype=s.dtype, device=backend.device)
    canvas[(*every, *window.spread(tuple(reach), tuple(locations)))] = s
    columns = xp.empty((groups, window.taps, *s.shape[1:3], *size), dtype=s.dtype, device=backend.device)
    for tap, offset in enumerate(window.offsets):
        starts = [r - u + b for r, u, b in zip(reach, offset, window.begin, strict=True)]
        view = tuple(slice(a, a + length) for a, length in zip(starts, size, strict=True))
        columns[:, tap, ...] = canvas[(*every, *view)]
    return xp.reshape(columns, (groups, -1, n * prod(size)))
