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
    per_group = kernel.shape[1]
    o = outputs // groups
    s = xp.permute_dims(s, (0, *range(2, s.ndim), 1))
    canvas_size = window.padded(tuple(locations), size)
    parts = []
    for group in range(groups):
        chosen = slice(group * o, (group + 1) * o)
        matrix = xp.reshape(kernel[chosen, ...], (o, per_group, window.taps))
        matrix = xp.reshape(xp.permute_dims(matrix, (0, 2, 1)), (o, window.taps * per_group))
        columns = xp.reshape(s[..., chosen], (n * prod(locations), o)) @ matrix
        columns = xp.reshape(columns, (n, *locations, window.taps, per_group))
        canvas = xp.zeros((n, *canvas_size, per_group), dtype=s.dtype, device=backend.device)
        for tap, offset in enumerate(window.offsets):
            canvas[(slice(None), *window.spread(offset, tuple(locations)), slice(None))] += columns[..., tap, :]
        parts.append(canvas[(slice(None), *window.crop(size), slice(None))])
    whole = parts[0] if groups == 1 else xp.concat(parts, axis=-1)
    return xp.permute_dims(whole, (0, whole.ndim - 1, *range(1, whole.ndim - 1)))
