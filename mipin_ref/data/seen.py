"""What a network was shown: the range and the mean of every channel, and a word where others lie far outside."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InputRangeWarning

Values = npt.NDArray[np.float64]

CHANNEL_FLOOR = 1 / 8
"""Of the widest channel's span: what a channel of many values a sample counts for at least."""

SMALL = 1 / 32
"""Of the largest absolute value of every channel: below it all values are far smaller than those seen."""

FEWEST = 16
"""Values from which "far smaller" can be told: fewer may all be small by chance."""


@dataclass(frozen=True, eq=False)
class Seen:
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
        """In words, where other inputs are far from those seen; None where they are not.

        Far outside: some channel's lowest or highest value is further outside its range than that range is wide. A
        channel that hardly varied counts as CHANNEL_FLOOR as wide as the widest, and one of a single value a sample (a
        feature of a flat input, as a pixel at the border is) as wide as that: what few samples did not show is not far.
        Far smaller: all values of every channel are within SMALL of the largest absolute value seen, but not all equal.
        """
        with np.errstate(over="ignore"):
            span = self.high - self.low
            size = np.maximum(np.abs(self.low), np.abs(self.high))
            widest = span.max() if span.max() > 0 else size.max()
            width = np.maximum(span, widest * (1.0 if self.each == 1 else CHANNEL_FLOOR))
            outside = np.maximum(self.low - x.low, x.high - self.high) - width
        if outside.max() > 0:
            channel = int(outside.argmax())
            return (
                f"{self._named(channel)} runs from {x.low[channel]:.4g} to {x.high[channel]:.4g}; calibration data ran "
                f"from {self.low[channel]:.4g} to {self.high[channel]:.4g}, mean {self.mean[channel]:.4g}"
            )
        largest = np.maximum(np.abs(x.low), np.abs(x.high))
        if np.all(largest < SMALL * size) and np.any(x.low < x.high) and x.values * len(size) >= FEWEST:
            return f"no value is above {largest.max():.4g} in size; calibration data went up to {size.max():.4g}"
        return None

    def _named(self, channel: int) -> str:
        if len(self.low) == 1:
            return "it"
        return f"{'value' if self.each == 1 else 'channel'} {channel}"


@dataclass(frozen=True, eq=False)
class Extent:
    """Range and sum of the channels of some samples; values: of one channel; low, high, total: [channels]."""

    values: int
    low: Values
    high: Values
    total: Values

    @classmethod
    def of(cls, x: npt.NDArray[Any], axis: int | None) -> Extent:
        """Of a batch [n, ...] that holds at least one value."""
        others = tuple(i for i in range(x.ndim) if i != axis)
        with np.errstate(over="ignore"):
            low, high, total = x.min(axis=others), x.max(axis=others), x.sum(axis=others, dtype=np.float64)
        low, high, total = (np.atleast_1d(np.asarray(a, np.float64)) for a in (low, high, total))
        return cls(x.size // len(low), low, high, total)

    def merged(self, behind: Extent) -> Extent:
        """With samples that come behind these. Totals depend on how samples were parted by their rounding alone."""
        with np.errstate(over="ignore"):
            total = self.total + behind.total
        low, high = np.minimum(self.low, behind.low), np.maximum(self.high, behind.high)
        return Extent(self.values + behind.values, low, high, total)

    def seen(self, axis: int | None, each: int) -> Seen:
        """As a record. The mean lies in the range, whatever rounding says."""
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
        """Warn with InputRangeWarning where what was noted is far from what was seen; stacklevel: the caller is 2."""
        if self._seen is None or self._extent is None:
            return
        told = self._seen.departure(self._extent)
        if told is not None:
            message = f"the input is far from the data that {self._fitted} on: {told}; preprocess it as those were"
            warnings.warn(message, InputRangeWarning, stacklevel=stacklevel + 1)
