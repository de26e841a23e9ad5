"""A convolution forward, with any kernel in place of the weight: the twin of its adjoint on the device."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.conv.adjoint import CHUNK_COLUMNS
from mipin_ref.layers.padding import padded
from mipin_ref.window import Window


def conv_forward(
    backend: Backend, x: Array, kernel: Array, window: Window, groups: int, locations: tuple[int, ...]
) -> Array:
    """Y[o, j] = Σ K[o, m, u] X[m, i] over all m, u with i = j·stride - begin + u·dilation in the input.

    x: [n, m, *size]; kernel: [o, m / groups, *kernel] as the forward weight; returns [n, o, *locations].
    The patches of a few samples are written out at a time, so that memory beside input and result does not grow.
    """
    xp = backend.xp
    n, inputs, *size = x.shape
    o, m, taps = kernel.shape[0] // groups, inputs // groups, window.taps
    x = xp.reshape(x, (n, groups, m, *size))
    y = backend.zeros((n, groups, o, *locations), x.dtype)
    columns = prod(locations)
    chunk = _chunk(backend, inputs * taps, columns)
    matrix = xp.permute_dims(xp.reshape(kernel, (groups, o, m, taps)), (0, 1, 3, 2))
    matrix = xp.reshape(matrix, (groups, o, taps * m))
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        few = xp.permute_dims(x[rows, ...], (1, 2, 0, *range(3, x.ndim)))
        y[rows, ...] = xp.permute_dims(_summed(backend, few, matrix, window, locations), (2, 0, 1, *range(3, y.ndim)))
    return xp.reshape(y, (n, groups * o, *locations))


def _summed(backend: Backend, x: Array, matrix: Array, window: Window, locations: tuple[int, ...]) -> Array:
    """x [groups, m, n, *size] -> [groups, o, n, *locations]; matrix: [groups, o, taps·m]."""
    xp, taps = backend.xp, window.taps
    groups, m, n, *_ = x.shape
    o = matrix.shape[1]
    if not window.pointwise:
        x = padded(backend, x, window, locations)
    cuts = (x[(..., *window.spread(offset, locations))] for offset in window.offsets)
    if o == m == 1:
        # Nothing is summed over channels: no patches are needed.
        weights = xp.reshape(matrix, (groups, taps, *(1,) * (x.ndim - 1)))
        total = backend.zeros((groups, 1, n, *locations), x.dtype)
        for tap, cut in enumerate(cuts):
            total += cut * weights[:, tap, ...]
        return total
    patches = backend.zeros((groups, taps, m, n, *locations), x.dtype)
    for tap, cut in enumerate(cuts):
        patches[:, tap, ...] = cut
    return xp.reshape(matrix @ xp.reshape(patches, (groups, taps * m, -1)), (groups, o, n, *locations))


def forward_bytes(
    backend: Backend,
    kernel: tuple[int, ...],
    locations: tuple[int, ...],
    window: Window,
    groups: int,
    size: tuple[int, ...],
) -> int:
    """What `conv_forward` holds beside input and result, however many the samples.

    kernel: its shape [o, m / groups, *kernel]; size: of the input.
    """
    inputs, columns = kernel[1] * groups, prod(locations)
    canvas = inputs * prod(window.padded(locations, size))
    # A depthwise convolution makes each tap's products when they are added.
    patches = inputs * columns * (1 if kernel[0] // groups == kernel[1] == 1 else window.taps)
    chunk = _chunk(backend, inputs * window.taps, columns)
    return backend.itemsize * chunk * (canvas + patches + kernel[0] * columns)


def _chunk(backend: Backend, rows: int, columns: int) -> int:
    """Samples at a time, of so many rows and columns of patches each."""
    return max(1, -(-CHUNK_COLUMNS // columns), backend.block_bytes // (backend.itemsize * rows * columns))
