"""The adjoint of a convolution, with any kernel in place of the weight."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.window import Window


def conv_adjoint(
    backend: Backend, s: Array, kernel: Array, window: Window, groups: int, size: tuple[int, ...]
) -> Array:
    """X̂[m, i] = Σ K[o, m, u] S[o, j] over all o, j, u with i = j·stride - begin + u·dilation (paper, Eq. 7).

    s: [n, o, *map]; kernel: [o, m / groups, *kernel] as the forward weight; returns [n, m, *size].
    """
    xp = backend.xp
    n, outputs, *locations = s.shape
    per_group, o = kernel.shape[1], outputs // groups
    canvas_size = window.padded(tuple(locations), size)
    if o == per_group == 1:
        canvas = xp.zeros((n, outputs, *canvas_size), dtype=s.dtype, device=backend.device)
        taps = xp.reshape(kernel, (outputs, window.taps, *(1,) * len(size)))
        for tap, offset in enumerate(window.offsets):
            canvas[(slice(None), slice(None), *window.spread(offset, tuple(locations)))] += s * taps[:, tap, ...]
        return canvas[(slice(None), slice(None), *window.crop(size))]
    rows = xp.reshape(xp.permute_dims(s, (1, 0, *range(2, s.ndim))), (groups, o, n * prod(locations)))
    matrix = xp.reshape(kernel, (groups, o, per_group, window.taps))
    matrix = xp.reshape(xp.permute_dims(matrix, (0, 3, 2, 1)), (groups, window.taps * per_group, o))
    columns = xp.reshape(matrix @ rows, (groups, window.taps, per_group, n, *locations))
    canvas = xp.zeros((groups, per_group, n, *canvas_size), dtype=s.dtype, device=backend.device)
    around = (slice(None),) * 3
    for tap, offset in enumerate(window.offsets):
        canvas[(*around, *window.spread(offset, tuple(locations)))] += columns[:, tap, ...]
    cropped = xp.reshape(canvas[(*around, *window.crop(size))], (groups * per_group, n, *size))
    return xp.permute_dims(cropped, (1, 0, *range(2, s.ndim)))
