"""Linear interpolation between the places of a coarse grid, along any number of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipin_ref.layers import HostArray


def resized(x: HostArray, size: Sequence[int]) -> HostArray:
    """The last axes of x [..., *coarse] at another size [..., *size], by linear interpolation between the centres of
    places; beyond the outermost centre its value stays.
    """
    for axis, length in enumerate(size, x.ndim - len(size)):
        if x.shape[axis] != length:
            x = np.moveaxis(np.moveaxis(x, axis, -1) @ weights(x.shape[axis], length).T, -1, axis)
    return x


def weights(coarse: int, fine: int) -> HostArray:
    """What each place of a coarse axis counts at each place of a fine one [fine, coarse]; rows sum to one."""
    at = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    low = np.minimum(at.astype(np.int64), max(coarse - 2, 0))
    share = at - low
    made = np.zeros((fine, coarse))
    made[np.arange(fine), low] = 1 - share
    if coarse > 1:
        made[np.arange(fine), low + 1] += share
    return made
