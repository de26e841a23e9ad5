"""Where the products of a convolution's adjoint are summed, tap by tap: numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from mipin_ref.window import Window

WIDEST = 1.1
"""How much larger zeros may make a map for its products to be summed in runs across lines."""

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Phases:
    """The padded input as its phases, the locations that are equal modulo the stride, each a grid of its own.

    Every tap touches one phase, in a box of the shape of the output map. Its lines are short runs in memory. So where
    that costs few zeros, each line of the map is filled up to a line of the grid, and map and grid both count as one
    line: the box is then one run.

    filled: the output map with its zeros; box: the same as it is added; grid: a phase; canvas: the same as it is added
    to; taps: of each tap, its phase and where the box lies in it; cuts: of each phase with a tap and a location in
    the input, where it lies there and which part of the grid that is.
    """

    count: int
    filled: tuple[int, ...]
    box: tuple[int, ...]
    grid: tuple[int, ...]
    canvas: tuple[int, ...]
    taps: tuple[tuple[int, Slices], ...]
    cuts: tuple[tuple[int, Slices, Slices], ...]


def make_phases(window: Window, locations: tuple[int, ...], size: tuple[int, ...], *, widest: float = WIDEST) -> Phases:
    """The phases of the input `size` of a window whose output has `locations`."""
    strides = window.strides
    grid = tuple(-(-length // s) for length, s in zip(window.padded(locations, size), strides, strict=True))
    phases = [tuple(u % s for u, s in zip(offset, strides, strict=True)) for offset in window.offsets]
    shifts = [tuple(u // s for u, s in zip(offset, strides, strict=True)) for offset in window.offsets]
    used = sorted(set(phases))
    all_cuts = [(number, *_cut(phase, window, size)) for number, phase in enumerate(used)]
    cuts = tuple(cut for cut in all_cuts if all(where.stop > where.start for where in cut[2]))
    numbers = [used.index(phase) for phase in phases]
    filled = (locations[0], *grid[1:])
    if prod(filled) > widest * prod(locations):
        boxes = [tuple(slice(a, a + j) for a, j in zip(shift, locations, strict=True)) for shift in shifts]
        return Phases(len(used), locations, locations, grid, grid, tuple(zip(numbers, boxes, strict=True)), cuts)
    run, starts = prod(filled), [_position(shift, grid) for shift in shifts]
    runs = [(slice(a, a + run),) for a in starts]
    # The zeros behind the last line may reach beyond the grid.
    canvas = (max(prod(grid), max(starts) + run),)
    return Phases(len(used), filled, (run,), grid, canvas, tuple(zip(numbers, runs, strict=True)), cuts)


def _cut(phase: tuple[int, ...], window: Window, size: tuple[int, ...]) -> tuple[Slices, Slices]:
    """The input's locations i of a phase, and the same in its grid: i = q·stride + phase - begin."""
    there, here = [], []
    for r, stride, begin, length in zip(phase, window.strides, window.begin, size, strict=True):
        first = max(0, -(-(begin - r) // stride))
        i = first * stride + r - begin
        count = max(0, -(-(length - i) // stride))
        there.append(slice(i, length, stride))
        here.append(slice(first, first + count))
    return tuple(there), tuple(here)


def _position(index: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """The position of an index in C order."""
    position = 0
    for i, length in zip(index, shape, strict=True):
        position = position * length + i
    return position
