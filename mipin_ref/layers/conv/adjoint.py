"""The adjoint of a convolution, with any kernel in place of the weight."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.conv.phases import Phases, make_phases
from mipin_ref.window import Window

CHUNK_COLUMNS = 512
"""Columns of products written out at a time, at least: beside so many it costs little to read the kernel once more."""


def conv_adjoint(
    backend: Backend, s: Array, kernel: Array, window: Window, groups: int, size: tuple[int, ...]
) -> Array:
    """X̂[m, i] = Σ K[o, m, u] S[o, j] over all o, j, u with i = j·stride - begin + u·dilation (paper, Eq. 7).

    s: [n, o, *map]; kernel: [o, m / groups, *kernel] as the forward weight; returns [n, m, *size].
    """
    xp = backend.xp
    n, outputs, *locations = s.shape
    o, m = outputs // groups, kernel.shape[1]
    phases = make_phases(window, tuple(locations), size)
    matrix = xp.permute_dims(xp.reshape(kernel, (groups, o, m, window.taps)), (0, 3, 2, 1))
    matrix = xp.reshape(matrix, (groups, window.taps * m, o))
    s = xp.reshape(s, (n, groups, o, *locations))
    x = backend.zeros((n, groups, m, *size), s.dtype)
    chunk = _chunk(backend, window, phases, groups, o, m)

    def fill(start: int) -> None:
        rows = slice(start, min(start + chunk, n))
        summed = _summed(backend, _filled(backend, s[rows, ...], phases), matrix, window, phases)
        summed = xp.permute_dims(summed, (0, 3, 1, 2, *range(4, summed.ndim)))
        for phase, there, here in phases.cuts:
            x[(rows, ..., *there)] = summed[(phase, ..., *here)]

    for _ in backend.each(fill, range(0, n, chunk)):
        pass
    return xp.reshape(x, (n, groups * m, *size))


def adjoint_bytes(
    backend: Backend,
    kernel: tuple[int, ...],
    locations: tuple[int, ...],
    window: Window,
    groups: int,
    size: tuple[int, ...],
) -> int:
    """What `conv_adjoint` holds beside signal and result, however many the samples.

    kernel: its shape; locations: of the map.
    """
    phases = make_phases(window, locations, size)
    o, m = kernel[0] // groups, kernel[1]
    signal = groups * o * prod(phases.filled)
    # Of one tap alone the products are the sums.
    summed = 0 if window.pointwise else groups * m * phases.count * prod(phases.canvas)
    products = _products(window, phases, groups, o, m)
    chunk = _chunk(backend, window, phases, groups, o, m)
    return backend.at_a_time * backend.itemsize * chunk * (signal + products + summed)


def _products(window: Window, phases: Phases, groups: int, o: int, m: int) -> int:
    """Elements a sample that are written out at a time: of all taps, of a depthwise convolution those of two."""
    return groups * m * prod(phases.filled) * (min(2, window.taps) if o == m == 1 else window.taps)


def _chunk(backend: Backend, window: Window, phases: Phases, groups: int, o: int, m: int) -> int:
    """Samples at a time, whose products are still in the cache when they are summed."""
    few = -(-CHUNK_COLUMNS // prod(phases.filled))
    return max(1, few, backend.block_bytes // (backend.itemsize * _products(window, phases, groups, o, m)))


def _filled(backend: Backend, s: Array, phases: Phases) -> Array:
    """s [n, groups, o, *map] -> [groups, o, n, *box]: side by side, with the zeros that the phases ask for."""
    xp = backend.xp
    s = xp.permute_dims(s, (1, 2, 0, *range(3, s.ndim)))
    if phases.filled != tuple(s.shape[3:]):
        filled = backend.zeros((*s.shape[:3], *phases.filled), s.dtype)
        filled[(..., *(slice(j) for j in s.shape[3:]))] = s
        s = filled
    return xp.reshape(s, (*s.shape[:3], *phases.box))


def _summed(backend: Backend, s: Array, matrix: Array, window: Window, phases: Phases) -> Array:
    """s [groups, o, n, *box] -> [phases, groups, m, n, *grid]; matrix: [groups, taps·m, o]."""
    xp = backend.xp
    groups, o, *around = s.shape
    m = matrix.shape[1] // window.taps
    if o == m == 1:
        # Nothing is summed over channels: each tap's products are made when they are added.
        weights = xp.reshape(matrix, (groups, window.taps, *(1,) * (s.ndim - 1)))
        tap_products = (s * weights[:, tap, ...] for tap in range(window.taps))
    else:
        products = xp.reshape(matrix @ xp.reshape(s, (groups, o, -1)), (groups, window.taps, m, *around))
        tap_products = (products[:, tap, ...] for tap in range(window.taps))
    if window.pointwise:
        return xp.reshape(next(tap_products), (1, groups, m, around[0], *phases.grid))
    canvas = backend.zeros((phases.count, groups, m, around[0], *phases.canvas), s.dtype)
    for (phase, box), tap in zip(phases.taps, tap_products, strict=True):
        canvas[(phase, ..., *box)] += tap
    if phases.canvas == phases.grid:
        return canvas
    return xp.reshape(canvas[..., : prod(phases.grid)], (*canvas.shape[:4], *phases.grid))
