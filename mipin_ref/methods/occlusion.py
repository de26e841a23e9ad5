"""Occlusion."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.layers import HostArray, Shape
from mipin_ref.methods.covering import CoveringMethod, Ints, Masks
from mipin_ref.options import checked_integer

PARTS = 8
"""Windows along an axis, about, where the user says no size."""
MOST_WINDOWS = 1_000_000


@dataclass(frozen=True)
class OcclusionOptions:
    """window: places along each axis that are covered at a time, None for an eighth of the axis; stride: from one
    window to the next, None for half a window; baseline: what is covered takes, None for zeros, a number, or one
    sample.
    """

    window: int | None = None
    stride: int | None = None
    baseline: Any = None

    def __post_init__(self) -> None:
        for name in ("window", "stride"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, checked_integer(name, value))
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise InvalidData(f"a stride of {self.stride} leaves places out between windows of {self.window}")


class Occlusion(CoveringMethod):
    """How far the score falls when a window over the place is covered, the mean over the windows that do (Zeiler and
    Fergus, Visualizing and Understanding Convolutional Networks, 2014, 4.2).

    Windows start at the first place of each axis and go on by the stride until one reaches the last, which may stand
    over the edge.
    """

    name = "occlusion"
    multiplier = False
    follows_logit = False
    Options = OcclusionOptions

    def masks(self, places: Shape, whole: bool) -> Masks:
        return _Windows(self.options, places)


class _Windows(Masks):
    """Windows in rows, one after the other."""

    def __init__(self, options: OcclusionOptions, places: Shape) -> None:
        self._places = places
        self._sizes = [min(size, options.window or max(1, size // PARTS)) for size in places]
        strides = [min(window, options.stride or max(1, window // 2)) for window in self._sizes]
        self._starts = [
            range(0, size - window + stride, stride)
            for size, window, stride in zip(places, self._sizes, strides, strict=True)
        ]
        self.count = prod(map(len, self._starts))
        if self.count > MOST_WINDOWS:
            raise InvalidData(f"{self.count:,} windows are more than {MOST_WINDOWS:,}: give a larger stride or window")

    def kept(self, numbers: Ints) -> HostArray:
        masks = np.ones((len(numbers), *self._places))
        for mask, number in zip(masks, numbers, strict=True):
            mask[self._window(int(number))] = 0
        return masks

    def _window(self, number: int) -> tuple[slice, ...]:
        at = np.unravel_index(number, [len(starts) for starts in self._starts])
        firsts = [starts[int(i)] for starts, i in zip(self._starts, at, strict=True)]
        return tuple(slice(first, first + size) for first, size in zip(firsts, self._sizes, strict=True))

    def relevance(self, scores: HostArray, whole: float, none: float) -> HostArray:
        total, count = np.zeros(self._places), np.zeros(self._places)
        for number in range(self.count):
            window = self._window(number)
            total[window] += whole - scores[number]
            count[window] += 1
        return np.asarray(total / count)
