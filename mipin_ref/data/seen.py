"""What a network was shown: the range and the mean of every channel, and a word where others lie far outside."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.display import OneLine
from mipin_ref.errors import InputRangeWarning

Values = npt.NDArray[np.float64]

CHANNEL_FLOOR = 1 / 8
"""Span that a channel of many values a sample counts for at least, in shares of the widest channel's."""

SMALL = 1 / 32
"""Share of the largest absolute value of every channel below which all values are far smaller than those seen."""

FEWEST = 16
"""Values from which "far smaller" can be told: fewer may all be small by chance."""


@dataclass(frozen=True, eq=False)
class Seen(OneLine):
    """What went into the network while something was fitted, behind all preprocessing.

    axis: that holds the channels, counted with the batch; None where there are none and all values are one channel.
    each: values a sample of one channel; low, high, mean: [channels], over all samples.
    """

    axis: int | None
    each: int
    low: Values
    high: Values
    mean: Values

    def departure(self, x: Extent) -> str | None:
        """How other inputs are far from those seen, in words; None where they are not.

        Far outside: some channel's lowest or highest value is further outside its range than that range is wide. A
        channel that hardly varied counts as CHANNEL_FLOOR as wide as the widest. Far smaller: all values of every
        channel are within SMALL of the largest absolute value seen, but not all equal. Values of which a sample has one
        each (features of a flat input, as the pixels of an image are) are judged together: few samples do not show the
        range of each.
        """
        low, high, mean, x_low, x_high = self.low, self.high, self.mean, x.low, x.high
        if self.each == 1:
            low, x_low = (a.min(keepdims=True) for a in (low, x_low))
            high, x_high = (a.max(keepdims=True) for a in (high, x_high))
            mean = np.clip(mean.mean(keepdims=True), low, high)
        size, largest = (np.maximum(np.abs(a), np.abs(b)) for a, b in ((low, high), (x_low, x_high)))
        with np.errstate(over="ignore"):
            span = high - low
            widest = span.max() if span.max() > 0 else size.max()
            outside = np.maximum(low - x_low, x_high - high) - np.maximum(span, CHANNEL_FLOOR * widest)
        if outside.max() > 0:
            at = int(outside.argmax())
            return (
                f"{'it' if len(low) == 1 else f'channel {at}'} runs from {x_low[at]:.4g} to {x_high[at]:.4g}; "
                f"calibration data ran from {low[at]:.4g} to {high[at]:.4g}, mean {mean[at]:.4g}"
            )
        if np.all(largest < SMALL * size) and np.any(x_low < x_high) and x.values * len(x.low) >= FEWEST:
            return f"no value is above {largest.max():.4g} in size; calibration data went up to {size.max():.4g}"
        return None


@dataclass(frozen=True, eq=False)
class Extent(OneLine):
    """Range and sum of the channels of some samples; values: of one channel; low, high, total: [channels]."""

    values: int
    low: Values
    high: Values
    total: Values

    @classmethod
    def of(cls, x: npt.NDArray[Any], axis: int | None) -> Extent:
        """The extent of a batch [n, ...] that holds at least one value."""
        others = tuple(i for i in range(x.ndim) if i != axis)
        with np.errstate(over="ignore"):
            low, high, total = x.min(axis=others), x.max(axis=others), x.sum(axis=others, dtype=np.float64)
        low, high, total = (np.atleast_1d(np.asarray(a, np.float64)) for a in (low, high, total))
        return cls(x.size // len(low), low, high, total)

    def merged(self, behind: Extent) -> Extent:
        """The extent of these samples and of those behind them.

        Totals depend on how samples were parted by their rounding alone.
        """
        with np.errstate(over="ignore"):
            total = self.total + behind.total
        low, high = np.minimum(self.low, behind.low), np.maximum(self.high, behind.high)
        return Extent(self.values + behind.values, low, high, total)

    def seen(self, axis: int | None, each: int) -> Seen:
        """The record of it. The mean lies in the range, whatever rounding says."""
        return Seen(axis, each, self.low, self.high, np.clip(self.total / self.values, self.low, self.high))


def channels_of(shape: tuple[int, ...], axis: int | None) -> tuple[int | None, int]:
    """The axis whose entries are looked at apart, and the values a sample of each.

    shape: of a sample; axis: that holds the channels, counted with the batch, None where it has none. Each value of a
    flat sample is a channel.
    """
    if axis is None and len(shape) == 1:
        return 1, 1
    return axis, prod(shape) if axis is None else prod(shape) // shape[axis - 1]


class Watch:
    """Looks at batches as they go by, and warns once of all of them.

    seen: by what was fitted, None where nothing is known; fitted: what that was, "the inverse was fitted".
    """

    def __init__(self, seen: Seen | None, fitted: str) -> None:
        self._seen, self._fitted = seen, fitted
        self._extent: Extent | None = None

    def note(self, x: npt.NDArray[Any]) -> None:
        """Take a batch [n, ...] into account."""
        if self._seen is not None and x.size:
            extent = Extent.of(x, self._seen.axis)
            self._extent = extent if self._extent is None else self._extent.merged(extent)

    def tell(self, stacklevel: int = 2) -> None:
        """Warn with InputRangeWarning where what was noted is far from what was seen.

        stacklevel: 2 is the line that called the function which calls this one.
        """
        if self._seen is None or self._extent is None:
            return
        told = self._seen.departure(self._extent)
        if told is not None:
            message = f"the input is far from the data that {self._fitted} on: {told}; preprocess it as those were"
            warnings.warn(message, InputRangeWarning, stacklevel=stacklevel + 1)
