"""What the average-pool inverse starts from: each location takes the mean of the windows that cover it."""

from __future__ import annotations

from mipin_ref.backend import Array, Backend
from mipin_ref.window import Window


def covering_mean(backend: Backend, s: Array, window: Window, size: tuple[int, ...]) -> Array:
    """s [n, C, *map] -> [n, C, *size]: the mean of the values of all windows that cover a location, 0 where none does.

    Whether padding counted in the forward mean makes no difference here: it is one factor a window, and the weights of
    the inverse are fitted.
    """
    xp = backend.xp
    locations = tuple(s.shape[2:])
    canvas = xp.zeros((*s.shape[:2], *window.padded(locations, size)), dtype=s.dtype, device=backend.device)
    cover = xp.zeros(canvas.shape[2:], dtype=s.dtype, device=backend.device)
    for offset in window.offsets:
        where = window.spread(offset, locations)
        canvas[(slice(None), slice(None), *where)] += s
        cover[where] += 1
    inside = window.crop(size)
    return canvas[(slice(None), slice(None), *inside)] / xp.maximum(cover[inside], xp.ones_like(cover[inside]))
