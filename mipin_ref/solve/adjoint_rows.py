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


def whole(window: Window, size: tuple[int, ...]) -> Region:
    """The input itself."""
    return tuple((b, b + n) for b, n in zip(window.begin, size, strict=True))


def border(window: Window, size: tuple[int, ...], locations: tuple[int, ...]) -> list[Region]:
    """What the adjoint touches beyond the input, as disjoint boxes: the padding."""
    inner = whole(window, size)
    touched = [(j - 1) * s + e for j, s, e in zip(locations, window.strides, window.extent, strict=True)]
    clipped = [(min(a, t), min(b, t)) for (a, b), t in zip(inner, touched, strict=True)]
    boxes = []
    for axis, (a, b) in enumerate(clipped):
        for edge in ((0, a), (b, touched[axis])):
            box = (*clipped[:axis], edge, *((0, t) for t in touched[axis + 1 :]))
            if all(start < stop for start, stop in box):
                boxes.append(box)
    return boxes
