"""Which elements of an input lead to wanted ones of an output: by windows, by copies, along axes; on flags alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mipin_ref.layers.axis_map import AxisMap
from mipin_ref.layers.kind import Flags, Shape
from mipin_ref.window import Window

LEAST = 1e-9
"""The smallest weight of a mean that counts as a path: the places of linear maps are rounded to 1e-16 of their size."""


def under_windows(wanted: Flags, window: Window, size: Shape) -> Flags:
    """Flags [c, *map] of windows -> [c, *size], those of the locations that they cover.

    Where no window covers a location, it counts as read if any of its channel is.
    """
    locations = wanted.shape[1:]
    found = np.zeros((len(wanted), *window.padded(locations, size)), np.bool_)
    covered = np.zeros(found.shape[1:], np.bool_)
    for offset in window.offsets:
        place = window.spread(offset, locations)
        found[(slice(None), *place)] |= wanted
        covered[place] = True
    inside = window.crop(size)
    return found[(slice(None), *inside)] | (~covered[inside] & _any_of_channel(wanted))


def spread_to(wanted: Flags, window: Window, locations: Shape) -> Flags:
    """Flags [c, *map] -> [c, *locations], those of the locations whose windows touch a wanted one.

    Where a window lies outside the map as a whole, its location counts as read if any of its channel is.
    """
    size = wanted.shape[1:]
    canvas = np.zeros((len(wanted), *window.padded(locations, size)), np.bool_)
    there = np.zeros(canvas.shape[1:], np.bool_)
    canvas[(slice(None), *window.crop(size))], there[window.crop(size)] = wanted, True
    found, inside = np.zeros((len(wanted), *locations), np.bool_), np.zeros(locations, np.bool_)
    for offset in window.offsets:
        place = window.spread(offset, locations)
        found |= canvas[(slice(None), *place)]
        inside |= there[place]
    return found | (~inside & _any_of_channel(wanted))


def of_groups(wanted: Flags, groups: int) -> Flags:
    """Flags [c, *map] -> [groups, *map]: whether any channel of a group is wanted."""
    found: Flags = np.any(wanted.reshape(groups, -1, *wanted.shape[1:]), axis=1)
    return found


def of_copies(wanted: Flags, shape: Shape) -> Flags:
    """Flags of what a tensor of `shape` was broadcast to -> [*shape]: whether any copy is wanted."""
    pairs = zip(wanted.shape, shape, strict=True)
    spread = tuple(axis for axis, (long, short) in enumerate(pairs) if long != short)
    found: Flags = np.any(wanted, axis=spread, keepdims=True)
    return found


def picked(wanted: Flags, maps: Mapping[int, AxisMap]) -> Flags:
    """Flags of an output -> those of the input of maps by axis, counted with the batch."""
    for axis, one in maps.items():
        back, moved = one.adjoint, np.moveaxis(wanted, axis - 1, -1)
        found = np.zeros((*moved.shape[:-1], back.length), np.bool_)
        for index, weight in zip(back.index, back.weight, strict=True):
            found |= moved[..., index] & (weight > LEAST)
        wanted = np.moveaxis(found, -1, axis - 1)
    return wanted


def resized(wanted: Flags, maps: Mapping[int, AxisMap]) -> Flags:
    """The same of a map [c, *map]; where nothing is made of a location, it counts as read if any of its channel is."""
    covered = picked(np.ones((1, *wanted.shape[1:]), np.bool_), maps)
    return picked(wanted, maps) | (~covered & _any_of_channel(wanted))


def _any_of_channel(wanted: Flags) -> Flags:
    found: Flags = np.any(wanted, axis=tuple(range(1, wanted.ndim)), keepdims=True)
    return found
